package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// makeRoom is how many actors are asked to go when a message finds no room.
const makeRoom = 16

// idleProbe asks an actor to go if nothing was posted to it since. It passes
// through the mailbox, so the answer is given between two messages.
type idleProbe struct{ posts uint64 }

// lifecycle stands between mailbox and actor: it sees the actor's end, answers
// for one that panics, and keeps idle probes away from it.
func (c *Cluster) lifecycle(a *activation) actor.ReceiverMiddleware {
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(ctx actor.ReceiverContext, env *actor.MessageEnvelope) {
			switch env.Message.(type) {
			case *actor.Stopping:
				c.mu.Lock()
				a.state = stopping
				c.mu.Unlock()
				c.shielded(a, ctx, env, next)
			case *actor.Stopped:
				defer c.remove(a)
				c.shielded(a, ctx, env, next)
			default:
				defer func() {
					if r := recover(); r != nil {
						c.fail(a, env, r)
						panic(r) // supervision stops the actor
					}
				}()
				if p, ok := env.Message.(idleProbe); ok {
					c.passivate(a, ctx, p)
					return
				}
				next(ctx, env)
			}
		}
	}
}

// shielded keeps a panic on the way out from the library, which would leave the
// actor half stopped for ever.
func (c *Cluster) shielded(a *activation, ctx actor.ReceiverContext, env *actor.MessageEnvelope, next actor.ReceiverFunc) {
	defer func() {
		if r := recover(); r != nil {
			c.fail(a, env, r)
		}
	}()
	next(ctx, env)
}

func (c *Cluster) fail(a *activation, env *actor.MessageEnvelope, reason any) {
	c.metrics.failed.Inc()
	c.log.Error("device actor panicked and is stopped", "device", a.id,
		"message", fmt.Sprintf("%T", env.Message), "panic", reason, "stack", string(debug.Stack()))
	c.mu.Lock()
	a.failed = true
	c.mu.Unlock()
	if env.Sender != nil {
		c.system.Root.Send(env.Sender, failure{fmt.Errorf("%w: it panicked on %T", ErrFailed, env.Message)})
	}
}

// passivate runs on the actor's goroutine.
func (c *Cluster) passivate(a *activation, ctx actor.ReceiverContext, p idleProbe) {
	idler, ok := ctx.Actor().(interface{ Idle() bool })
	stays := ok && !idler.Idle()
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.state != live || a.posts != p.posts || stays || len(a.waiting) > 0 {
		return // asked again after another idle time
	}
	c.metrics.passivated.Inc()
	c.retireLocked(a)
}

func (c *Cluster) sweepEvery(d time.Duration) {
	defer close(c.swept)
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.sweep()
		case <-c.quit:
			return
		}
	}
}

// sweep asks all actors to go that were not used for the idle time.
func (c *Cluster) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.opts.Now().Add(-c.opts.IdleTimeout)
	for {
		e := c.recent.Back()
		if e == nil || e.Value.(*activation).used.After(since) {
			return
		}
		c.probeLocked(e.Value.(*activation))
	}
}

// makeRoomLocked asks the actors that were not used for longest to go.
func (c *Cluster) makeRoomLocked() {
	for range min(makeRoom, c.recent.Len()) {
		c.probeLocked(c.recent.Back().Value.(*activation))
	}
}

// probeLocked counts as use, so that an actor that stays, or hangs, is asked
// again only after another idle time.
func (c *Cluster) probeLocked(a *activation) {
	c.touchLocked(a)
	if a.state == live {
		c.system.Root.Send(a.pid, idleProbe{a.posts})
	}
}

// newSystem makes an actor system that keeps to our log: the library writes at
// level Info for each recovered panic and dead letter, with the whole message.
func newSystem(log *slog.Logger) *actor.ActorSystem {
	quiet := slog.New(warnings{log.Handler()}).With("lib", "protoactor")
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }),
		actor.WithDeadLetterRequestLogging(false),
		// The throttle of the dead-letter log keeps a goroutine for this long.
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)
}

// warnings passes on what is at least a warning.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

func (w warnings) WithAttrs(as []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(as)} }
func (w warnings) WithGroup(name string) slog.Handler    { return warnings{w.Handler.WithGroup(name)} }
