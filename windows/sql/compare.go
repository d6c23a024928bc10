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

func (c comparison) of(a, b *windows.Value) windows.Value {
	order, ok := compare(a, b)
	if !ok {
		return windows.Value{}
	}
	return windows.BitOf(c&(1<<(order+1)) != 0)
}

// truth reads a value as a condition: false, true, or unknown (known is
// false). Numbers other than 0 are true.
func truth(v *windows.Value) (is, known bool) {
	switch v.Kind() {
	case windows.Bit:
		return v.Bit(), true
	case windows.Bigint:
		return v.Bigint() != 0, true
	case windows.Float:
		return v.Float() != 0, true
	}
	return false, false
}

// holds reports whether a condition is true rather than false or unknown.
func holds(v windows.Value) bool {
	is, known := truth(&v)
	return is && known
}

// equalNames compares names as queries do.
func equalNames(a, b string) bool { return strings.EqualFold(a, b) }
