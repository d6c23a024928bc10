package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/persistence/eventlog"
)

// topicsAdapter reads topics for gemello tail; the hub's own topics that hold
// sealed secrets or internal state stay closed.
type topicsAdapter struct {
	log *eventlog.Log
	hub string
}

var _ api.Topics = topicsAdapter{}

func (t topicsAdapter) Tail(ctx context.Context, r api.TailRequest, visit func(*api.TopicRecord) error) error {
	private, _ := embeddedAccess(t.hub)
	for _, p := range private {
		if r.Topic == p && p != eventlog.HubTopic(t.hub, eventlog.TopicDeviceLog) {
			return fmt.Errorf("%w: topic %q holds internal state", api.ErrNoObject, r.Topic)
		}
	}
	offsets, err := t.log.Offsets(ctx, r.Topic)
	if errors.Is(err, eventlog.ErrNoTopic) {
		return fmt.Errorf("%w: topic %q", api.ErrNoObject, r.Topic)
	}
	if err != nil {
		return err
	}
	reader, err := t.log.NewReader(eventlog.ReaderOptions{MaxBytes: 1 << 20, MaxPartitionBytes: 256 << 10})
	if err != nil {
		return err
	}
	defer reader.Close()
	var since map[int32]int64
	if !r.Since.IsZero() {
		if since, err = t.log.OffsetsSince(ctx, r.Topic, r.Since); err != nil {
			return err
		}
	}
	left := map[int32]int64{} // partitions that are not read to their end yet
	for p, o := range offsets {
		if r.Partition >= 0 && p != r.Partition {
			continue
		}
		from := o.Stable
		if r.FromStart {
			from = o.Start
		}
		if at, ok := since[p]; ok {
			from = at
		}
		if at, ok := r.From[p]; ok {
			from = at
		}
		from = max(from, o.Start) // retention goes on
		if from < o.Stable || r.Follow {
			reader.Assign(r.Topic, p, from)
		}
		if from < o.Stable {
			left[p] = o.Stable
		}
	}
	n := 0
	for r.Follow || len(left) > 0 {
		batches, err := reader.Poll(ctx)
		if err != nil {
			return err
		}
		for _, b := range batches {
			if b.Err != nil {
				return b.Err
			}
			for _, rec := range b.Records {
				if end, ok := left[b.Partition]; !r.Follow && (!ok || rec.Offset >= end) {
					continue
				}
				out := &api.TopicRecord{Topic: b.Topic, Partition: b.Partition, Offset: rec.Offset, Timestamp: rec.Timestamp, Key: rec.Key, Value: rec.Value}
				for _, h := range rec.Headers {
					out.Headers = append(out.Headers, api.RecordHeader{Key: h.Key, Value: h.Value})
				}
				if err := visit(out); err != nil {
					return err
				}
				if n++; r.Limit > 0 && n >= r.Limit {
					return nil
				}
			}
			if end, ok := left[b.Partition]; ok && b.Next >= end {
				delete(left, b.Partition)
			}
		}
	}
	return nil
}

// healthAdapter tells how the cores and the intake fare.
type healthAdapter struct{ n *nodeServers }

var _ api.Health = healthAdapter{}

func (h healthAdapter) Components() []api.Component {
	list := []api.Component{{Name: "process", State: api.Available, Since: h.n.started}}
	if err := h.n.node.IntakeError(); err != nil {
		list = append(list, api.Component{
			Name: "intake", State: api.Unavailable, Critical: true, Cause: err.Error(),
			Impact: "devices get no acknowledgement", Next: "see that the log can write: disk space, broker, rights",
		})
	}
	for _, s := range h.n.node.Statuses() {
		c := api.Component{Name: s.Kind + " " + s.Core, Since: s.Since, State: api.Available, Critical: s.Kind == "devices"}
		switch s.State {
		case "running":
		case "starting", "recovering":
			c.State, c.Cause = api.Degraded, s.State
			c.Impact = fmt.Sprintf("partition %d answers no requests yet", s.Partition)
		default:
			c.State, c.Cause = api.Unavailable, s.State
			if s.Cause != "" {
				c.Cause = s.State + ": " + s.Cause
			}
			c.Impact = fmt.Sprintf("partition %d of %s is not processed", s.Partition, s.Source)
			c.Next = "it is tried again by itself; correct the cause"
		}
		list = append(list, c)
	}
	return list
}

// statusAdapter shows the node.
type statusAdapter struct{ n *nodeServers }

var _ api.NodeStatus = statusAdapter{}

func (a statusAdapter) Status(ctx context.Context) (api.Status, error) {
	n := a.n
	s := api.Status{
		Version: versionText(), Node: "node", Hub: n.cfg.Hub, Started: n.started.UTC(), Hostnames: n.cfg.Hostnames,
		Listeners: map[string]string{},
	}
	for _, l := range n.env.Listeners.all {
		if addrs := l.Addrs(); len(addrs) > 0 {
			s.Listeners[l.Name] = addrs[0]
		}
	}
	for _, h := range n.node.Statuses() {
		s.Cores = append(s.Cores, api.CoreStatus{
			Core: h.Core, Topic: h.Source, Partition: h.Partition, Offset: h.Committed, Lag: h.Lag,
			Owner: "node", State: h.State, Cause: h.Cause,
		})
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, t := range []string{eventlog.TopicDeviceLog, eventlog.TopicEvents, eventlog.TopicDeadLetter, eventlog.TopicLate} {
		name := eventlog.HubTopic(n.cfg.Hub, t)
		offsets, err := n.log.Offsets(ctx, name)
		if err != nil {
			return s, err
		}
		ts := api.TopicStatus{Topic: name, Partitions: int32(len(offsets))}
		for _, o := range offsets {
			ts.Records += o.High - o.Start
		}
		s.Topics = append(s.Topics, ts)
	}
	return s, nil
}
