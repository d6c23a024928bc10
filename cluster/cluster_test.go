package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// fixture is a cluster whose device actors do what the message, a function, says.
type fixture struct {
	*Cluster
	t       *testing.T
	now     atomic.Int64 // seconds
	started sync.Map     // device id → *atomic.Int64
	stopped chan string
}

type do func(ctx actor.Context, d *testDevice)

type testDevice struct {
	f    *fixture
	id   string
	seen []int
	busy bool // keeps it from passivation
}

func (d *testDevice) Idle() bool { return !d.busy }

func (d *testDevice) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		n, _ := d.f.started.LoadOrStore(d.id, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		if strings.HasPrefix(d.id, "stillborn") {
			panic("can't start")
		}
	case *actor.Stopping:
		if strings.HasPrefix(d.id, "sore") {
			panic("can't stop")
		}
	case *actor.Stopped:
		select {
		case d.f.stopped <- d.id:
		default:
		}
	case do:
		m(ctx, d)
	case int:
		d.seen = append(d.seen, m)
	case string:
		ctx.Respond(m)
	}
}

func newFixture(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, stopped: make(chan string, 1000)}
	o := Options{
		Node:       "node-0",
		Partitions: func(id string) int32 { return int32(len(id)) - 1 },
		DeviceProps: func(id string) *actor.Props {
			if strings.HasPrefix(id, "unmade") {
				panic("no props")
			}
			return actor.PropsFromProducer(func() actor.Actor { return &testDevice{f: f, id: id} })
		},
		IdleTimeout: time.Hour, // of the fake clock; the ticker never gets there
		Now:         func() time.Time { return time.Unix(f.now.Load(), 0) },
	}
	if change != nil {
		change(&o)
	}
	c, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	f.Cluster = c
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) starts(id string) int64 {
	if n, ok := f.started.Load(id); ok {
		return n.(*atomic.Int64).Load()
	}
	return 0
}

func (f *fixture) ask(id string, msg any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return f.Request(ctx, id, msg)
}

func (f *fixture) mustAsk(id string, msg any) any {
	f.t.Helper()
	answer, err := f.ask(id, msg)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer
}

// askThrough asks again while the error is the one that a message may meet whose
// actor is on its way out.
func (f *fixture) askThrough(passing error, id string, msg any) any {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		answer, err := f.ask(id, msg)
		if err == nil {
			return answer
		}
		if !errors.Is(err, passing) || time.Now().After(deadline) {
			f.t.Fatal(err)
		}
		runtime.Gosched()
	}
}

func (f *fixture) awaitStopped(id string) {
	f.t.Helper()
	select {
	case got := <-f.stopped:
		if got != id {
			f.t.Fatalf("%s stopped, want %s", got, id)
		}
	case <-time.After(patience):
		f.t.Fatalf("%s has not stopped", id)
	}
}

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

func TestActorThatPanicsAnswersAndIsReplaced(t *testing.T) {
	f := newFixture(t, nil)
	_, err := f.ask("dev", do(func(actor.Context, *testDevice) { panic("bug") }))
	if !errors.Is(err, ErrFailed) {
		t.Errorf("error %v", err)
	}
	f.awaitStopped("dev")
	f.askThrough(ErrFailed, "dev", "hello")
	if n := f.starts("dev"); n != 2 {
		t.Errorf("%d activations, want 2", n)
	}
}

func TestRequestsThatWaitLearnThatTheirActorIsGone(t *testing.T) {
	f := newFixture(t, nil)
	got := make(chan error, 1)
	taken := make(chan struct{})
	go func() {
		_, err := f.ask("dev", do(func(actor.Context, *testDevice) { close(taken) }))
		got <- err
	}()
	<-taken
	if err := f.Send("dev", do(func(actor.Context, *testDevice) { panic("bug") })); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, ErrFailed) {
		t.Errorf("error %v", err)
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

func TestIdleActorIsPassivatedAndComesBackFresh(t *testing.T) {
	f := newFixture(t, nil)
	f.mustAsk("dev", "hello")
	f.now.Add(3599)
	f.sweep()
	f.mustAsk("dev", "hello") // behind the probe, if there were one
	if n := f.starts("dev"); n != 1 {
		t.Fatalf("%d activations before the idle time, want 1", n)
	}
	f.now.Add(3600)
	f.sweep()
	f.awaitStopped("dev")
	f.mustAsk("dev", "hello")
	if n := f.starts("dev"); n != 2 {
		t.Errorf("%d activations, want 2", n)
	}
}

func TestActorThatSaysItIsNotIdleStays(t *testing.T) {
	f := newFixture(t, nil)
	set := func(b bool) do {
		return func(ctx actor.Context, d *testDevice) { d.busy = b; ctx.Respond(true) }
	}
	f.mustAsk("dev", set(true))
	f.now.Add(7200)
	f.sweep()
	f.mustAsk("dev", set(false))
	if n := f.starts("dev"); n != 1 {
		t.Fatalf("%d activations, want 1", n)
	}
	f.now.Add(7200)
	f.sweep()
	f.awaitStopped("dev")
}

func TestActorWithARequestUnansweredStays(t *testing.T) {
	f := newFixture(t, nil)
	var asker *actor.PID
	got := make(chan any, 1)
	taken := make(chan struct{})
	go func() {
		answer, _ := f.ask("dev", do(func(ctx actor.Context, _ *testDevice) { asker = ctx.Sender(); close(taken) }))
		got <- answer
	}()
	<-taken
	f.now.Add(7200)
	f.sweep()
	f.mustAsk("dev", do(func(ctx actor.Context, _ *testDevice) { ctx.Send(asker, "late"); ctx.Respond(true) }))
	if answer := <-got; answer != "late" {
		t.Errorf("answer %v", answer)
	}
	if n := f.starts("dev"); n != 1 {
		t.Errorf("%d activations, want 1", n)
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

// full is a mailbox that has no room for messages, only for the library's own.
type full struct {
	actor.Mailbox
	f *fixture
}

type noRoom struct{}

func (noRoom) Error() string { return "no room" }
func (noRoom) Busy() bool    { return true }

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

func TestActorThatPanicsOnItsWayOutIsStillRemoved(t *testing.T) {
	f := newFixture(t, nil)
	f.mustAsk("sore", "hello")
	f.now.Add(7200)
	f.sweep()
	f.awaitStopped("sore")
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
