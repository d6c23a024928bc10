package actors

import (
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

const mailPatience = 10 * time.Second

// sized is a message that counts as so many bytes.
type sized int

func (s sized) Size() int { return int(s) }

// blocker is an actor that waits at each message until the test lets it go on.
type blocker struct {
	system  *actor.ActorSystem
	pid     *actor.PID
	entered chan any
	goOn    chan struct{}
	stopped chan struct{}
	refused atomic.Int64
}

func newBlocker(t *testing.T, o MailboxOptions) *blocker {
	t.Helper()
	b := &blocker{
		system: actor.NewActorSystem(
			actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
			actor.WithDeadLetterThrottleInterval(time.Millisecond)),
		entered: make(chan any, 1000),
		goOn:    make(chan struct{}, 1000),
		stopped: make(chan struct{}),
	}
	t.Cleanup(b.system.Shutdown)
	o.Refused = func() { b.refused.Add(1) }
	b.pid = b.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Started, *actor.Stopping, *actor.Restarting:
		case *actor.Stopped:
			close(b.stopped)
		case error:
			panic(m)
		default:
			b.entered <- m
			<-b.goOn
			if ctx.Sender() != nil {
				ctx.Respond(m)
			}
		}
	}, actor.WithMailbox(BoundedMailbox(o)),
		actor.WithGuardian(actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective }))))
	return b
}

// hold sends a message and waits until the actor is at it.
func (b *blocker) hold(t *testing.T) {
	t.Helper()
	b.system.Root.Send(b.pid, "hold")
	b.enters(t, "hold")
}

func (b *blocker) enters(t *testing.T, want any) {
	t.Helper()
	select {
	case got := <-b.entered:
		if got != want {
			t.Fatalf("the actor is at %v, want %v", got, want)
		}
	case <-time.After(mailPatience):
		t.Fatalf("the actor never came to %v", want)
	}
}

func (b *blocker) awaitStopped(t *testing.T) {
	t.Helper()
	select {
	case <-b.stopped:
	case <-time.After(mailPatience):
		t.Fatal("the actor has not stopped")
	}
}

func TestFullMailboxAnswersBusyAndKeepsTheOldMessages(t *testing.T) {
	b := newBlocker(t, MailboxOptions{Items: 3})
	b.hold(t)
	for i := range 3 {
		b.system.Root.Send(b.pid, i)
	}
	answer, err := b.system.Root.RequestFuture(b.pid, 3, mailPatience).Result()
	if err != nil || answer != (Busy{}) {
		t.Errorf("answer %v, %v", answer, err)
	}
	if e, ok := answer.(error); !ok || !errors.Is(e, ErrBusy) {
		t.Errorf("the answer %v is not ErrBusy", answer)
	}
	b.system.Root.Send(b.pid, 4) // without a sender: dropped
	if n := b.refused.Load(); n != 2 {
		t.Errorf("%d refusals counted, want 2", n)
	}
	for i := range 3 {
		b.goOn <- struct{}{}
		b.enters(t, i)
	}
	// There is room again.
	f := b.system.Root.RequestFuture(b.pid, 5, mailPatience)
	b.goOn <- struct{}{}
	b.enters(t, 5)
	b.goOn <- struct{}{}
	if answer, err := f.Result(); err != nil || answer != 5 {
		t.Errorf("answer %v, %v", answer, err)
	}
}

func TestMailboxIsBoundedInBytes(t *testing.T) {
	b := newBlocker(t, MailboxOptions{Bytes: 100})
	b.hold(t)
	for _, c := range []struct {
		size    sized
		refused int64
	}{{101, 1}, {60, 1}, {41, 2}, {40, 2}, {1, 3}, {0, 3}} {
		b.system.Root.Send(b.pid, c.size)
		if n := b.refused.Load(); n != c.refused {
			t.Fatalf("after %d bytes: %d refusals, want %d", c.size, n, c.refused)
		}
	}
	b.goOn <- struct{}{}
	b.enters(t, sized(60))
	b.system.Root.Send(b.pid, sized(60)) // its bytes are free as soon as it is taken
	if n := b.refused.Load(); n != 3 {
		t.Errorf("%d refusals, want 3", n)
	}
	for range 10 {
		b.goOn <- struct{}{}
	}
}

func TestFullActorCanStillEndAfterItsMessages(t *testing.T) {
	b := newBlocker(t, MailboxOptions{Items: 1})
	b.hold(t)
	b.system.Root.Send(b.pid, "last")
	b.system.Root.Poison(b.pid)
	b.goOn <- struct{}{}
	b.enters(t, "last")
	b.goOn <- struct{}{}
	b.awaitStopped(t)
}

func TestMessagesBehindAStopAreAnsweredUnseen(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*blocker)
	}{
		{"stop", func(b *blocker) { b.system.Root.Stop(b.pid) }},
		{"panic", func(b *blocker) { b.system.Root.Send(b.pid, errors.New("bug")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBlocker(t, MailboxOptions{})
			b.hold(t)
			c.end(b)
			f := b.system.Root.RequestFuture(b.pid, "behind", mailPatience)
			b.goOn <- struct{}{}
			if _, err := f.Result(); !errors.Is(err, actor.ErrDeadLetter) {
				t.Errorf("error %v", err)
			}
			b.awaitStopped(t)
			select {
			case m := <-b.entered:
				t.Errorf("the actor saw %v", m)
			default:
			}
		})
	}
}

func TestMailboxDeliversInOrderFromManySenders(t *testing.T) {
	const senders, each = 8, 200
	b := newBlocker(t, MailboxOptions{Items: senders * each})
	close(b.goOn)
	type numbered struct{ sender, n int }
	for s := range senders {
		go func() {
			for n := range each {
				b.system.Root.Send(b.pid, numbered{s, n})
			}
		}()
	}
	seen := make([][]int, senders)
	for range senders * each {
		select {
		case m := <-b.entered:
			seen[m.(numbered).sender] = append(seen[m.(numbered).sender], m.(numbered).n)
		case <-time.After(mailPatience):
			t.Fatal("messages are missing")
		}
	}
	for s, ns := range seen {
		if len(ns) != each || !slices.IsSorted(ns) {
			t.Errorf("sender %d: %v", s, ns)
		}
	}
	if n := b.refused.Load(); n != 0 {
		t.Errorf("%d refusals", n)
	}
}

func TestMailQueueKeepsOrderAndStaysNearTheSizeOfWhatWaits(t *testing.T) {
	var q mailQueue
	next, due := 0, 0
	for range 10000 {
		for q.len() < 100 {
			q.push(mail{message: next})
			next++
		}
		for range 1 + next%7 {
			if m := q.pop(); m.message != due {
				t.Fatalf("got %v, want %d", m.message, due)
			}
			due++
		}
	}
	if cap(q.items) > 512 {
		t.Errorf("room for %d messages where 100 wait at most", cap(q.items))
	}
	for q.len() > 0 {
		q.pop()
	}
	if q.items != nil {
		t.Errorf("an empty queue keeps room for %d messages", cap(q.items))
	}
}

func BenchmarkMailbox(b *testing.B) {
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	defer system.Shutdown()
	done := make(chan struct{}, 1)
	pid := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(int); ok && ctx.Sender() == nil {
			done <- struct{}{}
		}
	}, actor.WithMailbox(BoundedMailbox(MailboxOptions{}))))
	b.ReportAllocs()
	for b.Loop() {
		system.Root.Send(pid, 1)
		<-done
	}
}
