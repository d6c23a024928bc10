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
	h := append(auditHeaders(c.Audit), eventlog.Header{Key: device.HeaderSize, Value: strconv.AppendInt(nil, int64(c.Size), 10)})
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
	r, err := n.call(ctx, device.KindCommand, c.DeviceID, c.Body, h)
	return r.Offset, err
}

// Commands returns the heads of a device's queued commands, oldest first.
func (n *Node) Commands(ctx context.Context, deviceID string) ([]device.Command, error) {
	var list []device.Command
	var doc *partition.Device
	var err error
	if e := n.devicesDo(ctx, deviceID, func(d *partition.Devices) {
		if doc, err = d.Get(device.Ref{Device: deviceID}); doc != nil {
			list = doc.Queue.Commands()
		}
	}); e != nil {
		return nil, e
	}
	if err == nil && doc == nil {
		err = (device.Ref{Device: deviceID}).NotFound()
	}
	return list, err
}

// PurgeCommands ends all commands of a device and returns how many.
func (n *Node) PurgeCommands(ctx context.Context, deviceID string, a device.Audit) (int, error) {
	r, err := n.call(ctx, device.KindPurge, deviceID, nil, auditHeaders(a))
	return r.Count, err
}

// ReceiveCommand gives a device that polls its next command, under a lock of its
// own; nil when none waits. A device without commands costs no record.
func (n *Node) ReceiveCommand(ctx context.Context, deviceID string, a device.Audit) (*device.Delivery, error) {
	waits := false
	if err := n.devicesDo(ctx, deviceID, func(d *partition.Devices) {
		doc, err := d.Get(device.Ref{Device: deviceID})
		waits = err != nil || doc != nil && doc.Queue.Len() > 0
	}); err != nil {
		return nil, err
	}
	if !waits {
		return nil, nil
	}
	r, err := n.call(ctx, device.KindReceive, deviceID, nil, append(auditHeaders(a), eventlog.Header{Key: device.HeaderMax, Value: []byte("1")}))
	if err != nil || len(r.Commands) == 0 {
		return nil, err
	}
	return &r.Commands[0], nil
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

// dueLook appends a record for each device in whose queue something is due. One
// look is under way at a time, as the appender may make it wait.
type dueLook struct {
	node *Node
	busy atomic.Bool
}

// maxDue bounds the records of one look.
const maxDue = 256

func (l *dueLook) look(c core) {
	n := l.node
	ids := c.(*devicesCore).Due(windows.TickOf(n.now()), maxDue)
	if len(ids) == 0 || !l.busy.CompareAndSwap(false, true) {
		return
	}
	n.hosts.Add(1) // the host that looks counts, too, so nobody waits in vain
	go func() {
		defer n.hosts.Done()
		defer l.busy.Store(false)
		ctx, cancel := context.WithTimeout(n.ctx, 10*time.Second)
		defer cancel()
		for _, id := range ids {
			r := &eventlog.Record{Topic: n.topics.deviceLog, Key: []byte(id),
				Headers: []eventlog.Header{{Key: device.HeaderKind, Value: []byte(device.KindDue)}, {Key: device.HeaderActor, Value: []byte("hub")}}}
			n.append(ctx, r, func(err error) {
				if err != nil && n.ctx.Err() == nil {
					n.logger.Warn("append what is due", "err", err)
				}
			})
		}
	}()
}
