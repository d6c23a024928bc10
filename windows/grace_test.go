package windows

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// 15-I: S = 10, L = 5, R = 0, late and out-of-order accepted, GRACE 20.
func TestGraceAndRevisions(t *testing.T) {
	tl := NewTimeline(Policy{Late: 5, Early: 100, OnLate: Accept, OnOutOfOrder: Accept}, ByEvent)
	o, err := New(Options{Window: Window{Size: 10, Hop: 10}, Aggregates: []Aggregate{{Kind: CountAll}, {Kind: Sum}}, AcceptLate: true, Grace: 20})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		e, a   Tick
		v      int64
		w      Tick
		flush  bool
		output string
	}{
		{3, 3, 1, 3, false, ""},
		{12, 12, 2, 12, false, "10 final 0 n=1 sum=1 "},
		{9, 13, 4, 12, false, ""},
		{10, 13, 8, 12, true, "10 update 1 n=3 sum=13 "},
		{1, 15, 16, 12, true, "10 update 2 n=4 sum=29 "},
		{31, 31, 32, 31, true, "20 final 0 n=1 sum=2 "},
		{8, 32, 64, 31, true, "past_grace "},
	} {
		got := ""
		emit := func(r *Result) error {
			got += fmt.Sprintf("%d %v %d n=%d sum=%d ", r.End, r.Kind, r.Revision, r.Values[0].Bigint(), r.Values[1].Bigint())
			return nil
		}
		ts, v := tl.Admit(nil, c.e, c.a)
		if ts != c.e || !v.Processed() {
			t.Fatalf("step %d: %d %+v", i+1, ts, v)
		}
		if o.Add(int64(i), ts, nil, []Value{BigintOf(c.v)}).PastGrace {
			got += PastGrace.String() + " "
		}
		w := tl.Watermark(nil)
		o.Fire(w, emit)
		if c.flush {
			o.FireDirty(emit)
		}
		if w != c.w || got != c.output {
			t.Errorf("step %d: W %d %q, want %d %q", i+1, w, got, c.w, c.output)
		}
	}
	if len(o.slices) != 2 { // (10,20] within grace, (30,40] open
		t.Errorf("%d slices kept", len(o.slices))
	}
}

// A purge emits what late records changed since the last flush first.
func TestPurgeEmitsPendingRevision(t *testing.T) {
	o, _ := New(Options{Window: Window{Size: 10, Hop: 10}, Aggregates: []Aggregate{{Kind: CountAll}}, AcceptLate: true, Grace: 5})
	rows := &rowsOf{}
	o.Add(0, 5, nil, nil)
	o.Fire(11, rows.emit)
	o.Add(1, 6, nil, nil)
	o.Add(2, 30, nil, nil)
	o.Fire(16, rows.emit)
	if len(rows.rows) != 2 || rows.rows[1].rev != 1 || rows.rows[1].values[0].Bigint() != 2 {
		t.Fatalf("rows %v", rows.lines)
	}
	if out := o.Add(3, 7, nil, nil); !out.PastGrace {
		t.Error("taken after the purge")
	}
}

// The first row of a group that only late records belong to is final,
// revision 0 (5.3).
func TestLateGroupStartsWithRevisionZero(t *testing.T) {
	o, _ := New(Options{Window: Window{Size: 10, Hop: 5}, Aggregates: []Aggregate{{Kind: CountAll}}, AcceptLate: true, Grace: 50})
	rows := &rowsOf{}
	o.Add(0, 3, testKey(1), nil)
	o.Fire(12, rows.emit)
	o.Add(1, 4, testKey(2), nil)
	o.FireDirty(rows.emit)
	o.Add(2, 4, testKey(2), nil)
	o.FireDirty(rows.emit)
	o.FireDirty(rows.emit)
	got := ""
	for _, r := range rows.rows {
		got += fmt.Sprintf("%d:%c:%d:%d ", r.end, r.key[len(r.key)-2], r.rev, r.values[0].Bigint())
	}
	if want := "5:1:0:1 10:1:0:1 5:2:0:1 10:2:0:1 5:2:1:2 10:2:1:2 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// lateRun is random input with grace; marks and flushes are at fixed steps.
type lateRun struct {
	window Window
	grace  Tick
	perKey bool
	steps  []lateStep
}

type lateStep struct {
	ts    Tick
	line  []byte
	key   []byte
	v     Value
	floor Tick
	mark  Tick // of the line
	flush bool
}

func randomLateRun(r *rand.Rand, perKey bool, accept bool) lateRun {
	rn := lateRun{window: randomWindow(r), grace: -1, perKey: perKey}
	p := Policy{Late: Tick(r.IntN(40)), OutOfOrder: Tick(r.IntN(6)), Early: 60}
	if accept {
		rn.grace = Tick(r.IntN(3) * r.IntN(40))
		p.OnLate, p.OnOutOfOrder = Accept, Accept
	}
	mode := ByEvent
	if perKey {
		mode = ByEventPerKey
	}
	tl := NewTimeline(p, mode)
	flavour, lines := r.IntN(6), 1+r.IntN(8)
	skew := make([]Tick, lines)
	for i := range skew {
		skew[i] = Tick(r.IntN(80) - 40)
	}
	now := Tick(r.IntN(100) - 50)
	for range 50 + r.IntN(200) {
		now += Tick(r.IntN(4))
		if r.IntN(80) == 0 {
			now += Tick(r.IntN(200))
		}
		i := r.IntN(lines)
		line := AppendTuple(nil, StringOf(fmt.Sprint("line", i)))
		key := AppendTuple(slices.Clone(line), BigintOf(int64(r.IntN(3))))
		e := now + skew[i] - Tick(r.IntN(12))
		s := lateStep{line: line, flush: r.IntN(9) == 0}
		if r.IntN(12) == 0 {
			tl.Advance(now)
		} else if ts, v := tl.Admit(line, e, now); v.Processed() {
			s.ts, s.key, s.v = ts, key, randomValue(r, flavour)
		}
		s.floor, s.mark = tl.Watermark(nil), tl.Watermark(line)
		rn.steps = append(rn.steps, s)
	}
	end := now + 100000
	rn.steps = append(rn.steps, lateStep{line: []byte("x"), floor: end, mark: end})
	return rn
}

func (rn *lateRun) play(t *testing.T, h how) (rows *rowsOf, taken []modelEvent) {
	t.Helper()
	r := rand.New(rand.NewPCG(h.seed, 1))
	store := memory{}
	opt := Options{Window: rn.window, Aggregates: allAggregates(), PerKey: rn.perKey, AcceptLate: rn.grace >= 0, Grace: max(0, rn.grace)}
	if h.budget > 0 {
		opt.Budget, opt.Scratch = NewBudget(h.budget), memory{}
	}
	open := func() *Operator {
		o, err := New(opt)
		if err == nil {
			err = o.Load(store)
		}
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := open()
	rows = &rowsOf{}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range rn.steps {
		if s.key != nil {
			var out Outcome
			if rn.perKey {
				out = o.AddFor(s.line, int64(i), s.ts, s.key, []Value{s.v})
			} else {
				out = o.Add(int64(i), s.ts, s.key, []Value{s.v})
			}
			if !out.PastGrace {
				taken = append(taken, modelEvent{s.ts, string(s.key), s.v})
			} else if rn.grace < 0 {
				t.Fatalf("step %d: %d is past grace", i, s.ts)
			}
		}
		check(o.Fire(s.floor, rows.emit))
		if rn.perKey {
			check(o.FireKey(s.line, s.mark, rows.emit))
		}
		if s.flush && rn.grace >= 0 {
			check(o.FireDirty(rows.emit))
		}
		if h.saves > 0 && r.IntN(h.saves) == 0 {
			check(o.Save(memoryBatch{store}))
		}
		if h.restarts > 0 && r.IntN(h.restarts) == 0 {
			check(o.Save(memoryBatch{store}))
			o.Release()
			if h.budget > 0 {
				opt.Scratch = memory{}
			}
			o = open()
		}
	}
	if len(o.slices)+len(o.late)+o.OpenKeys() != 0 {
		t.Fatalf("%d slices, %d revised windows, %d keys left", len(o.slices), len(o.late), o.OpenKeys())
	}
	check(o.Save(memoryBatch{store}))
	for k := range store {
		if k[0] != kindOperator {
			t.Fatalf("entry %x left in the store", k)
		}
	}
	if m, ok := opt.Scratch.(memory); ok && len(m) != 0 {
		t.Fatalf("%d entries left in scratch space", len(m))
	}
	return rows, taken
}

// verify checks that the last revision of each group is the whole truth, that
// revisions count up from 0, and that none comes twice (18 (vii)).
func (rn *lateRun) verify(t *testing.T, seed uint64, rows *rowsOf, taken []modelEvent) {
	t.Helper()
	newest := map[string]modelRow{}
	for _, r := range rows.rows {
		id := fmt.Sprintf("%d %x", r.end, r.key)
		before, seen := newest[id]
		if !seen && (r.rev != 0 || r.kind != Final) || seen && (r.rev != before.rev+1 || r.kind != Update) {
			t.Fatalf("seed %d: %s revision %d %v after %v", seed, id, r.rev, r.kind, before.rev)
		}
		newest[id] = r
	}
	for _, g := range modelRows(rn.window, taken) {
		id := fmt.Sprintf("%d %x", g.end, g.key)
		r, ok := newest[id]
		if !ok && rn.grace >= 0 {
			continue // a window purged before the record that another still took
		}
		if !ok {
			t.Fatalf("seed %d %+v: no row %s", seed, rn.window, id)
		}
		if rn.grace < 0 || int64(len(g.values)) == r.values[CountAll].Bigint() {
			g.check(t, r.values)
		}
		delete(newest, id)
	}
	if len(newest) > 0 {
		t.Fatalf("seed %d: rows too many: %v", seed, newest)
	}
}

func TestLastRevisionIsTheWholeAggregate(t *testing.T) {
	for seed := range uint64(60) {
		rn := randomLateRun(rand.New(rand.NewPCG(seed, 11)), false, true)
		rn.grace = 50000 // nothing is ever past it
		rows, taken := rn.play(t, how{})
		for _, g := range modelRows(rn.window, taken) {
			for i := len(rows.rows) - 1; ; i-- {
				if i < 0 {
					t.Fatalf("seed %d: no row %d %x", seed, g.end, g.key)
				}
				if r := &rows.rows[i]; r.end == g.end && r.key == g.key {
					g.check(t, r.values)
					break
				}
			}
		}
		rn.verify(t, seed, rows, taken)
	}
}

func TestGraceDoesNotDependOnMemorySavesOrRestarts(t *testing.T) {
	for seed := range uint64(50) {
		rn := randomLateRun(rand.New(rand.NewPCG(seed, 12)), seed%2 == 0, true)
		want, taken := rn.play(t, how{})
		rn.verify(t, seed, want, taken)
		for name, h := range map[string]how{
			"restarted": {restarts: 6}, "no memory": {budget: 1}, "both": {restarts: 9, saves: 4, budget: 1}, "little memory": {saves: 10, budget: 6000},
		} {
			h.seed = seed
			if got, _ := rn.play(t, h); !slices.Equal(got.lines, want.lines) {
				t.Fatalf("seed %d, %s: %s", seed, name, firstDifference(got.lines, want.lines))
			}
		}
	}
}
