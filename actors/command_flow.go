package actors

import (
	"context"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
	"github.com/gemello/gemello/persistence/eventlog"
)

// commandFlow is the delivery of commands to the current session, each locked by
// a record of the device log before it is sent. It belongs to the device actor;
// all of it can be rebuilt from the queue.
type commandFlow struct {
	asking bool      // a receive is under way
	more   bool      // commands may wait that it does not cover
	open   int       // commands that were given and not settled
	since  time.Time // when the newest receive began
}

// commandWindow is how many commands a session is given before it settles some.
const commandWindow = 16

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

// askCommands fetches what the window has room for, unless a receive is under way.
// What a client does not settle goes back to the queue when its lock ends, so a
// full window, or an answer that never comes, holds up nothing for longer.
func (d *deviceActor) askCommands() {
	f := &d.commands
	if d.current == nil || !d.ready[ingest.FeatureCommands] {
		return
	}
	now := d.node.now()
	if (f.asking || f.open >= commandWindow) && now.Sub(f.since) < d.node.options.Commands.Lock/2 {
		f.more = true
		return
	}
	if f.open >= commandWindow {
		f.open = 0
	}
	f.asking, f.more, f.since = true, false, now
	node, ref, session := d.node, d.ref, d.current.ID
	room := int64(commandWindow - f.open)
	ctx, cancel := context.WithTimeout(node.ctx, requestTimeout)
	h := append(node.receiveHeaders(ref, device.Audit{Actor: "device:" + ref.String()}, room),
		eventlog.Header{Key: device.HeaderSession, Value: []byte(session)})
	node.submit(ctx, device.KindReceive, ref.Device, nil, h, func(r partition.Reply) {
		cancel()
		node.sendLater(ref.String(), &commandsReceived{session, r}, 0)
	})
}

func (d *deviceActor) commandsReceived(m *commandsReceived) {
	f := &d.commands
	if d.current == nil || d.current.ID != m.session {
		return // the core has taken them back, or will when their locks end
	}
	f.asking = false
	if m.reply.Err != nil {
		d.node.logger.Warn("receive commands", "device", d.ref.String(), "err", m.reply.Err)
		return
	}
	f.open += len(m.reply.Commands)
	f.more = f.more || m.reply.Count > 0
	for i := range m.reply.Commands {
		c := &m.reply.Commands[i]
		d.current.Session.Command(ingest.Command{Lock: c.Lock, Bag: c.Bag, Body: c.Body})
	}
	if f.more {
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
	h := append(settleHeaders(controlHeaders(d.ref, m.audit), m.lock, m.outcome), eventlog.Header{Key: device.HeaderSession, Value: []byte(m.session)})
	ctx, cancel := context.WithTimeout(d.node.ctx, requestTimeout)
	d.node.submit(ctx, device.KindSettle, d.ref.Device, nil, h, func(r partition.Reply) {
		cancel()
		m.done(r.Err)
	})
	if f.more && f.open <= commandWindow/2 {
		d.askCommands()
	}
}

// SettleDelivery ends a delivery that was made to a session; done runs once, with
// an error that wraps device.ErrLockLost when the session is not the current one
// or the lock is not in force.
func (n *Node) SettleDelivery(ref device.Ref, session, lock string, o device.Outcome, a device.Audit, done func(error)) {
	n.sendLater(ref.String(), &commandSettle{session, lock, o, a, done}, 0)
}
