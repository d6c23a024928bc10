package windows

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// run is an input for an operator on a shared timeline.
type run struct {
	window Window
	late   bool
	grace  Tick
	steps  []step
}

// step adds a record, or moves the watermark when it has no key.
type step struct {
	ts   Tick
	key  []byte
	v    Value
	mark Tick
}

func randomRun(r *rand.Rand) run {
	rn := run{window: randomWindow(r)}
	tl := NewTimeline(Policy{Late: Tick(r.IntN(30)), OutOfOrder: Tick(r.IntN(12)), Early: 1000}, ByEvent)
	flavour, keys := r.IntN(6), 1+r.IntN(30)
	now := Tick(r.IntN(100) - 50)
	for range 50 + r.IntN(300) {
		now += Tick(r.IntN(3))
		if r.IntN(60) == 0 {
			now += Tick(r.IntN(200))
		}
		ts, v := tl.Admit(nil, now-Tick(r.IntN(10)), now)
		if v.Processed() {
			rn.steps = append(rn.steps, step{ts: ts, key: testKey(r.IntN(keys)), v: randomValue(r, flavour)})
		}
		rn.steps = append(rn.steps, step{mark: tl.Watermark(nil)})
	}
	rn.steps = append(rn.steps, step{mark: now + 10000})
	return rn
}

// how says what happens around the input: it must not show.
type how struct {
	budget   int64 // 0: none
	scratch  bool
	restarts int // one in so many steps; 0: none
	saves    int
	seed     uint64
}

func (rn *run) play(t *testing.T, h how) *rowsOf {
	t.Helper()
	r := rand.New(rand.NewPCG(h.seed, 1))
	store := memory{}
	opt := Options{Window: rn.window, Aggregates: allAggregates(), Prefix: []byte("op/")}
	if h.budget > 0 {
		opt.Budget = NewBudget(h.budget)
	}
	if h.scratch {
		opt.Scratch = memory{}
	}
	open := func() *Operator {
		o, err := New(opt)
		if err == nil && (h.restarts > 0 || h.saves > 0) {
			err = o.Load(store)
		}
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := open()
	rows := &rowsOf{}
	for i, s := range rn.steps {
		if s.key != nil {
			if out := o.Add(int64(i), s.ts, s.key, []Value{s.v}); out.PastGrace {
				t.Fatalf("step %d: past grace at %d", i, s.ts)
			}
		} else if err := o.Fire(s.mark, rows.emit); err != nil {
			t.Fatal(err)
		}
		if h.saves > 0 && r.IntN(h.saves) == 0 {
			if err := o.Save(memoryBatch{store}); err != nil {
				t.Fatal(err)
			}
		}
		if h.restarts > 0 && r.IntN(h.restarts) == 0 {
			if err := o.Save(memoryBatch{store}); err != nil {
				t.Fatal(err)
			}
			o.Release()
			if h.scratch {
				opt.Scratch = memory{}
			}
			o = open()
		}
	}
	if n := o.OpenWindows() + o.OpenKeys() + len(o.slices); n != 0 {
		t.Fatalf("%d windows, %d keys, %d slices left after all expired", o.OpenWindows(), o.OpenKeys(), len(o.slices))
	}
	if _, ok := o.Oldest(); ok {
		t.Fatal("an empty operator depends on a position")
	}
	if err := o.Save(memoryBatch{store}); err != nil {
		t.Fatal(err)
	}
	if len(store) > 1 {
		t.Fatalf("%d entries left in the store", len(store))
	}
	if m, ok := opt.Scratch.(memory); ok && len(m) != 0 {
		t.Fatalf("%d entries left in scratch space", len(m))
	}
	return rows
}

func (rn *run) events() []modelEvent {
	var es []modelEvent
	for _, s := range rn.steps {
		if s.key != nil {
			es = append(es, modelEvent{s.ts, string(s.key), s.v})
		}
	}
	return es
}

// 18 (ii), (vii): rows are those of the definition, once each, in the order of
// semantics 5.2.
func TestRowsEqualBruteForce(t *testing.T) {
	for seed := range uint64(200) {
		rn := randomRun(rand.New(rand.NewPCG(seed, 0)))
		got := rn.play(t, how{})
		want := modelRows(rn.window, rn.events())
		if len(got.rows) != len(want) {
			t.Fatalf("seed %d %+v: %d rows, want %d", seed, rn.window, len(got.rows), len(want))
		}
		for i := range want {
			g := &got.rows[i]
			if g.end != want[i].end || g.start != g.end-rn.window.Size || g.key != want[i].key {
				t.Fatalf("seed %d %+v: row %d is %v, want %v", seed, rn.window, i, g, want[i])
			}
			want[i].check(t, g.values)
		}
	}
}

// 8.3, 18 (v): neither memory nor saves, restarts or the way of merging show
// in a single bit of the rows.
func TestRowsDoNotDependOnMemorySavesOrRestarts(t *testing.T) {
	ways := map[string]how{
		"direct merges":          {budget: 1},
		"spilled to scratch":     {budget: 1, scratch: true},
		"saved":                  {saves: 7},
		"restarted":              {restarts: 9},
		"restarted at each step": {restarts: 1},
		"saved, no memory":       {saves: 5, budget: 1},
		"saved, spilled":         {saves: 11, budget: 1, scratch: true},
		"restarted, no memory":   {restarts: 13, budget: 1, scratch: true},
		"little memory":          {restarts: 40, saves: 10, budget: 9000, scratch: true},
		"some memory":            {restarts: 80, saves: 10, budget: 20000, scratch: true},
	}
	for seed := range uint64(60) {
		rn := randomRun(rand.New(rand.NewPCG(seed, 7)))
		for i := range rn.steps { // sums whose order shows
			if s := &rn.steps[i]; s.v.Kind() == Float {
				s.v = FloatOf(s.v.Float() * 1.1e-3 * float64(i%7*i%11*i))
			}
		}
		want := rn.play(t, how{})
		for name, h := range ways {
			h.seed = seed
			if got := rn.play(t, h); !slices.Equal(got.lines, want.lines) {
				t.Fatalf("seed %d, %s, %+v:\n%s", seed, name, rn.window, firstDifference(got.lines, want.lines))
			}
		}
	}
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("row %d missing: %s", i, want[i])
		case i >= len(want):
			return fmt.Sprintf("row %d is one too many: %s", i, got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("row %d\n got %s\nwant %s", i, got[i], want[i])
		}
	}
	return "none"
}

// 18 (i): a permutation of arrivals within R changes nothing. Values are
// dyadic, so that sums do not depend on the order inside a slice.
func TestArrivalOrderWithinToleranceDoesNotShow(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := randomWindow(r)
		const tolerance = 20
		var events []step
		for i := range 200 {
			events = append(events, step{ts: Tick(i), key: testKey(r.IntN(9)), v: randomValue(r, r.IntN(2))})
		}
		play := func(es []step) []string {
			tl := NewTimeline(Policy{Late: 1000, OutOfOrder: tolerance, Early: 1000}, ByEvent)
			o, err := New(Options{Window: w, Aggregates: allAggregates()[:Stdev]})
			if err != nil {
				t.Fatal(err)
			}
			rows := &rowsOf{}
			for i, e := range es {
				ts, v := tl.Admit(nil, e.ts, 200)
				if v != (Verdict{}) {
					t.Fatalf("record %d within tolerance: %+v", i, v)
				}
				o.Add(int64(i), ts, e.key, []Value{e.v})
				o.Fire(tl.Watermark(nil), rows.emit)
			}
			o.Fire(10000, rows.emit)
			return rows.lines
		}
		want := play(events)
		shuffled := slices.Clone(events)
		slices.SortFunc(shuffled, func(a, b step) int { return int(a.ts - b.ts) })
		for i := range shuffled { // move each forward by less than the tolerance
			j := min(len(shuffled)-1, i+r.IntN(tolerance/2))
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		}
		late := Tick(0)
		for _, e := range shuffled {
			if late = max(late, e.ts); e.ts < late-tolerance {
				e.ts = late
			}
		}
		if ok := withinTolerance(shuffled, tolerance); !ok {
			continue
		}
		if got := play(shuffled); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %s", seed, firstDifference(got, want))
		}
	}
}

func withinTolerance(es []step, r Tick) bool {
	top := Unset
	for _, e := range es {
		top = max(top, e.ts)
		if e.ts < top-r {
			return false
		}
	}
	return true
}

// 2.1: a window whose last instant equals the watermark is open.
func TestWindowClosesWhenWatermarkIsBeyondItsLastInstant(t *testing.T) {
	for _, inclusive := range []bool{false, true} {
		o, err := New(Options{Window: Window{Size: 10, Hop: 10, StartInclusive: inclusive}, Aggregates: []Aggregate{{Kind: CountAll}}})
		if err != nil {
			t.Fatal(err)
		}
		o.Add(0, 5, testKey(1), nil)
		last := Tick(10)
		if inclusive {
			last = 9
		}
		rows := &rowsOf{}
		o.Fire(last, rows.emit)
		if len(rows.rows) != 0 {
			t.Fatalf("fired at W = %d", last)
		}
		o.Add(1, last, testKey(1), nil)
		o.Fire(last+1, rows.emit)
		if len(rows.rows) != 1 || rows.rows[0].end != 10 || rows.rows[0].values[0].Bigint() != 2 {
			t.Fatalf("got %v", rows.lines)
		}
	}
}

// Firing must not walk the empty millennia before or after an absurd time.
func TestAbsurdTimesCostNothing(t *testing.T) {
	o, err := New(Options{Window: Window{Size: 60 * Second, Hop: Millisecond}, Aggregates: []Aggregate{{Kind: CountAll}}})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	emit := func(*Result) error { rows++; return nil }
	o.Add(0, MinTick, testKey(1), nil)
	o.Add(1, 0, testKey(1), nil)
	o.Add(2, MaxTick, testKey(1), nil)
	if n := o.OpenWindows(); n != 180000 {
		t.Fatalf("%d open windows", n)
	}
	for _, w := range []Tick{MinTick + 1, 5, MaxTick, 1<<63 - 1} {
		if err := o.Fire(w, emit); err != nil {
			t.Fatal(err)
		}
	}
	if rows != 180000 {
		t.Fatalf("%d rows", rows)
	}
	if out := o.Add(3, 7, testKey(1), nil); !out.PastGrace {
		t.Fatal("a record below the watermark was taken")
	}
}

// 3: Oldest is the first record's position of the slices that are left.
func TestOldestFollowsTheSlicesLeft(t *testing.T) {
	o, _ := New(Options{Window: Window{Size: 10, Hop: 5}, Aggregates: []Aggregate{{Kind: CountAll}}})
	want := func(pos int64) {
		t.Helper()
		if got, ok := o.Oldest(); !ok || got != pos {
			t.Fatalf("oldest is %d, want %d", got, pos)
		}
	}
	if out := o.Add(100, 12, testKey(0), nil); !out.NewSlice {
		t.Fatal("no new slice reported")
	}
	want(100)
	o.Add(101, 3, testKey(0), nil)
	o.Add(102, 14, testKey(0), nil)
	o.Add(103, 22, testKey(0), nil)
	want(100)
	o.Fire(21, (&rowsOf{}).emit) // (10,15] is needed until 20
	want(103)
}

// Group keys without state are forgotten (design 3.7).
func TestKeysWithoutStateAreForgotten(t *testing.T) {
	for _, w := range []Window{{Size: 10, Hop: 10}, {Size: 50, Hop: 10}} {
		o, _ := New(Options{Window: w, Aggregates: []Aggregate{{Kind: Min}}})
		most := int64(0)
		for i := range 150000 {
			o.Add(int64(i), Tick(i/100), testKey(i), []Value{StringOf(strings.Repeat("long", 5))})
			o.Fire(Tick(i/100), func(*Result) error { return nil })
			most = max(most, o.StateBytes())
			if n := o.keys.count; n > o.keys.live+2*6000+dormantSlack {
				t.Fatalf("%d keys for %d live", n, o.keys.live)
			}
		}
		if most > 5<<20 {
			t.Fatalf("%d bytes for at most 6000 live keys", most)
		}
	}
}

// A record whose argument an aggregate can't take counts for the others (15-K
// row h).
func TestRefusedArgumentLeavesOtherAggregates(t *testing.T) {
	o, _ := New(Options{Window: Window{Size: 10, Hop: 10}, Aggregates: allAggregates()})
	if out := o.Add(0, 1, nil, []Value{BigintOf(1)}); out.Refused != 0 {
		t.Fatalf("refused %b", out.Refused)
	}
	numeric := uint64(1<<Sum | 1<<Avg | 1<<Stdev | 1<<Stdevp | 1<<Var | 1<<Varp)
	if out := o.Add(0, 1, nil, []Value{StringOf("1")}); out.Refused != numeric {
		t.Fatalf("refused %b", out.Refused)
	}
	if out := o.Add(0, 1, nil, []Value{ArrayOf(nil)}); out.Refused != numeric|1<<Min|1<<Max {
		t.Fatalf("refused %b", out.Refused)
	}
}

// 8.3: the association is part of the contract: the slices before the flip,
// the last multiple of the size, from the flip back, those after it onwards.
func TestPartialsAssociateByTheFlip(t *testing.T) {
	type part struct{ n, mean, m2 float64 }
	plus := func(a, b part) part { // Chan
		d := b.mean - a.mean
		return part{a.n + b.n, a.mean + d*b.n/(a.n+b.n), a.m2 + b.m2 + d*d*a.n*b.n/(a.n+b.n)}
	}
	one := func(x float64) part { return part{1, x, 0} }
	const size = 7
	r := rand.New(rand.NewPCG(1, 1))
	x := make([]float64, 60)
	for i := range x {
		x[i] = r.Float64()
	}
	want := map[Tick]float64{}
	orders := 0
	for end := size; end < len(x); end++ {
		flip := end / size * size
		front := one(x[flip])
		for i := flip - 1; i > end-size; i-- {
			front = plus(one(x[i]), front)
		}
		row := front
		if end > flip {
			back := one(x[flip+1])
			for i := flip + 2; i <= end; i++ {
				back = plus(back, one(x[i]))
			}
			row = plus(front, back)
		}
		want[Tick(end)] = row.m2 / row.n
		naive := one(x[end-size+1])
		for i := end - size + 2; i <= end; i++ {
			naive = plus(naive, one(x[i]))
		}
		if naive.m2 != row.m2 {
			orders++
		}
	}
	if orders == 0 {
		t.Fatal("the input does not tell one order from another")
	}
	for _, b := range []*Budget{nil, NewBudget(1)} {
		o, _ := New(Options{Window: Window{Size: size, Hop: 1}, Aggregates: []Aggregate{{Kind: Varp}}, Budget: b})
		rows := 0
		for i, v := range x {
			o.Add(int64(i), Tick(i), nil, []Value{FloatOf(v)})
			o.Fire(Tick(i), func(r *Result) error {
				if w, ok := want[r.End]; ok {
					rows++
					if r.Values[0].Float() != w {
						t.Errorf("end %d: %v, want %v", r.End, r.Values[0].Float(), w)
					}
				}
				return nil
			})
		}
		if rows < 50 {
			t.Errorf("%d rows", rows)
		}
	}
}
