package windows

import "testing"

// overlapping feeds keys that each send once a hop of a second into windows of a
// size.
func overlapping(t *testing.T, size Tick, hops, keys int, b *Budget) *Operator {
	t.Helper()
	o, err := New(Options{Window: Window{Size: size, Hop: Second, Origin: Origin}, Aggregates: benchAggregates, Budget: b})
	if err != nil {
		t.Fatal(err)
	}
	args := make([]Value, 1)
	emit := func(*Result) error { return nil }
	for h := range hops {
		for k := range keys {
			args[0] = FloatOf(float64(h ^ k))
			o.Add(int64(h*keys+k), Tick(h)*Second+1, testKey(k), args)
		}
		if err := o.Fire(Tick(h)*Second+1, emit); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// 8.3: a budget that has room for the merged rows of each slice, which are as
// many as there are keys, is enough for stacks.
func TestStacksAreBuiltWhenTheirRowsFit(t *testing.T) {
	o := overlapping(t, 300*Second, 400, 50, NewBudget(16<<20))
	if !o.stacks.valid {
		t.Errorf("300 slices of 50 keys are merged one by one under a budget of 16 MiB; state is %d bytes", o.StateBytes())
	}
	if o = overlapping(t, 300*Second, 400, 50, NewBudget(200<<10)); o.stacks.valid {
		t.Errorf("stacks were built beyond the budget; state is %d bytes", o.StateBytes())
	}
}

// 8.6: when all windows have closed and nothing comes in, the memory goes back.
func TestRestGivesMemoryBack(t *testing.T) {
	fresh, err := New(Options{Window: Window{Size: Minute, Hop: Second, Origin: Origin}, Aggregates: benchAggregates})
	if err != nil {
		t.Fatal(err)
	}
	o := overlapping(t, Minute, 100, 2000, NewBudget(64<<20))
	o.Rest()
	if got := o.StateBytes(); got < 100<<10 {
		t.Fatalf("open windows of 2000 keys hold %d bytes", got)
	}
	if err := o.Fire(300*Second, func(*Result) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		o.Rest()
	}
	if got, want := o.StateBytes(), fresh.StateBytes(); got > want+4<<10 {
		t.Errorf("%d bytes are held without a window, a fresh operator holds %d", got, want)
	}
}
