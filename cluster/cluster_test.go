package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestStartNamesEachMissingOption(t *testing.T) {
	_, err := Start(Options{IdleTimeout: -1})
	for _, want := range []string{"Node", "Partitions", "DeviceProps", "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not speak of %s", err, want)
		}
	}
}

func TestOnlyMemberOwnsEveryPartition(t *testing.T) {
	f := newFixture(t, nil)
	if got := f.Members(); !slices.Equal(got, []string{"node-0"}) {
		t.Errorf("members %v", got)
	}
	for p := range int32(64) {
		if got := f.Owner(p); got != "node-0" {
			t.Errorf("owner of %d is %q", p, got)
		}
	}
}

func TestFirstMessageActivatesAndLaterOnesFindTheSameActor(t *testing.T) {
	f := newFixture(t, nil)
	for i := range 100 {
		if err := f.Send("dev", i); err != nil {
			t.Fatal(err)
		}
	}
	seen := f.mustAsk("dev", do(func(ctx actor.Context, d *testDevice) { ctx.Respond(slices.Clone(d.seen)) })).([]int)
	if len(seen) != 100 || !slices.IsSorted(seen) {
		t.Errorf("messages arrived as %v", seen)
	}
	if n := f.starts("dev"); n != 1 {
		t.Errorf("%d activations, want 1", n)
	}
}

func TestDeviceWithoutPartitionOrOnAnotherMemberIsRefused(t *testing.T) {
	f := newFixture(t, nil)
	if _, err := f.ask("", "x"); !errors.Is(err, ErrNoPartition) {
		t.Errorf("error %v", err)
	}
	f.members.set([]string{"node-0", "node-1"})
	here, there := 0, 0
	for n := 1; n <= 40; n++ {
		_, err := f.ask(strings.Repeat("x", n), "hello")
		switch {
		case err == nil && f.Owner(int32(n-1)) == "node-0":
			here++
		case errors.Is(err, ErrElsewhere) && f.Owner(int32(n-1)) == "node-1":
			there++
		default:
			t.Errorf("%d: owner %s, error %v", n, f.Owner(int32(n-1)), err)
		}
	}
	if here == 0 || there == 0 {
		t.Errorf("%d here, %d there", here, there)
	}
}

func TestRequestEndsWithItsContext(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.RequestTimeout = time.Millisecond })
	mute := do(func(actor.Context, *testDevice) {})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Request(ctx, "dev", mute); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := f.Request(context.Background(), "dev", mute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a deadline: error %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.active["dev"].waiting); n != 0 {
		t.Errorf("%d replies left behind", n)
	}
}

func TestAnswerThatIsAnErrorIsTheError(t *testing.T) {
	f := newFixture(t, nil)
	mine := errors.New("mine")
	if _, err := f.ask("dev", do(func(ctx actor.Context, _ *testDevice) { ctx.Respond(mine) })); !errors.Is(err, mine) {
		t.Errorf("error %v", err)
	}
}

// full is a mailbox that has no room for messages, only for the library's own.
type full struct {
	actor.Mailbox
	f *fixture
}

type noRoom struct{}

func (noRoom) Error() string { return "no room" }

func (noRoom) Busy() bool { return true }

func (m full) PostUserMessage(msg any) {
	_, inner, sender := actor.UnwrapEnvelope(msg)
	if _, ok := inner.(*actor.PoisonPill); ok {
		m.Mailbox.PostUserMessage(msg)
	} else if sender != nil {
		m.f.system.Root.Send(sender, noRoom{})
	}
}

func TestFullMailboxIsBusyForRequestAndSend(t *testing.T) {
	var f *fixture
	f = newFixture(t, func(o *Options) {
		props := o.DeviceProps
		o.DeviceProps = func(id string) *actor.Props {
			return props(id).Configure(actor.WithMailbox(func() actor.Mailbox {
				return full{actor.Unbounded()(), f}
			}))
		}
	})
	if _, err := f.ask("dev", "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("request: error %v", err)
	}
	err := f.Send("dev", "x")
	if !errors.Is(err, ErrBusy) {
		t.Errorf("send: error %v", err)
	}
	var b interface{ Busy() bool }
	if !errors.As(err, &b) || !b.Busy() {
		t.Error("busy can't be recognised without importing this package")
	}
}

func TestStopLetsActorsFinishAndRefusesWhatComesLater(t *testing.T) {
	f := newFixture(t, nil)
	gate, reached := make(chan struct{}), make(chan struct{})
	got := make(chan any, 1)
	go func() {
		answer, _ := f.ask("dev", do(func(ctx actor.Context, _ *testDevice) { close(reached); <-gate; ctx.Respond("done") }))
		got <- answer
	}()
	<-reached
	stopped := make(chan error, 1)
	go func() { stopped <- f.Stop(context.Background()) }()
	<-f.quit
	if err := f.Send("dev", 1); !errors.Is(err, ErrStopped) {
		t.Errorf("error %v", err)
	}
	close(gate)
	if answer := <-got; answer != "done" {
		t.Errorf("answer %v", answer)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopGivesUpOnAnActorThatHangs(t *testing.T) {
	f := newFixture(t, nil)
	gate, reached := make(chan struct{}), make(chan struct{})
	got := make(chan error, 1)
	go func() {
		_, err := f.ask("dev", do(func(actor.Context, *testDevice) { close(reached); <-gate }))
		got <- err
	}()
	<-reached
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := <-got; !errors.Is(err, ErrStopped) {
		t.Errorf("request: error %v", err)
	}
	close(gate)
	f.awaitStopped("dev")
}

func TestMetricsRegisterOnceAndFollowTheLint(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	newFixture(t, func(o *Options) { o.Registerer = r })
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	_, err = Start(Options{Node: "n", Registerer: r,
		Partitions:  func(string) int32 { return 0 },
		DeviceProps: func(string) *actor.Props { return nil }})
	if err == nil {
		t.Error("the same registerer was taken twice")
	}
}

func BenchmarkRequest(b *testing.B) {
	c, err := Start(Options{
		Node:       "n",
		Partitions: func(string) int32 { return 0 },
		DeviceProps: func(string) *actor.Props {
			return actor.PropsFromFunc(func(ctx actor.Context) {
				if s, ok := ctx.Message().(string); ok {
					ctx.Respond(s)
				}
			})
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Stop(context.Background())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Request(context.Background(), "dev", "x"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
