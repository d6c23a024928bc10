package cluster

import (
	"errors"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

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

func TestActorThatPanicsOnItsWayOutIsStillRemoved(t *testing.T) {
	f := newFixture(t, nil)
	f.mustAsk("sore", "hello")
	f.now.Add(7200)
	f.sweep()
	f.awaitStopped("sore")
}
