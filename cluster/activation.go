package cluster

import (
	"container/list"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// state of an activation.
type state uint8

const (
	starting state = iota // its actor is being made; messages are held
	live                  // messages go to its mailbox
	stopping              // its actor works off its mailbox; messages are held for the next
	gone                  // no longer in the table
)

// activation is the life of one device actor, from the message that called for
// it to its last. All fields but id are guarded by Cluster.mu.
type activation struct {
	id      string
	state   state
	failed  bool // its actor panicked
	pid     *actor.PID
	held    []held // bounded by Options.MaxHeld
	waiting map[*reply]struct{}
	posts   uint64    // messages ever posted
	used    time.Time // of the last post, or of the last time it was asked to go
	recent  *list.Element
}

// held is a message with the reply that waits for its answer, nil for Send.
type held struct {
	envelope *actor.MessageEnvelope
	reply    *reply
}

// post hands a message to the device's actor.
func (c *Cluster) post(id string, m held) error {
	c.mu.Lock()
	if c.stopping {
		c.mu.Unlock()
		return ErrStopped
	}
	if a := c.active[id]; a != nil {
		defer c.mu.Unlock()
		a.posts++
		c.touchLocked(a)
		if a.state == live {
			c.deliverLocked(a, m)
			return nil
		}
		if len(a.held) >= c.opts.MaxHeld {
			c.metrics.refused.WithLabelValues(refusedHeld).Inc()
			return ErrBusy
		}
		a.held = append(a.held, m)
		return nil
	}
	if len(c.active) >= c.opts.MaxActivations {
		c.makeRoomLocked()
		c.mu.Unlock()
		c.metrics.refused.WithLabelValues(refusedActivations).Inc()
		return ErrBusy
	}
	a := c.addLocked(id, []held{m})
	c.mu.Unlock()
	c.activate(a)
	return nil
}

func (c *Cluster) addLocked(id string, messages []held) *activation {
	a := &activation{id: id, held: messages, posts: 1, used: c.opts.Now()}
	a.recent = c.recent.PushFront(a)
	c.active[id] = a
	c.metrics.actors.Inc()
	return a
}

func (c *Cluster) touchLocked(a *activation) {
	a.used = c.opts.Now()
	c.recent.MoveToFront(a.recent)
}

// deliverLocked posts to the mailbox; under the lock, so that nothing can come
// behind the message that stops the actor.
func (c *Cluster) deliverLocked(a *activation, m held) {
	if m.reply != nil {
		if a.waiting == nil {
			a.waiting = map[*reply]struct{}{}
		}
		a.waiting[m.reply] = struct{}{}
		m.reply.on = a
	}
	c.system.Root.Send(a.pid, m.envelope)
}

// forget drops a reply that nobody waits for any more.
func (c *Cluster) forget(r *reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.on != nil {
		delete(r.on.waiting, r)
	}
}

// activate makes the actor and gives it the messages held meanwhile.
func (c *Cluster) activate(a *activation) {
	pid, err := c.spawn(a)
	if err != nil {
		c.metrics.failed.Inc()
		c.log.Error("device actor could not be made", "device", a.id, "err", err)
		c.mu.Lock()
		a.failed = true
		c.mu.Unlock()
		c.remove(a)
		return
	}
	c.metrics.started.Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	a.pid = pid
	if a.state != starting {
		return // it has failed already, and lifecycle deals with what is held
	}
	a.state = live
	for _, m := range a.held {
		c.deliverLocked(a, m)
	}
	a.held = nil
	if c.stopping {
		c.retireLocked(a)
	}
}

// spawn turns a panic of the caller's props or producer into an error.
func (c *Cluster) spawn(a *activation) (pid *actor.PID, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("making the actor panicked: %v", r)
		}
	}()
	props := c.opts.DeviceProps(a.id).Clone(
		actor.WithReceiverMiddleware(c.lifecycle(a)),
		actor.WithGuardian(c.guardian),
		actor.WithDispatcher(c.dispatcher),
	)
	return c.system.Root.SpawnNamed(props, "device/"+a.id)
}

// retireLocked lets the actor end after the messages it already has.
func (c *Cluster) retireLocked(a *activation) {
	a.state = stopping
	c.system.Root.Poison(a.pid)
}

// remove ends an activation whose actor is gone: who still waits for its answer
// learns of it, and what was held for the next one activates that.
func (c *Cluster) remove(a *activation) {
	c.mu.Lock()
	a.state = gone
	delete(c.active, a.id)
	c.recent.Remove(a.recent)
	c.metrics.actors.Dec()
	for r := range a.waiting {
		r.fail(ErrFailed)
	}
	a.waiting = nil
	messages := a.held
	a.held = nil
	var next *activation
	// After a failure nothing is tried again by itself: an actor that can't start
	// would be made anew for ever.
	if len(messages) > 0 && !a.failed && !c.stopping {
		next = c.addLocked(a.id, messages)
		messages = nil
	}
	refusal := ErrFailed
	if c.stopping {
		refusal = ErrStopped
	}
	c.drainedLocked()
	c.mu.Unlock()

	for _, m := range messages {
		if m.reply == nil {
			c.metrics.dropped.Inc()
			continue
		}
		m.reply.fail(refusal)
	}
	if next != nil {
		c.activate(next)
	}
}

func (c *Cluster) drainedLocked() {
	if !c.stopping || len(c.active) > 0 {
		return
	}
	select {
	case <-c.drained:
	default:
		close(c.drained)
	}
}
