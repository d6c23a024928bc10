package windows

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// 15-K: numbers, one window a key.
func TestAggregateNumbers(t *testing.T) {
	null := Value{}
	b, f := BigintOf, FloatOf
	const maxInt = math.MaxInt64
	numeric := uint64(1<<Sum | 1<<Avg | 1<<Stdev | 1<<Stdevp | 1<<Var | 1<<Varp)
	for _, c := range []struct {
		key     string
		in      []Value
		all, n  int64
		sum     Value
		avg     Value
		others  map[AggregateKind]Value
		refused uint64
		err     error
	}{
		{key: "a", in: []Value{b(9007199254740992), b(9007199254740993), null}, all: 3, n: 2,
			sum: b(18014398509481985), avg: f(9007199254740992), others: map[AggregateKind]Value{Max: b(9007199254740993)}},
		{key: "b", in: []Value{b(-5), b(3), b(-7)}, all: 3, n: 3, sum: b(-9), avg: f(-3),
			others: map[AggregateKind]Value{Min: b(-7), Var: f(28), Varp: f(18.666666666666668)}},
		{key: "c", in: []Value{b(maxInt), b(1)}, all: 2, n: 2, sum: null, avg: f(4611686018427387904), err: ErrOverflow},
		{key: "d", in: []Value{b(maxInt), b(1), b(-5)}, all: 3, n: 3, sum: b(9223372036854775803), avg: f(3.0744573456182584e18)},
		{key: "e", in: []Value{b(1), f(2.5), null}, all: 3, n: 2, sum: f(3.5), avg: f(1.75)},
		{key: "f", in: []Value{f(math.NaN()), f(2)}, all: 2, n: 2, sum: f(math.NaN()), avg: f(math.NaN()),
			others: map[AggregateKind]Value{Min: f(math.NaN()), Max: f(math.NaN())}},
		{key: "g", in: []Value{null, null}, all: 2, n: 0, sum: null, avg: null,
			others: map[AggregateKind]Value{Min: null, Max: null, Var: null, Varp: null, Stdev: null, Stdevp: null}},
		{key: "h", in: []Value{b(1), f(1), StringOf("1")}, all: 3, n: 3, sum: f(2), avg: f(1), refused: numeric},
		{key: "i", in: []Value{f(1e16), f(1), f(-1e16)}, all: 3, n: 3, sum: f(1), avg: f(0.3333333333333333)},
		{key: "one", in: []Value{f(4)}, all: 1, n: 1, sum: f(4), avg: f(4),
			others: map[AggregateKind]Value{Var: null, Stdev: null, Varp: f(0), Stdevp: f(0)}},
		{key: "first of equals", in: []Value{f(1), b(1)}, all: 2, n: 2, sum: f(2), avg: f(1),
			others: map[AggregateKind]Value{Min: f(1), Max: f(1)}},
		{key: "beyond float", in: []Value{f(math.MaxFloat64), f(math.MaxFloat64)}, all: 2, n: 2, sum: null, avg: null, err: ErrNotFinite},
	} {
		o, err := New(Options{Window: Window{Size: 10, Hop: 10}, Aggregates: allAggregates()})
		if err != nil {
			t.Fatal(err)
		}
		var refused uint64
		for _, v := range c.in {
			refused |= o.Add(0, 1, nil, []Value{v}).Refused
		}
		rows := 0
		o.Fire(11, func(r *Result) error {
			rows++
			want := map[AggregateKind]Value{CountAll: b(c.all), Count: b(c.n), Sum: c.sum, Avg: c.avg}
			for k, v := range c.others {
				want[k] = v
			}
			for k, v := range want {
				if show(&v) != show(&r.Values[k]) {
					t.Errorf("%s: %v is %s, want %s", c.key, k, show(&r.Values[k]), show(&v))
				}
			}
			switch {
			case c.err == nil && len(r.Errors) > 0:
				t.Errorf("%s: errors %v", c.key, r.Errors)
			case c.err != nil && (len(r.Errors) == 0 || r.Errors[0].Aggregate != int(Sum) || !errors.Is(r.Errors[0].Err, c.err)):
				t.Errorf("%s: errors %v, want %v of SUM", c.key, r.Errors, c.err)
			}
			return nil
		})
		if rows != 1 || refused != c.refused {
			t.Errorf("%s: %d rows, refused %b", c.key, rows, refused)
		}
	}
}

// 7: SUM outside bigint by policy.
func TestSumOverflowPolicies(t *testing.T) {
	for _, c := range []struct {
		policy Overflow
		x      int64
		want   Value
	}{
		{OverflowNull, 1, Value{}},
		{OverflowFloat, 1, FloatOf(9.223372036854776e18)},
		{OverflowSaturate, 1, BigintOf(math.MaxInt64)},
		{OverflowSaturate, -1, BigintOf(math.MinInt64)},
	} {
		o, _ := New(Options{Window: Window{Size: 10, Hop: 10}, Aggregates: []Aggregate{{Kind: Sum, Overflow: c.policy}}})
		edge := int64(math.MaxInt64)
		if c.x < 0 {
			edge = math.MinInt64
		}
		o.Add(0, 1, nil, []Value{BigintOf(edge)})
		o.Add(0, 1, nil, []Value{BigintOf(c.x)})
		o.Fire(11, func(r *Result) error {
			if show(&r.Values[0]) != show(&c.want) {
				t.Errorf("%v: %s, want %s", c.policy, show(&r.Values[0]), show(&c.want))
			}
			return nil
		})
	}
}

// 7: averages and float forms of 128-bit sums are rounded once.
func TestBigSumsRoundOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 20000 {
		x := int128{hi: uint64(int64(r.Uint64()) >> (1 + r.IntN(63))), lo: r.Uint64() >> r.IntN(64) << r.IntN(64)}
		n := r.Uint64()>>(11+r.IntN(53)) | 1
		v := new(big.Int).Lsh(big.NewInt(int64(x.hi)), 64)
		v.Add(v, new(big.Int).SetUint64(x.lo))
		if want, _ := new(big.Float).SetInt(v).Float64(); x.float() != want {
			t.Fatalf("%v as a float is %v, want %v", v, x.float(), want)
		}
		want, _ := new(big.Rat).SetFrac(v, new(big.Int).SetUint64(n)).Float64()
		if got := x.over(n); got != want {
			t.Fatalf("%v / %d is %v, want %v", v, n, got, want)
		}
	}
}

// A column of floats costs at most 64 bytes a key and slice for COUNT, SUM,
// MIN and MAX (semantics 8.7), also where the arguments are shared.
func TestBytesPerKeyAndSlice(t *testing.T) {
	for _, k := range []AggregateKind{CountAll, Count} {
		sh := newShape([]Aggregate{{Kind: k}, {Kind: Sum}, {Kind: Min}, {Kind: Max}, {Kind: Avg}, {Kind: Sum}})
		if len(sh.cols) != 1 {
			t.Fatalf("%d columns for one argument", len(sh.cols))
		}
		l := sh.with(sh.lowest, 0, modeFloat)
		if b := 8*l.stride + 4; b > 64 {
			t.Errorf("%v: %d bytes", k, b)
		}
	}
}
