package cluster

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Cluster is this node's part of the cluster. Its methods may be called from any
// goroutine, also from device actors; a Request of an actor to itself waits for
// itself, until its context ends.
type Cluster struct {
	opts       Options
	log        *slog.Logger
	metrics    *metrics
	members    *membership
	system     *actor.ActorSystem
	guardian   actor.SupervisorStrategy
	dispatcher actor.Dispatcher

	quit  chan struct{} // closed when Stop begins: ends the sweep
	swept chan struct{} // closed when the sweep has ended
	ended chan struct{} // closed when Stop is done or has given up: ends requests

	// mu guards the following and the fields of every activation. Messages are
	// posted to mailboxes under it, which never blocks; props, producers and
	// actors never run under it.
	mu       sync.Mutex
	active   map[string]*activation
	recent   *list.List    // activations, the one used last in front
	stopping bool          // no message is taken any more
	drained  chan struct{} // closed when stopping and no activation is left
}

// Start joins the cluster as its only member. It opens no port. The error says
// which option is wrong, or which metric is registered already.
func Start(o Options) (c *Cluster, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("cluster: registering metrics: %w", err)
	}
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, fmt.Errorf("cluster: starting the actor system: %v", r)
		}
	}()
	c = &Cluster{
		opts:       o,
		log:        o.Logger,
		metrics:    m,
		members:    newMembership(o.Node),
		system:     newSystem(o.Logger),
		guardian:   actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective }),
		dispatcher: actor.NewDefaultDispatcher(300),
		quit:       make(chan struct{}),
		swept:      make(chan struct{}),
		ended:      make(chan struct{}),
		active:     map[string]*activation{},
		recent:     list.New(),
		drained:    make(chan struct{}),
	}
	m.members.Set(1)
	go c.sweepEvery(max(o.IdleTimeout/4, time.Millisecond))
	return c, nil
}

// Stop takes no more messages, lets the device actors work off what they have
// taken, and waits until they are gone. When ctx ends first it stops them without
// that and returns an error that wraps ctx's; an actor that hangs in its Receive
// is left behind. Further calls wait for the first.
func (c *Cluster) Stop(ctx context.Context) error {
	c.mu.Lock()
	if c.stopping {
		c.mu.Unlock()
		select {
		case <-c.ended:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("cluster: waiting for stop: %w", ctx.Err())
		}
	}
	c.stopping = true
	for _, a := range c.active {
		if a.state == live {
			c.retireLocked(a)
		}
	}
	c.drainedLocked()
	c.mu.Unlock()

	// The sweep posts to actors, so it ends before the system does.
	close(c.quit)
	<-c.swept

	var err error
	select {
	case <-c.drained:
	case <-ctx.Done():
		c.mu.Lock()
		n := len(c.active)
		for _, a := range c.active {
			if a.pid != nil {
				c.system.Root.Stop(a.pid)
			}
		}
		c.mu.Unlock()
		err = fmt.Errorf("cluster: %d device actors still busy: %w", n, ctx.Err())
	}
	close(c.ended)
	c.system.Shutdown()
	return err
}

// System is the actor system that device actors live in, for other actors of
// this node. It is stopped by Stop alone.
func (c *Cluster) System() *actor.ActorSystem { return c.system }

// Owner is the member that the partition is placed on in the current view.
func (c *Cluster) Owner(partition int32) string { return c.members.current().Owner(partition) }

// Members are the names of the live members, in order.
func (c *Cluster) Members() []string { return slices.Clone(c.members.current().Members) }

// Subscribe calls f with the current view before it returns and then with each
// new one, in order, never two at a time. f must not block, must not change the
// view's slice, and must not call Subscribe or cancel; after cancel has returned
// it isn't called again.
func (c *Cluster) Subscribe(f func(View)) (cancel func()) { return c.members.subscribe(f) }

// Request sends msg to the actor of the device, activates it if need be, and
// waits for its answer. An answer that is an error is returned as the error, and
// ErrBusy in place of a busy one. Other errors: ErrBusy, ErrFailed, ErrStopped,
// ErrElsewhere, ErrNoPartition, or ctx's. Unless the error is ErrFailed or ctx's
// the message had no effect but that of the actor's own error.
func (c *Cluster) Request(ctx context.Context, deviceID string, msg any) (any, error) {
	if err := c.isHere(deviceID); err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.opts.RequestTimeout)
		defer cancel()
	}
	answer, err := c.ask(ctx, deviceID, msg)
	if errors.Is(err, errUndelivered) {
		// It met an actor on its way out; the next one is a fresh one.
		answer, err = c.ask(ctx, deviceID, msg)
	}
	if errors.Is(err, errUndelivered) {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: device %q: %w", deviceID, err)
	}
	return answer, nil
}

// Send is Request without an answer: nil means that the message is in the
// actor's mailbox or held for its activation, not that it has been seen.
func (c *Cluster) Send(deviceID string, msg any) error {
	if err := c.isHere(deviceID); err != nil {
		return err
	}
	// A full mailbox answers the sender while the message is being posted, so a
	// reply that lives for that moment learns of it.
	r := newReply()
	pid, remove := c.register(r)
	defer remove()
	err := c.post(deviceID, held{envelope: &actor.MessageEnvelope{Message: msg, Sender: pid}})
	if err == nil {
		select {
		case answer := <-r.answer:
			if e, ok := answer.(error); ok && isBusy(e) {
				c.metrics.refused.WithLabelValues(refusedMailbox).Inc()
				err = ErrBusy
			}
		default:
		}
	}
	if err != nil {
		return fmt.Errorf("cluster: device %q: %w", deviceID, err)
	}
	return nil
}

// Notify is Send to an actor that is there; without one nothing happens. It is for
// what only an actor that holds something has to know: an activation for each
// device of a bulk change would cost more than the change.
func (c *Cluster) Notify(deviceID string, msg any) error {
	c.mu.Lock()
	here := c.active[deviceID] != nil
	c.mu.Unlock()
	if !here {
		return nil
	}
	return c.Send(deviceID, msg)
}

func (c *Cluster) isHere(deviceID string) error {
	p := c.opts.Partitions(deviceID)
	if p < 0 {
		return fmt.Errorf("cluster: device %q: %w", deviceID, ErrNoPartition)
	}
	if node := c.Owner(p); node != c.opts.Node {
		return fmt.Errorf("cluster: device %q is on %q: %w", deviceID, node, ErrElsewhere)
	}
	return nil
}

func (c *Cluster) register(r *reply) (pid *actor.PID, remove func()) {
	pid, _ = c.system.ProcessRegistry.Add(r, "reply"+c.system.ProcessRegistry.NextId())
	return pid, func() { c.system.ProcessRegistry.Remove(pid) }
}

func (c *Cluster) ask(ctx context.Context, deviceID string, msg any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := newReply()
	pid, remove := c.register(r)
	defer remove()
	err := c.post(deviceID, held{&actor.MessageEnvelope{Message: msg, Sender: pid}, r})
	if err != nil {
		return nil, err
	}
	defer c.forget(r)
	var answer any
	select {
	case answer = <-r.answer:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.ended:
		select { // the last answers come before the end
		case answer = <-r.answer:
		default:
			return nil, ErrStopped
		}
	}
	switch a := answer.(type) {
	case failure:
		return nil, a.err
	case *actor.DeadLetterResponse:
		return nil, errUndelivered
	case error:
		if isBusy(a) {
			c.metrics.refused.WithLabelValues(refusedMailbox).Inc()
			return nil, ErrBusy
		}
		return nil, a
	}
	return answer, nil
}
