package actors

import (
	"context"
	"fmt"
	"strconv"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// submit appends a control record to the device log and calls done once: with
// the answer of the core that applied it, or with the error of the append. A
// request whose ctx ends is answered by the caller's own means; its record may
// still be applied.
func (n *Node) submit(ctx context.Context, kind, deviceID string, body []byte, headers []eventlog.Header, done func(partition.Reply)) (cancel func()) {
	request, err := n.waiters.add(done)
	if err != nil {
		n.metrics.busy.Inc()
		done(partition.Reply{Err: fmt.Errorf("%d requests wait for their answer: %w", maxWaiters, err)})
		return func() {}
	}
	r := &eventlog.Record{Topic: n.topics.deviceLog, Key: []byte(deviceID), Value: body}
	r.Headers = append(headers,
		eventlog.Header{Key: device.HeaderKind, Value: []byte(kind)},
		eventlog.Header{Key: device.HeaderRequest, Value: []byte(request)})
	n.append(ctx, r, func(err error) {
		if err == nil {
			return
		}
		if done := n.waiters.take(request); done != nil {
			done(partition.Reply{Err: err})
		}
	})
	return func() { n.waiters.take(request) }
}

// call is submit for callers that wait.
func (n *Node) call(ctx context.Context, kind, deviceID string, body []byte, headers []eventlog.Header) (partition.Reply, error) {
	ctx, stop := context.WithTimeout(ctx, requestTimeout)
	defer stop()
	answer := make(chan partition.Reply, 1)
	cancel := n.submit(ctx, kind, deviceID, body, headers, func(r partition.Reply) { answer <- r })
	select {
	case r := <-answer:
		if r.Next > 0 {
			device.NotePosition(ctx, device.LogPosition{Partition: n.partitionOf(deviceID), Next: r.Next})
		}
		return r, r.Err
	case <-ctx.Done():
		cancel()
		return partition.Reply{}, fmt.Errorf("%s of device %s: the partition did not answer: %w", kind, deviceID, ErrUnavailable)
	}
}

// append adds a record to the device log; done runs after all in-sync replicas
// have it.
func (n *Node) append(ctx context.Context, r *eventlog.Record, done func(error)) {
	now := n.now()
	// The log stamps records; this clock goes along beside.
	r.Headers = append(r.Headers, eventlog.Header{Key: device.HeaderClock, Value: strconv.AppendInt(nil, now.UnixMilli(), 10)})
	r.Timestamp = now
	n.appender.Append(ctx, r, func(_ *eventlog.Record, err error) {
		switch {
		case err != nil && ctx.Err() == nil:
			n.intakeErr.Store(&err)
		case n.intakeErr.Load() != nil:
			n.intakeErr.Store(nil)
		}
		done(err)
	})
}

// controlHeaders say whom a control record is about, beside its key, and who
// asked for it.
func controlHeaders(ref device.Ref, a device.Audit) []eventlog.Header {
	h := auditHeaders(a)
	if ref.Module != "" {
		h = append(h, eventlog.Header{Key: device.HeaderModule, Value: []byte(ref.Module)})
	}
	return h
}

// auditHeaders say who asked for a control record.
func auditHeaders(a device.Audit) []eventlog.Header {
	h := make([]eventlog.Header, 0, 8)
	for _, f := range [...]struct{ key, value string }{
		{device.HeaderActor, a.Actor}, {device.HeaderCredential, a.Credential},
		{device.HeaderAddress, a.Address}, {device.HeaderAudit, a.RequestID},
	} {
		if f.value != "" {
			h = append(h, eventlog.Header{Key: f.key, Value: []byte(f.value)})
		}
	}
	return h
}
