package windows

import (
	"errors"
	"math"
)

// Errors of single aggregates of a row, whose value is then NULL. They go to
// the dead letters beside the row.
var (
	ErrOverflow  = errors.New("sum is outside the range of bigint")
	ErrNotFinite = errors.New("result is not a finite number")
)

// ResultKind says whether a row is the first of its window and group.
type ResultKind uint8

// Final rows are revision 0, Update rows replace an earlier one (semantics 5.5).
const (
	Final ResultKind = iota
	Update
)

func (k ResultKind) String() string {
	if k == Update {
		return "update"
	}
	return "final"
}

// AggregateError is an aggregate of a row that has no value.
type AggregateError struct {
	Aggregate int // index among the operator's aggregates
	Err       error
}

// Result is one row: a group in a window. It and all it refers to are valid
// until the function that got it returns, strings excepted.
type Result struct {
	Start, End Tick
	Key        []byte // tuple
	Kind       ResultKind
	Revision   int
	Values     []Value // one an aggregate
	Errors     []AggregateError
}

// plan of a result value: which column, which of its parts.
type finisher struct {
	kind     AggregateKind
	col      int
	overflow Overflow
}

func finishersOf(aggs []Aggregate, cols []column) []finisher {
	fs := make([]finisher, len(aggs))
	for i, a := range aggs {
		fs[i] = finisher{kind: a.Kind, overflow: a.Overflow}
		for j := range cols {
			if a.Kind != CountAll && cols[j].arg == a.Arg {
				fs[i].col = j
			}
		}
	}
	return fs
}

// finish computes the values of a row.
func (sh *shape) finish(fs []finisher, l *layout, w []uint64, t *texts, r *Result) {
	r.Errors = r.Errors[:0]
	for i := range fs {
		f := &fs[i]
		var err error
		if f.kind == CountAll {
			r.Values[i] = BigintOf(int64(w[0]))
			continue
		}
		r.Values[i], err = sh.cols[f.col].result(f, l.modes[f.col], w[l.at[f.col]:], t)
		if err != nil {
			r.Errors = append(r.Errors, AggregateError{i, err})
		}
	}
}

// total is the sum of a column in any mode.
type total struct {
	s, c         float64
	ints         int128
	num          uint64
	hasF, hasInt bool
}

func (c *column) result(f *finisher, m mode, w []uint64, t *texts) (Value, error) {
	if m == modeNone || w[0] == 0 {
		if f.kind == Count {
			return BigintOf(0), nil
		}
		return Value{}, nil
	}
	switch f.kind {
	case Count:
		return BigintOf(int64(w[0])), nil
	case Min:
		return c.extreme(m, w, c.narrow.min, c.wide.min, 0, t), nil
	case Max:
		return c.extreme(m, w, c.narrow.max, c.wide.max, metaMaxShift, t), nil
	case Sum, Avg:
		return c.total(m, w).value(f)
	}
	n, at := w[0], c.narrow.moments
	if m == modeWide {
		n, at = w[1], c.wide.moments
	}
	return spread(f.kind, n, f64(w[at+1]))
}

func (c *column) extreme(m mode, w []uint64, narrow, wide int, shift uint, t *texts) Value {
	switch m {
	case modeBigint:
		return BigintOf(int64(w[narrow]))
	case modeFloat:
		return FloatOf(f64(w[narrow]))
	}
	k := Kind(w[2] >> shift)
	if k == Null {
		return Value{}
	}
	return t.value(k, w[wide])
}

func (c *column) total(m mode, w []uint64) total {
	o := c.narrow.sum
	switch m {
	case modeBigint:
		return total{ints: int128{w[o+1], w[o]}, num: w[0], hasInt: true}
	case modeFloat:
		return total{s: f64(w[o]), c: f64(w[o+1]), num: w[0], hasF: true}
	}
	o = c.wide.sum
	return total{
		s: f64(w[o]), c: f64(w[o+1]), ints: int128{w[o+3], w[o+2]}, num: w[1],
		hasF: w[2]&metaFloat != 0, hasInt: w[2]&metaBigint != 0,
	}
}

// float adds the bigints last (semantics 7).
func (t *total) float() float64 {
	s, c := t.s, t.c
	if t.hasInt {
		s, c = addTo(s, c, t.ints.float())
	}
	if math.IsInf(s, 0) || s != s {
		return s // the compensation of an infinite sum is NaN
	}
	return s + c
}

func (t total) value(f *finisher) (Value, error) {
	switch {
	case t.num == 0:
		return Value{}, nil
	case f.kind == Avg && !t.hasF:
		return FloatOf(t.ints.over(t.num)), nil
	case f.kind == Avg:
		return finite(t.float() / float64(t.num))
	case t.hasF:
		return finite(t.float())
	}
	if i, ok := t.ints.int64(); ok {
		return BigintOf(i), nil
	}
	switch f.overflow {
	case OverflowFloat:
		return FloatOf(t.ints.float()), nil
	case OverflowSaturate:
		if t.ints.negative() {
			return BigintOf(math.MinInt64), nil
		}
		return BigintOf(math.MaxInt64), nil
	}
	return Value{}, ErrOverflow
}

// finite lets NaN through: it can only come from an input that had one
// (semantics 6.5).
func finite(f float64) (Value, error) {
	if math.IsInf(f, 0) {
		return Value{}, ErrNotFinite
	}
	return FloatOf(f), nil
}

// spread is a variance or its root from n values and their sum of squared
// deviations.
func spread(k AggregateKind, n uint64, m2 float64) (Value, error) {
	d := n
	if k == Var || k == Stdev {
		if n < 2 {
			return Value{}, nil
		}
		d--
	}
	if n == 0 {
		return Value{}, nil
	}
	v := m2 / float64(d)
	if k == Stdev || k == Stdevp {
		v = math.Sqrt(v)
	}
	return finite(v)
}
