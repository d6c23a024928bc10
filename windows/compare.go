package windows

import (
	"cmp"
	"math"
	"strings"
)

// Compare orders two values of comparable kinds: -1, 0 or +1. Bigint and
// float compare exactly, without converting the bigint to float (semantics
// 6.3). It reports false when the values have no order: NULL, NaN, records,
// arrays, and kinds that only an implicit cast would make comparable, which
// is the dialect's affair.
func Compare(a, b *Value) (int, bool) {
	switch a.kind {
	case Bigint:
		switch b.kind {
		case Bigint:
			return cmp.Compare(a.Bigint(), b.Bigint()), true
		case Float:
			return compareBigintFloat(a.Bigint(), b.Float())
		}
	case Float:
		switch b.kind {
		case Float:
			x, y := a.Float(), b.Float()
			switch {
			case x < y:
				return -1, true
			case x > y:
				return 1, true
			case x == y:
				return 0, true
			}
			return 0, false
		case Bigint:
			c, ok := compareBigintFloat(b.Bigint(), a.Float())
			return -c, ok
		}
	case String:
		if b.kind == String {
			return strings.Compare(a.str, b.str), true
		}
	case Datetime:
		if b.kind == Datetime {
			return cmp.Compare(a.Datetime(), b.Datetime()), true
		}
	case Bit:
		if b.kind == Bit {
			return cmp.Compare(a.num, b.num), true
		}
	}
	return 0, false
}

// compareBigintFloat compares exactly: float64(i) would round beyond 2^53.
func compareBigintFloat(i int64, f float64) (int, bool) {
	switch {
	case f != f:
		return 0, false
	case f >= 1<<63:
		return -1, true
	case f < -1<<63:
		return 1, true
	}
	floor := math.Floor(f)
	n := int64(floor)
	switch {
	case i < n:
		return -1, true
	case i > n:
		return 1, true
	case f > floor:
		return -1, true
	}
	return 0, true
}

func (v *Value) isNaN() bool { return v.kind == Float && v.Float() != v.Float() }
