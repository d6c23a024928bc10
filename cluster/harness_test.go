package cluster

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
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
