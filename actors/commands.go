package actors

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

// SendCommand queues a command for a device and returns its sequence number, the
// offset of its record. The errors wrap those of device.NewCommand.Validate,
// ErrNotFound or ErrQueueFull.
func (n *Node) SendCommand(ctx context.Context, c device.NewCommand) (sequence int64, err error) {
	if err := c.Validate(); err != nil {
		return 0, err
	}
	h := append(controlHeaders(c.Ref(), c.Audit), eventlog.Header{Key: device.HeaderSize, Value: strconv.AppendInt(nil, int64(c.Size), 10)})
	if c.Bag != "" {
		h = append(h, eventlog.Header{Key: device.HeaderBag, Value: []byte(c.Bag)})
	}
	if c.Ack != device.AckNone {
		h = append(h, eventlog.Header{Key: device.HeaderAck, Value: []byte(c.Ack.String())})
	}
	if c.MessageID != "" {
		h = append(h, eventlog.Header{Key: device.HeaderMessageID, Value: []byte(c.MessageID)})
	}
	if !c.Expires.IsZero() {
		h = append(h, eventlog.Header{Key: device.HeaderExpires, Value: strconv.AppendInt(nil, c.Expires.UnixMilli(), 10)})
	}
	rules := &n.options.Commands
	h = appendRule(h, device.HeaderTTL, rules.TTL.Milliseconds(), device.CommandTTL.Milliseconds())
	h = appendRule(h, device.HeaderDeliveries, int64(rules.MaxDeliveries), device.MaxDeliveries)
	h = appendRule(h, device.HeaderFeedback, rules.FeedbackTTL.Milliseconds(), device.FeedbackTTL.Milliseconds())
	r, err := n.call(ctx, device.KindCommand, c.DeviceID, c.Body, h)
	return r.Offset, err
}

// appendRule lets a rule of this hub go along in a record, unless it is what the
// cores take for granted.
func appendRule(h []eventlog.Header, name string, v, usual int64) []eventlog.Header {
	if v == usual {
		return h
	}
	return append(h, eventlog.Header{Key: name, Value: strconv.AppendInt(nil, v, 10)})
}

// Commands returns the heads of the queued commands of a device or module, oldest
// first.
func (n *Node) Commands(ctx context.Context, ref device.Ref) ([]device.Command, error) {
	var list []device.Command
	var doc *partition.Device
	var err error
	if e := n.devicesDo(ctx, ref.Device, func(d *partition.Devices) {
		if doc, err = d.Get(ref); doc != nil {
			list = doc.Queue.Commands()
		}
	}); e != nil {
		return nil, e
	}
	if err == nil && doc == nil {
		err = ref.NotFound()
	}
	return list, err
}

// PurgeCommands ends all commands of a device or module and returns how many.
func (n *Node) PurgeCommands(ctx context.Context, ref device.Ref, a device.Audit) (int, error) {
	r, err := n.call(ctx, device.KindPurge, ref.Device, nil, controlHeaders(ref, a))
	return r.Count, err
}

// ReceiveCommand gives a device that polls its next command, under a lock of its
// own; nil when none waits. A device without commands costs no record.
func (n *Node) ReceiveCommand(ctx context.Context, deviceID string, a device.Audit) (*device.Delivery, error) {
	ref, waits := device.Ref{Device: deviceID}, false
	if err := n.devicesDo(ctx, deviceID, func(d *partition.Devices) {
		doc, err := d.Get(ref)
		waits = err != nil || doc != nil && doc.Queue.Len() > 0
	}); err != nil {
		return nil, err
	}
	if !waits {
		return nil, nil
	}
	r, err := n.call(ctx, device.KindReceive, deviceID, nil, n.receiveHeaders(ref, a, 1))
	if err != nil || len(r.Commands) == 0 {
		return nil, err
	}
	return &r.Commands[0], nil
}

func (n *Node) receiveHeaders(ref device.Ref, a device.Audit, most int64) []eventlog.Header {
	h := append(controlHeaders(ref, a), eventlog.Header{Key: device.HeaderMax, Value: strconv.AppendInt(nil, most, 10)})
	return appendRule(h, device.HeaderLockTime, n.options.Commands.Lock.Milliseconds(), device.CommandLock.Milliseconds())
}

// SettleCommand ends a delivery that ReceiveCommand began. The error wraps
// device.ErrLockLost when the lock is not in force.
func (n *Node) SettleCommand(ctx context.Context, deviceID, lock string, o device.Outcome, a device.Audit) error {
	_, err := n.call(ctx, device.KindSettle, deviceID, nil, settleHeaders(auditHeaders(a), lock, o))
	return err
}

func settleHeaders(h []eventlog.Header, lock string, o device.Outcome) []eventlog.Header {
	return append(h, eventlog.Header{Key: device.HeaderLock, Value: []byte(lock)},
		eventlog.Header{Key: device.HeaderOutcome, Value: []byte(o.String())})
}

// ReceiveFeedback locks the oldest feedback of the first partition that has any;
// nil when there is none. The search begins behind the partition that answered
// last, so that none is passed over for long.
func (n *Node) ReceiveFeedback(ctx context.Context, a device.Audit) (*device.FeedbackBatch, error) {
	now := windows.TickOf(n.now())
	first := int(n.feedbackNext.Load())
	for i := range n.devices {
		p := (first + i) % len(n.devices)
		var id string
		var ok bool
		if err := n.devices[p].do(ctx, func(c core) { id, ok = c.(*devicesCore).FeedbackOf(now, "") }); err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		r, err := n.call(ctx, device.KindFeedback, id, nil, auditHeaders(a))
		if err != nil || r.Feedback != nil {
			n.feedbackNext.Store(int64(p + 1))
			return r.Feedback, err
		}
	}
	return nil, nil
}

// SettleFeedback ends the lock of a batch: it is done with, or it shall be read
// again. The error wraps device.ErrLockLost when the lock is not in force.
func (n *Node) SettleFeedback(ctx context.Context, lock string, o device.Outcome, a device.Audit) error {
	for _, h := range n.devices {
		var id string
		var ok bool
		if err := h.do(ctx, func(c core) { id, ok = c.(*devicesCore).FeedbackOf(0, lock) }); err != nil {
			return err
		}
		if ok {
			_, err := n.call(ctx, device.KindFeedback, id, nil, settleHeaders(auditHeaders(a), lock, o))
			return err
		}
	}
	return fmt.Errorf("%w: %.64q", device.ErrLockLost, lock)
}

// dueLook appends a record for each device or module in whose queue something is due. One
// look is under way at a time, as the appender may make it wait.
type dueLook struct {
	node *Node
	busy atomic.Bool
}

// maxDue bounds the records of one look.
const maxDue = 256

func (l *dueLook) look(c core) {
	n := l.node
	keys := c.(*devicesCore).Due(windows.TickOf(n.now()), maxDue)
	if len(keys) == 0 || !l.busy.CompareAndSwap(false, true) {
		return
	}
	n.hosts.Add(1) // the host that looks counts, too, so nobody waits in vain
	go func() {
		defer n.hosts.Done()
		defer l.busy.Store(false)
		ctx, cancel := context.WithTimeout(n.ctx, 10*time.Second)
		defer cancel()
		for _, key := range keys {
			ref := device.ParseKey(key)
			r := &eventlog.Record{Topic: n.topics.deviceLog, Key: []byte(ref.Device),
				Headers: append(controlHeaders(ref, device.Audit{Actor: "hub"}), eventlog.Header{Key: device.HeaderKind, Value: []byte(device.KindDue)})}
			n.append(ctx, r, func(err error) {
				if err != nil && n.ctx.Err() == nil {
					n.logger.Warn("append what is due", "err", err)
				}
			})
		}
	}()
}
