package windows

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// 15-E: ASA's own illustration, in minutes past 12:00.
func TestTimelineIllustration(t *testing.T) {
	type cell struct {
		ts, w   Tick
		verdict Verdict
	}
	ok := Verdict{}
	ooo := Verdict{Ruling: Adjusted, Reason: OutOfOrder, IsOutOfOrder: true}
	late := Verdict{Ruling: Adjusted, Reason: Late, IsLate: true}
	early := Verdict{Ruling: Dropped, Reason: Early}
	rows := []struct {
		e, a                    Tick
		device                  string
		shared, perKey, noEarly cell
	}{
		{7, 7, "d1", cell{7, 5, ok}, cell{7, 5, ok}, cell{7, 5, ok}},
		{8, 8, "d2", cell{8, 6, ok}, cell{8, 6, ok}, cell{8, 6, ok}},
		{17, 11, "d1", cell{16, 6, early}, cell{16, 6, early}, cell{17, 15, ok}},
		{8, 13, "d3", cell{8, 8, ok}, cell{8, 8, ok}, cell{15, 15, ooo}},
		{19, 16, "d1", cell{19, 17, ok}, cell{19, 17, ok}, cell{19, 17, ok}},
		{12, 17, "d3", cell{17, 17, ooo}, cell{12, 12, ok}, cell{17, 17, ooo}},
		{17, 18, "d2", cell{17, 17, ok}, cell{17, 15, ok}, cell{17, 17, ok}},
		{20, 19, "d2", cell{20, 18, ok}, cell{20, 18, ok}, cell{20, 18, ok}},
		{16, 21, "d3", cell{18, 18, ooo}, cell{16, 16, ok}, cell{18, 18, ooo}},
		{23, 22, "d2", cell{23, 21, ok}, cell{23, 21, ok}, cell{23, 21, ok}},
		{22, 24, "d2", cell{22, 21, ok}, cell{22, 21, ok}, cell{22, 21, ok}},
		{21, 27, "d3", cell{22, 22, late}, cell{22, 22, late}, cell{22, 22, late}},
	}
	p := Policy{Late: 5 * Minute, OutOfOrder: 2 * Minute, Early: 5 * Minute}
	unlimited := p
	unlimited.Early = Unlimited
	shared, perKey, noEarly := NewTimeline(p, ByEvent), NewTimeline(p, ByEventPerKey), NewTimeline(unlimited, ByEvent)
	for i, r := range rows {
		for _, c := range []struct {
			name string
			tl   *Timeline
			want cell
		}{{"shared", shared, r.shared}, {"per key", perKey, r.perKey}, {"no early", noEarly, r.noEarly}} {
			ts, v := c.tl.Admit([]byte(r.device), r.e*Minute, r.a*Minute)
			if w := c.tl.Watermark([]byte(r.device)); ts != c.want.ts*Minute || v != c.want.verdict || w != c.want.w*Minute {
				t.Errorf("row %d, %s: ts %d W %d %+v, want %+v", i+1, c.name, ts/Minute, w/Minute, v, c.want)
			}
		}
	}
}

// 15-H: late and out-of-order policies in all combinations.
func TestPoliciesOnTumblingWindow(t *testing.T) {
	input := []struct {
		e, a Tick
		v    int64
	}{{2, 2, 1}, {9, 9, 2}, {6, 10, 3}, {10, 11, 4}, {13, 13, 5}, {4, 14, 6}, {10, 14, 7}, {25, 25, 8}}
	marks := []Tick{0, 7, 7, 8, 11, 11, 11, 23}
	for _, c := range []struct {
		late, ooo Action
		rows      string
		side      string
	}{
		{Adjust, Adjust, "10:4,10 20:3,18 ", ""},
		{Default, Default, "10:4,10 20:3,18 ", ""},
		{Drop, Drop, "10:3,7 20:1,5 ", "#3 out_of_order #6 late #7 out_of_order "},
		{SideOutput, SideOutput, "10:3,7 20:1,5 ", "#3 out_of_order #6 late #7 out_of_order "},
		{Drop, Adjust, "10:4,10 20:2,12 ", "#6 late "},
		{Adjust, Drop, "10:3,7 20:1,5 ", "#3 out_of_order #6 out_of_order #7 out_of_order "},
	} {
		tl := NewTimeline(Policy{Late: 5, OutOfOrder: 2, Early: 100, OnLate: c.late, OnOutOfOrder: c.ooo}, ByEvent)
		o, err := New(Options{Window: Window{Size: 10, Hop: 10}, Aggregates: []Aggregate{{Kind: CountAll}, {Kind: Sum}}})
		if err != nil {
			t.Fatal(err)
		}
		rows, side := "", ""
		emit := func(r *Result) error {
			rows += fmt.Sprintf("%d:%d,%d ", r.End, r.Values[0].Bigint(), r.Values[1].Bigint())
			return nil
		}
		for i, in := range input {
			ts, v := tl.Admit(nil, in.e, in.a)
			if v.Processed() {
				o.Add(int64(i), ts, nil, []Value{BigintOf(in.v)})
			} else {
				side += fmt.Sprintf("#%d %v ", i+1, v.Reason)
			}
			if w := tl.Watermark(nil); w != marks[i] {
				t.Errorf("%v/%v: W after #%d is %d, want %d", c.late, c.ooo, i+1, w, marks[i])
			}
			o.Fire(tl.Watermark(nil), emit)
		}
		if rows != c.rows || side != c.side {
			t.Errorf("%v/%v: rows %q side %q, want %q and %q", c.late, c.ooo, rows, side, c.rows, c.side)
		}
	}
}

// 15-J: each partition advances by its own arrival clock, none is left out.
func TestIdlePartitionsAdvance(t *testing.T) {
	p := Policy{Late: 5, Early: 100}
	tl := [2]*Timeline{NewTimeline(p, ByEvent), NewTimeline(p, ByEvent)}
	records := [2]map[Tick]Tick{{1: 1, 8: 8, 11: 11}, {2: 2, 12: 9}}
	want := map[Tick][2]Tick{2: {1, 2}, 8: {8, 3}, 11: {11, 6}, 12: {11, 9}, 15: {11, 10}, 16: {11, 11}, 25: {20, 20}, 26: {21, 21}}
	o, err := New(Options{Window: Window{Size: 10, Hop: 10}, Aggregates: []Aggregate{{Kind: CountAll}}})
	if err != nil {
		t.Fatal(err)
	}
	fired := map[Tick]int64{}
	for wall := Tick(1); wall <= 26; wall++ {
		for i := range tl {
			if e, ok := records[i][wall]; ok {
				ts, v := tl[i].Admit(nil, e, wall)
				if v != (Verdict{}) || ts != e {
					t.Fatalf("record %d at %d: %d %+v", e, wall, ts, v)
				}
				o.Add(0, ts, nil, nil)
			} else if tl[i].Arrival() != Unset {
				tl[i].Advance(wall)
			}
		}
		w0, w1 := tl[0].Watermark(nil), tl[1].Watermark(nil)
		if w, ok := want[wall]; ok && w != [2]Tick{w0, w1} {
			t.Errorf("wall %d: W %d and %d, want %v", wall, w0, w1, w)
		}
		o.Fire(min(w0, w1), func(r *Result) error {
			fired[wall] = r.Values[0].Bigint()
			return nil
		})
	}
	if len(fired) != 2 || fired[16] != 4 || fired[26] != 1 {
		t.Errorf("fired %v, want 4 at 16 and 1 at 26", fired)
	}
}

// 1.3: without TIMESTAMP BY the arrival, made monotone, is the time.
func TestArrivalIsTheTimeWithoutTimestampBy(t *testing.T) {
	tl := NewTimeline(Policy{Late: 5, Early: 1}, ByArrival)
	for _, c := range []struct{ a, ts Tick }{{10, 10}, {7, 10}, {12, 12}} {
		if ts, v := tl.Admit(nil, 999, c.a); ts != c.ts || v != (Verdict{}) || tl.Watermark(nil) != c.ts {
			t.Errorf("a %d: ts %d W %d %+v", c.a, ts, tl.Watermark(nil), v)
		}
	}
	if tl.Advance(15); tl.Watermark(nil) != 15 {
		t.Errorf("W %d after an idle tick at 15", tl.Watermark(nil))
	}
}

// 2.2: the actions on early records.
func TestEarlyActions(t *testing.T) {
	for _, c := range []struct {
		on   Action
		ts   Tick
		want Verdict
	}{
		{Default, 15, Verdict{Ruling: Dropped, Reason: Early}},
		{Drop, 15, Verdict{Ruling: Dropped, Reason: Early}},
		{SideOutput, 15, Verdict{Ruling: Aside, Reason: Early}},
		{Clamp, 15, Verdict{Ruling: Clamped, Reason: Early}},
	} {
		tl := NewTimeline(Policy{Late: 3, Early: 5, OnEarly: c.on}, ByEvent)
		if ts, v := tl.Admit(nil, 99, 10); ts != c.ts || v != c.want {
			t.Errorf("%v: ts %d %+v", c.on, ts, v)
		}
		w := Tick(7) // a dropped record advances A, never M
		if c.on == Clamp {
			w = 15
		}
		if tl.Watermark(nil) != w {
			t.Errorf("%v: W %d, want %d", c.on, tl.Watermark(nil), w)
		}
		if _, v := tl.Admit(nil, 15, 10); v != (Verdict{}) {
			t.Errorf("%v: e = a + Y is early: %+v", c.on, v)
		}
	}
}

// Design 5: on producers' timestamps one wild clock moves the arrival clock by
// the early tolerance at most.
func TestArrivalRisesByEarlyTolerance(t *testing.T) {
	tl := NewTimeline(Policy{Late: 10, Early: 5, RisesByEarly: true}, ByEvent)
	for _, c := range []struct{ e, a, arrival Tick }{
		{1000, 1000, 1000}, // the first may be anything
		{1001, 1001, 1001},
		{1 << 50, 1 << 50, 1006},
		{1002, 1002, 1006},
		{1020, 1020, 1011},
	} {
		if tl.Admit(nil, c.e, c.a); tl.Arrival() != c.arrival {
			t.Errorf("a %d: A is %d, want %d", c.a, tl.Arrival(), c.arrival)
		}
	}
	if ts, v := tl.Admit(nil, 1007, 1007); !v.Processed() || ts < 1002 {
		t.Errorf("an honest record after the wild one: %d %+v", ts, v)
	}
}

// 18 (vi): W never goes back and never exceeds max(M - R, A - L); records that
// are not accepted late lie at or above W. Forgetting and restoring timelines
// changes nothing.
func TestWatermarkIsMonotoneAndBounded(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := Policy{
			Late: Tick(r.IntN(30)), OutOfOrder: Tick(r.IntN(10)), Early: Tick(1 + r.IntN(20)),
			OnLate: Action(r.IntN(5)), OnOutOfOrder: Action(r.IntN(5)), OnEarly: []Action{Default, Drop, SideOutput, Clamp}[r.IntN(4)],
			RisesByEarly: r.IntN(3) == 0,
		}
		mode := []TimeMode{ByEvent, ByEventPerKey}[r.IntN(2)]
		if err := p.Validate(mode == ByEventPerKey); err != nil {
			t.Fatal(err)
		}
		tl := NewTimeline(p, mode)
		swept := NewTimeline(p, mode) // forgets at every step
		newest, before := map[string]Tick{}, map[string]Tick{}
		now := Tick(-200)
		for range 400 {
			now += Tick(r.IntN(4))
			key := fmt.Sprint(r.IntN(5))
			if mode == ByEvent {
				key = ""
			}
			was := tl.Watermark([]byte(key))
			if r.IntN(10) == 0 {
				tl.Advance(now)
				swept.Advance(now)
			} else {
				e, a := now+Tick(r.IntN(50)-30), now-Tick(r.IntN(3))
				ts, v := tl.Admit([]byte(key), e, a)
				if ts2, v2 := swept.Admit([]byte(key), e, a); ts2 != ts || v2 != v {
					t.Fatalf("seed %d: forgotten timeline says %d %+v, kept one %d %+v", seed, ts2, v2, ts, v)
				}
				if v.Processed() {
					if n, ok := newest[key]; !ok || ts > n {
						newest[key] = ts
					}
					if accepted := v.IsOutOfOrder && p.OnOutOfOrder == Accept; ts < was && !accepted {
						t.Fatalf("seed %d: ts %d below W %d: %+v", seed, ts, was, v)
					}
				}
			}
			swept.sweepAt = 0
			swept.sweep()
			b := swept.AppendBinary(nil)
			if err := swept.Restore(b); err != nil {
				t.Fatal(err)
			}
			for k := range map[string]bool{key: true, "": true} {
				w := tl.Watermark([]byte(k))
				bound := tl.Arrival()
				if bound != Unset {
					bound -= p.Late
				}
				if n, ok := newest[k]; ok {
					bound = max(bound, n-p.OutOfOrder)
				}
				if last, ok := before[k]; ok && w < last || w > bound {
					t.Fatalf("seed %d: W of %q went from %d to %d, bound %d", seed, k, before[k], w, bound)
				}
				before[k] = w
				if w2 := swept.Watermark([]byte(k)); w2 != w {
					t.Fatalf("seed %d: forgotten timeline at %d, kept one at %d", seed, w2, w)
				}
			}
			if !bytes.Equal(b, tl.AppendBinary(nil)) {
				t.Fatalf("seed %d: saved clocks depend on what was forgotten", seed)
			}
		}
	}
}

// 2.5: the timelines kept are bounded by those ahead of the floor.
func TestTimelinesBehindTheFloorAreForgotten(t *testing.T) {
	tl := NewTimeline(Policy{Late: 100, Early: 100}, ByEventPerKey)
	for i := range Tick(100000) {
		tl.Admit(fmt.Append(nil, i), i, i)
		if tl.Keys() > 2*(100+leastKeySweep) {
			t.Fatalf("%d timelines at %d", tl.Keys(), i)
		}
	}
}

func TestPolicyValidation(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      Policy
		perKey bool
		ok     bool
	}{
		{"zero", Policy{}, false, true},
		{"defaults", Policy{Late: 5 * Second, Early: 5 * Minute}, false, true},
		{"negative", Policy{Late: -1}, false, false},
		{"unlimited early, shared", Policy{Early: Unlimited}, false, false},
		{"unlimited early, per key", Policy{Early: Unlimited}, true, true},
		{"unlimited late", Policy{Late: Unlimited}, true, false},
		{"clamp late", Policy{OnLate: Clamp}, false, false},
		{"accept early", Policy{OnEarly: Accept}, false, false},
		{"adjust early", Policy{OnEarly: Adjust}, false, false},
		{"producers' timestamps without early tolerance", Policy{RisesByEarly: true}, false, false},
	} {
		if err := c.p.Validate(c.perKey); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzTimelineRestore(f *testing.F) {
	tl := NewTimeline(Policy{Early: 1}, ByEventPerKey)
	f.Add(tl.AppendBinary(nil))
	tl.Admit([]byte("a"), 11, 10)
	tl.Admit([]byte("b"), 10, 10)
	f.Add(tl.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		tl := NewTimeline(Policy{Early: 1}, ByEventPerKey)
		if err := tl.Restore(b); err != nil {
			if !errors.Is(err, ErrState) || tl.Arrival() != Unset {
				t.Fatalf("%v, A %d", err, tl.Arrival())
			}
			return
		}
		again := NewTimeline(Policy{Early: 1}, ByEventPerKey)
		if err := again.Restore(tl.AppendBinary(nil)); err != nil {
			t.Fatal(err)
		}
		tl.Admit([]byte("a"), 0, 0)
	})
}
