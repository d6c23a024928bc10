package windows

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
)

// memory is a store, a batch's target and scratch space.
type memory map[string]string

func (m memory) Get(k []byte) ([]byte, error) {
	if v, ok := m[string(k)]; ok {
		return []byte(v), nil
	}
	return nil, nil
}

func (m memory) Scan(lo, hi []byte, visit func(k, v []byte) error) error {
	var keys []string
	for k := range m {
		if k >= string(lo) && k < string(hi) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	for _, k := range keys {
		if err := visit([]byte(k), []byte(m[k])); err != nil {
			return err
		}
	}
	return nil
}

func (m memory) Set(k, v []byte) error { m[string(k)] = string(v); return nil }

func (m memory) DeleteRange(lo, hi []byte) error {
	for k := range m {
		if k >= string(lo) && k < string(hi) {
			delete(m, k)
		}
	}
	return nil
}

type memoryBatch struct{ m memory }

func (b memoryBatch) Set(k, v []byte)           { b.m.Set(k, v) }
func (b memoryBatch) Delete(key []byte)         { delete(b.m, string(key)) }
func (b memoryBatch) DeleteRange(lo, hi []byte) { b.m.DeleteRange(lo, hi) }

// show writes a value so that any difference of bits shows.
func show(v *Value) string {
	switch v.Kind() {
	case Null:
		return "null"
	case Bigint:
		return fmt.Sprintf("%d", v.Bigint())
	case Float:
		if v.Float() != v.Float() {
			return "NaN"
		}
		return fmt.Sprintf("%v/%x", v.Float(), math.Float64bits(v.Float()))
	case String:
		return fmt.Sprintf("%q", v.Str())
	}
	return fmt.Sprintf("%v:%d", v.Kind(), v.num)
}

// rowsOf collects results as text, one line a row.
type rowsOf struct {
	lines []string
	rows  []modelRow
}

type modelRow struct {
	start, end Tick
	key        string
	kind       ResultKind
	rev        int
	values     []Value
}

func (c *rowsOf) emit(r *Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d %x %v %d:", r.Start, r.End, r.Key, r.Kind, r.Revision)
	for i := range r.Values {
		b.WriteString(" " + show(&r.Values[i]))
	}
	for _, e := range r.Errors {
		fmt.Fprintf(&b, " %d=%v", e.Aggregate, e.Err)
	}
	c.lines = append(c.lines, b.String())
	c.rows = append(c.rows, modelRow{r.Start, r.End, string(r.Key), r.Kind, r.Revision, slices.Clone(r.Values)})
	return nil
}

// modelEvent is a record as the model knows it.
type modelEvent struct {
	ts  Tick
	key string
	v   Value
}

// modelEnds tries every window near t by the definition of semantics 4.1.
func modelEnds(w Window, t Tick) []Tick {
	var ends []Tick
	base := new(big.Int).Add(big.NewInt(int64(w.Origin)), big.NewInt(int64(w.Offset)))
	k := new(big.Int).Sub(big.NewInt(int64(t-2*w.Size-2*w.Hop)), base)
	k.Div(k, big.NewInt(int64(w.Hop))) // Euclid: rounds down for a positive divisor
	for ; ; k.Add(k, big.NewInt(1)) {
		edge := new(big.Int).Mul(k, big.NewInt(int64(w.Hop)))
		at := Tick(edge.Add(edge, base).Int64())
		if at > t+2*w.Size+2*w.Hop {
			return ends
		}
		if w.StartInclusive {
			if at <= t && t < at+w.Size {
				ends = append(ends, at+w.Size)
			}
		} else if at-w.Size < t && t <= at {
			ends = append(ends, at)
		}
	}
}

// modelRows groups events into windows and sorts the groups by end and key.
func modelRows(w Window, events []modelEvent) (groups []modelGroup) {
	at := map[string]int{}
	for _, e := range events {
		for _, end := range modelEnds(w, e.ts) {
			id := fmt.Sprintf("%d %s", end, e.key)
			i, ok := at[id]
			if !ok {
				i = len(groups)
				at[id] = i
				groups = append(groups, modelGroup{end: end, key: e.key})
			}
			groups[i].values = append(groups[i].values, e.v)
		}
	}
	sort.Slice(groups, func(i, j int) bool {
		if groups[i].end != groups[j].end {
			return groups[i].end < groups[j].end
		}
		return groups[i].key < groups[j].key
	})
	return groups
}

type modelGroup struct {
	end    Tick
	key    string
	values []Value
}

// allAggregates over argument 0, in the order that check expects.
func allAggregates() []Aggregate {
	var as []Aggregate
	for k := CountAll; k <= Varp; k++ {
		as = append(as, Aggregate{Kind: k})
	}
	return as
}

// check compares a row of allAggregates with the group's values.
func (g *modelGroup) check(t *testing.T, got []Value) {
	t.Helper()
	fail := func(what string, want any) {
		t.Helper()
		t.Fatalf("end %d key %x: %s is %v, want %v; values %v", g.end, g.key, what, got, want, g.values)
	}
	var n, numbers, floats int64
	ints, sum := new(big.Int), new(big.Float).SetPrec(4000)
	var xs []float64
	for i := range g.values {
		switch v := &g.values[i]; v.Kind() {
		case Null:
			continue
		case Bigint:
			ints.Add(ints, big.NewInt(v.Bigint()))
			sum.Add(sum, new(big.Float).SetInt64(v.Bigint()))
			xs = append(xs, float64(v.Bigint()))
			numbers++
		case Float:
			sum.Add(sum, big.NewFloat(v.Float()))
			xs = append(xs, v.Float())
			numbers++
			floats++
		}
		n++
	}
	if c := got[CountAll].Bigint(); c != int64(len(g.values)) {
		fail("COUNT(*)", len(g.values))
	}
	if c := got[Count].Bigint(); c != n {
		fail("COUNT", n)
	}
	mean, _ := sum.Float64()
	total := mean
	switch s := &got[Sum]; {
	case numbers == 0:
		if !s.IsNull() || !got[Avg].IsNull() {
			fail("SUM, AVG of nothing", "NULL")
		}
	case floats == 0 && !ints.IsInt64():
		if !s.IsNull() {
			fail("SUM beyond bigint", "NULL")
		}
	case floats == 0:
		if s.Kind() != Bigint || s.Bigint() != ints.Int64() {
			fail("SUM", ints)
		}
	default:
		if s.Kind() != Float || math.Abs(s.Float()-total) > 1e-15*math.Abs(total) {
			fail("SUM", total)
		}
	}
	if numbers > 0 {
		mean = total / float64(numbers)
		if a := &got[Avg]; a.Kind() != Float || math.Abs(a.Float()-mean) > 1e-15*math.Abs(mean) {
			fail("AVG", mean)
		}
	}
	g.checkExtremes(fail, got)
	m2 := 0.0
	for _, x := range xs {
		m2 += (x - mean) * (x - mean)
	}
	near := func(v *Value, want float64) bool {
		return v.Kind() == Float && math.Abs(v.Float()-want) <= 1e-9*(1+math.Abs(want)+mean*mean)
	}
	if numbers == 0 && !got[Varp].IsNull() || numbers < 2 && !got[Var].IsNull() {
		fail("VAR, VARP", "NULL")
	}
	if numbers > 0 && !near(&got[Varp], m2/float64(numbers)) {
		fail("VARP", m2/float64(numbers))
	}
	if numbers > 1 && !near(&got[Var], m2/float64(numbers-1)) {
		fail("VAR", m2/float64(numbers-1))
	}
	if numbers > 1 && math.Abs(got[Stdev].Float()-math.Sqrt(got[Var].Float())) > 1e-12 {
		fail("STDEV", "root of VAR")
	}
	if numbers > 0 && math.Abs(got[Stdevp].Float()-math.Sqrt(got[Varp].Float())) > 1e-12 {
		fail("STDEVP", "root of VARP")
	}
}

func (g *modelGroup) checkExtremes(fail func(string, any), got []Value) {
	order := func(v *Value) string { // sortable text
		switch v.Kind() {
		case Bit:
			return fmt.Sprintf("1%d", v.num)
		case Bigint, Float:
			f := new(big.Float).SetPrec(200)
			if v.Kind() == Bigint {
				f.SetInt64(v.Bigint())
			} else {
				f.SetFloat64(v.Float())
			}
			f.Add(f, new(big.Float).SetMantExp(big.NewFloat(1), 70))
			return "2" + fmt.Sprintf("%060s", f.Text('f', 20))
		case Datetime:
			return fmt.Sprintf("3%020d", int64(v.Datetime())+1<<40)
		case String:
			return "4" + v.Str()
		}
		return ""
	}
	lo, hi := "", ""
	for i := range g.values {
		o := order(&g.values[i])
		if o == "" {
			continue
		}
		if lo == "" || o < lo {
			lo = o
		}
		if o > hi {
			hi = o
		}
	}
	if order(&got[Min]) != lo {
		fail("MIN", lo)
	}
	if order(&got[Max]) != hi {
		fail("MAX", hi)
	}
}

// randomValue makes values of a flavour, from one kind to all.
func randomValue(r *rand.Rand, flavour int) Value {
	float := func() Value { return FloatOf(float64(r.IntN(2000)-1000) / 8) }
	switch flavour {
	case 0:
		return float()
	case 1:
		return BigintOf(int64(r.IntN(200) - 100))
	case 2:
		if r.IntN(4) == 0 {
			return BigintOf(int64(r.IntN(20)))
		}
		return float()
	case 3:
		if r.IntN(3) == 0 {
			return Value{}
		}
		return float()
	case 4:
		return BigintOf(r.Int64() - r.Int64())
	}
	switch r.IntN(7) {
	case 0:
		return Value{}
	case 1:
		return StringOf(strings.Repeat("x", r.IntN(4)) + string(rune('a'+r.IntN(5))))
	case 2:
		return BitOf(r.IntN(2) == 0)
	case 3:
		return DatetimeOf(Tick(r.IntN(1000)))
	case 4, 5:
		return float()
	}
	return BigintOf(int64(r.IntN(100)))
}

func randomWindow(r *rand.Rand) Window {
	w := Window{Size: Tick(1 + r.IntN(24)), Hop: Tick(1 + r.IntN(10)), Offset: Tick(r.IntN(40) - 20), Origin: Tick(r.IntN(40) - 20)}
	switch r.IntN(4) {
	case 0:
		w.Hop = w.Size
	case 1:
		w.Size = w.Hop * Tick(1+r.IntN(12))
	}
	w.StartInclusive = r.IntN(3) == 0
	return w
}

func testKey(i int) []byte { return AppendTuple(nil, StringOf(fmt.Sprintf("device-%04d", i))) }
