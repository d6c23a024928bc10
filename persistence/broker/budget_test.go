package broker

import (
	"context"
	"testing"
)

func TestBudgetLetsOneLeaseGoBeyond(t *testing.T) {
	b := newBudget(100)
	first, second := &lease{budget: b}, &lease{budget: b}
	if !first.try(60) || !second.try(40) {
		t.Fatal("no room in an empty budget")
	}
	// Both want more: one gets it and ends, and then the other one has room.
	if !first.try(60) || !first.try(10) {
		t.Error("nobody may go beyond the budget")
	}
	if second.try(60) {
		t.Error("both may go beyond the budget")
	}
	waited := make(chan error, 1)
	go func() { waited <- second.take(bounded(t), 60) }()
	first.release()
	if err := <-waited; err != nil {
		t.Error(err)
	}
	second.release()
	if b.free != 100 || b.over != nil {
		t.Errorf("%d bytes are free, over %v", b.free, b.over)
	}
}

func TestBudgetWaitsNoLongerThanItsContext(t *testing.T) {
	b := newBudget(10)
	over, third := &lease{budget: b}, &lease{budget: b}
	if !over.try(20) {
		t.Fatal("no room")
	}
	ctx, cancel := context.WithCancel(bounded(t))
	cancel()
	if err := third.take(ctx, 1); err == nil {
		t.Error("it was given")
	}
	if n := third.upTo(5); n != 0 {
		t.Errorf("%d bytes were given of none", n)
	}
	over.settle(3)
	if n := third.upTo(50); n != 7 {
		t.Errorf("got %d bytes, want what is free, 7", n)
	}
}

func TestBuffersAreUsedAgainByClass(t *testing.T) {
	var b buffers
	for _, n := range []int{0, 1, 1 << minClass, 1<<minClass + 1, 1 << maxClass, 1<<maxClass + 1} {
		buf := b.get(n)
		if len(buf) != 0 || cap(buf) < n {
			t.Errorf("asked for %d, got %d of %d", n, len(buf), cap(buf))
		}
		b.put(buf)
		// A slice of a buffer is no buffer.
		b.put(buf[: 0 : cap(buf)/3])
		if again := b.get(n); cap(again) < n {
			t.Errorf("asked for %d again, got %d", n, cap(again))
		}
	}
}
