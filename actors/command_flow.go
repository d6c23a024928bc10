package actors

import (
	"context"
	"strconv"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
	"github.com/gemello/gemello/persistence/eventlog"
)

// commandFlow is the delivery of commands to the current session: one batch at a
// time, each locked by a record of the device log before it is sent. It belongs
// to the device actor; all of it can be rebuilt from the queue.
type commandFlow struct {
	asking bool      // a receive is under way
	more   bool      // commands wait beyond the batch
	open   int       // commands of the batch that are not settled
	since  time.Time // when the present step began
}

// commandBatch is how many commands a session is given at a time.
const commandBatch = 16

// commandsReceived is the core's answer to a receive.
type commandsReceived struct {
	session string
	reply   partition.Reply
}

// commandSettle is the client's answer to a command.
type commandSettle struct {
	session, lock string
	outcome       device.Outcome
	audit         device.Audit
	done          func(error)
}

// askCommands fetches the next batch, unless one is under way. What a client does
// not settle goes back to the queue when its lock ends, so an old batch holds up
// nothing.
func (d *deviceActor) askCommands() {
	f := &d.commands
	if d.current == nil || !d.ready[ingest.FeatureCommands] {
		return
	}
	now := d.node.now()
	if (f.asking || f.open > 0) && now.Sub(f.since) < device.CommandLock/2 {
		f.more = true
		return
	}
	*f = commandFlow{asking: true, since: now}
	node, id, session := d.node, d.ref.Device, d.current.ID
	ctx, cancel := context.WithTimeout(node.ctx, requestTimeout)
	h := []eventlog.Header{
		{Key: device.HeaderSession, Value: []byte(session)},
		{Key: device.HeaderMax, Value: strconv.AppendInt(nil, commandBatch, 10)},
		{Key: device.HeaderActor, Value: []byte("device:" + id)},
	}
	node.submit(ctx, device.KindReceive, id, nil, h, func(r partition.Reply) {
		cancel()
		node.sendLater(id, &commandsReceived{session, r}, 0)
	})
}

func (d *deviceActor) commandsReceived(m *commandsReceived) {
	f := &d.commands
	if d.current == nil || d.current.ID != m.session {
		return // the core has taken them back, or will when their locks end
	}
	f.asking = false
	if m.reply.Err != nil {
		d.node.logger.Warn("receive commands", "device", d.ref.Device, "err", m.reply.Err)
		return
	}
	f.open, f.since = len(m.reply.Commands), d.node.now()
	more := f.more || m.reply.Count > 0
	f.more = more
	for i := range m.reply.Commands {
		c := &m.reply.Commands[i]
		d.current.Session.Command(ingest.Command{Lock: c.Lock, Bag: c.Bag, Body: c.Body})
	}
	if f.open == 0 && more && m.reply.Count > 0 {
		f.more = false
		d.askCommands()
	}
}

// settleCommand ends a delivery of the current session.
func (d *deviceActor) settleCommand(m *commandSettle) {
	if d.current == nil || d.current.ID != m.session {
		m.done(device.ErrLockLost)
		return
	}
	f := &d.commands
	f.open = max(0, f.open-1)
	h := append(settleHeaders(auditHeaders(m.audit), m.lock, m.outcome), eventlog.Header{Key: device.HeaderSession, Value: []byte(m.session)})
	ctx, cancel := context.WithTimeout(d.node.ctx, requestTimeout)
	d.node.submit(ctx, device.KindSettle, d.ref.Device, nil, h, func(r partition.Reply) {
		cancel()
		m.done(r.Err)
	})
	if f.open == 0 && f.more {
		d.askCommands()
	}
}

// SettleDelivery ends a delivery that was made to a session; done runs once, with
// an error that wraps device.ErrLockLost when the session is not the current one
// or the lock is not in force.
func (n *Node) SettleDelivery(deviceID, session, lock string, o device.Outcome, a device.Audit, done func(error)) {
	n.sendLater(deviceID, &commandSettle{session, lock, o, a, done}, 0)
}
