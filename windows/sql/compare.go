package sql

import (
	"strings"

	"github.com/gemello/gemello/windows"
)

// compare orders two values with the implicit casts of the dialect (semantics
// 6.3): a string meets a number, a datetime or a bit as what it can be read
// as, a bit meets a number as 0 or 1. False means that the comparison is
// NULL: an operand is NULL, or the cast failed.
func compare(a, b *windows.Value) (int, bool) {
	ka, kb := a.Kind(), b.Kind()
	if ka == windows.Float && kb == windows.Float {
		if x, y := a.Float(), b.Float(); x < y {
			return -1, true
		} else if x > y {
			return 1, true
		}
	}
	if ka == kb || isNumber(a) && isNumber(b) {
		return windows.Compare(a, b)
	}
	if ka == windows.Null || kb == windows.Null {
		return 0, false
	}
	if kb == windows.String && ka != windows.String {
		c, ok := compareText(b.Str(), a)
		return -c, ok
	}
	if ka == windows.String {
		return compareText(a.Str(), b)
	}
	if ka == windows.Bit && isNumber(b) {
		x := windows.BigintOf(bitNumber(a))
		return windows.Compare(&x, b)
	}
	if kb == windows.Bit && isNumber(a) {
		y := windows.BigintOf(bitNumber(b))
		return windows.Compare(a, &y)
	}
	return 0, false
}

// compareText compares a string with a value of another kind.
func compareText(s string, b *windows.Value) (int, bool) {
	var x windows.Value
	var ok bool
	switch b.Kind() {
	case windows.Bigint, windows.Float:
		x, ok = parseNumber(s)
	case windows.Datetime, windows.Bit:
		x, ok = cast(windows.StringOf(s), b.Kind())
	}
	if !ok {
		return 0, false
	}
	return windows.Compare(&x, b)
}

// comparison is the code of a comparison operator: a set of outcomes.
type comparison uint8

const (
	whenLess comparison = 1 << iota
	whenEqual
	whenGreater
)

func comparisonOf(op string) comparison {
	switch op {
	case "=":
		return whenEqual
	case "<>":
		return whenLess | whenGreater
	case "<":
		return whenLess
	case "<=":
		return whenLess | whenEqual
	case ">":
		return whenGreater
	case ">=":
		return whenGreater | whenEqual
	}
	return 0
}

func (c comparison) of(a, b *windows.Value) tri {
	order, ok := compare(a, b)
	if !ok {
		return unknown
	}
	return triOf(c&(1<<(order+1)) != 0)
}

// tri is a value of three-valued logic (semantics 6.4).
type tri uint8

const (
	unknown tri = iota
	isFalse
	isTrue
)

func triOf(b bool) tri {
	if b {
		return isTrue
	}
	return isFalse
}

func (t tri) not() tri {
	switch t {
	case isFalse:
		return isTrue
	case isTrue:
		return isFalse
	}
	return unknown
}

// value gives the condition as a bit, unknown as NULL.
func (t tri) value() windows.Value {
	if t == unknown {
		return windows.Value{}
	}
	return windows.BitOf(t == isTrue)
}

// truth reads a value as a condition: bits, and numbers, which are true unless
// they are 0. All else is unknown.
func truth(v *windows.Value) tri {
	switch v.Kind() {
	case windows.Bit:
		return triOf(v.Bit())
	case windows.Bigint:
		return triOf(v.Bigint() != 0)
	case windows.Float:
		return triOf(v.Float() != 0)
	}
	return unknown
}

// equalNames compares names as queries do.
func equalNames(a, b string) bool { return strings.EqualFold(a, b) }
