package windows

// AggregateKind names an aggregate function (semantics 7).
type AggregateKind uint8

// The aggregates. CountAll is COUNT(*).
const (
	CountAll AggregateKind = iota
	Count
	Sum
	Avg
	Min
	Max
	Stdev
	Stdevp
	Var
	Varp
)

var aggregateNames = [...]string{"COUNT(*)", "COUNT", "SUM", "AVG", "MIN", "MAX", "STDEV", "STDEVP", "VAR", "VARP"}

func (k AggregateKind) String() string { return aggregateNames[k] }

// Numeric reports whether the aggregate takes numbers only; another value is
// a row error for it while the aggregates beside it go on (15-K row h).
func (k AggregateKind) Numeric() bool { return k >= Sum && k != Min && k != Max }

// Overflow says what SUM over bigints gives when the exact sum does not fit
// into a bigint.
type Overflow uint8

// The policies. OverflowNull gives NULL and an error beside the row.
const (
	OverflowNull Overflow = iota
	OverflowFloat
	OverflowSaturate
)

// Aggregate is one aggregate of an operator.
type Aggregate struct {
	Kind AggregateKind
	// Arg is the index of the argument among those given to Operator.Add;
	// CountAll has none.
	Arg int
	// Overflow concerns Sum.
	Overflow Overflow
}
