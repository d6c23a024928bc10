package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestConcurrentFirstMessagesMakeOneActor(t *testing.T) {
	f := newFixture(t, nil)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if got, err := f.ask("dev", "hello"); err != nil || got != "hello" {
				t.Errorf("answer %v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if n := f.starts("dev"); n != 1 {
		t.Errorf("%d activations, want 1", n)
	}
}

func TestNotifyReachesAnActorThatIsThereAndMakesNone(t *testing.T) {
	f := newFixture(t, nil)
	told := make(chan struct{})
	tell := do(func(actor.Context, *testDevice) { close(told) })
	if err := f.Notify("dev", tell); err != nil {
		t.Fatal(err)
	}
	if n := f.starts("dev"); n != 0 {
		t.Errorf("%d activations by a notice, want 0", n)
	}
	f.mustAsk("dev", "hello")
	if err := f.Notify("dev", tell); err != nil {
		t.Fatal(err)
	}
	<-told // closed once: the first notice reached nobody
	if n := f.starts("dev"); n != 1 {
		t.Errorf("%d activations, want 1", n)
	}
}

func TestActorThatCannotBeMadeOrStartFailsItsMessages(t *testing.T) {
	f := newFixture(t, nil)
	for _, id := range []string{"unmade", "stillborn"} {
		if _, err := f.ask(id, "hello"); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: error %v", id, err)
		}
	}
}

func TestMessagesBehindAPassivationReachTheNextActivation(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxHeld = 3 })
	gate, reached := make(chan struct{}), make(chan struct{})
	f.mustAsk("dev", "hello")
	if err := f.Send("dev", do(func(actor.Context, *testDevice) { close(reached); <-gate })); err != nil {
		t.Fatal(err)
	}
	<-reached
	f.mu.Lock()
	f.retireLocked(f.active["dev"])
	f.mu.Unlock()
	for i := range 3 {
		if err := f.Send("dev", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Send("dev", 3); !errors.Is(err, ErrBusy) {
		t.Errorf("over the limit of held messages: error %v", err)
	}
	close(gate)
	f.awaitStopped("dev")
	seen := f.askThrough(ErrBusy, "dev", do(func(ctx actor.Context, d *testDevice) { ctx.Respond(d.seen) }))
	if !slices.Equal(seen.([]int), []int{0, 1, 2}) {
		t.Errorf("the next activation saw %v", seen)
	}
	if n := f.starts("dev"); n != 2 {
		t.Errorf("%d activations, want 2", n)
	}
}

func TestNothingIsLostWhilePassivationsRace(t *testing.T) {
	f := newFixture(t, nil)
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 500 {
				if _, err := f.ask(fmt.Sprintf("dev-%d", i%5), "hello"); err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
				if i%3 == 0 {
					f.now.Add(3600)
					f.sweep()
				}
			}
		})
	}
	wg.Wait()
	if got := testutil.ToFloat64(f.metrics.passivated); got < 100 {
		t.Errorf("only %v passivations: the race was not tried", got)
	}
	if answered.Load() != 2000 {
		t.Errorf("%d answers of 2000", answered.Load())
	}
}

func TestActivationsAreBoundedAndIdleOnesMakeRoom(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxActivations = 2 })
	f.mustAsk("a", "hello")
	f.mustAsk("b", do(func(ctx actor.Context, d *testDevice) { d.busy = true; ctx.Respond(true) }))
	if _, err := f.ask("c", "hello"); !errors.Is(err, ErrBusy) {
		t.Fatalf("error %v", err)
	}
	f.awaitStopped("a")
	f.askThrough(ErrBusy, "c", "hello")
	if n := f.starts("b"); n != 1 {
		t.Errorf("b was activated %d times, want 1", n)
	}
	if got := testutil.ToFloat64(f.metrics.refused.WithLabelValues(refusedActivations)); got < 1 {
		t.Errorf("%v refusals counted", got)
	}
}

func BenchmarkActivate(b *testing.B) {
	c, err := Start(Options{
		Node:           "n",
		MaxActivations: 1 << 30,
		Partitions:     func(string) int32 { return 0 },
		DeviceProps: func(string) *actor.Props {
			return actor.PropsFromFunc(func(actor.Context) {})
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := range b.N {
		if err := c.Send(fmt.Sprint(i), "x"); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := c.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
}
