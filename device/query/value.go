package query

import (
	"math"
	"strconv"
	"strings"

	"github.com/gemello/gemello/device"
)

// Kind is the type of a value.
type Kind uint8

// The kinds of values. The zero Value is undefined.
const (
	Undefined Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// Value is what a path or expression yields. It refers to what it was read from.
type Value struct {
	kind  Kind
	truth bool
	num   float64
	str   string      // of a string, decoded
	raw   string      // JSON text, where the value came as one
	view  device.View // of an object in a twin
}

// Kind returns the value's type.
func (v *Value) Kind() Kind { return v.kind }

// True reports whether the value is exactly true.
func (v *Value) True() bool { return v.kind == Bool && v.truth }

// Number returns the number, false for a value of another type.
func (v *Value) Number() (float64, bool) { return v.num, v.kind == Number }

// Text returns the string, false for a value of another type.
func (v *Value) Text() (string, bool) { return v.str, v.kind == String }

// OfString and the next make values of what a source keeps.
func OfString(s string) Value { return Value{kind: String, str: s} }

// OfBool returns a boolean.
func OfBool(b bool) Value { return Value{kind: Bool, truth: b} }

// OfNumber returns a number; what is no finite number is undefined.
func OfNumber(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}
	}
	return Value{kind: Number, num: f}
}

// OfInt returns a number that is rendered in full.
func OfInt(n int64) Value {
	return Value{kind: Number, num: float64(n), raw: strconv.FormatInt(n, 10)}
}

// OfNull returns null.
func OfNull() Value { return Value{kind: Null} }

// OfView returns a value of a twin.
func OfView(v device.View) Value {
	switch {
	case !v.Exists():
		return Value{}
	case v.Object():
		return Value{kind: Object, view: v}
	}
	return OfJSON(v.Text())
}

// OfJSON returns the value of a JSON text without blanks around; text that is
// not JSON is undefined. The insides of arrays and objects are not looked at.
func OfJSON(text string) Value {
	if text == "" {
		return Value{}
	}
	switch c := text[0]; {
	case c == '"':
		s, ok := unquote(text)
		if !ok {
			return Value{}
		}
		return Value{kind: String, str: s, raw: text}
	case c == '[':
		return Value{kind: Array, raw: text}
	case c == '{':
		return Value{kind: Object, raw: text}
	case c == '-' || '0' <= c && c <= '9':
		f, ok := parseNumber(text)
		if !ok {
			return Value{}
		}
		return Value{kind: Number, num: f, raw: text}
	case text == "true":
		return OfBool(true)
	case text == "false":
		return OfBool(false)
	case text == "null":
		return OfNull()
	}
	return Value{}
}

// parseNumber reads short integers without the cost of the general case.
func parseNumber(s string) (float64, bool) {
	digits, sign := s, 1.0
	if digits[0] == '-' {
		digits, sign = digits[1:], -1
	}
	if len(digits) == 0 || len(digits) > 15 {
		return generalNumber(s)
	}
	n := int64(0)
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return generalNumber(s)
		}
		n = n*10 + int64(c-'0')
	}
	return sign * float64(n), true
}

func generalNumber(s string) (float64, bool) {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
		default:
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// AppendJSON appends the value; undefined gives nothing.
func (v *Value) AppendJSON(dst []byte) []byte {
	switch {
	case v.kind == Undefined:
		return dst
	case v.raw != "":
		return append(dst, v.raw...)
	case v.view.Exists():
		return v.view.AppendJSON(dst)
	}
	switch v.kind {
	case Null:
		return append(dst, "null"...)
	case Bool:
		return strconv.AppendBool(dst, v.truth)
	case Number:
		return appendNumber(dst, v.num)
	}
	return appendQuoted(dst, v.str, '"')
}

// appendNumber writes integers in full and large and small numbers with an
// exponent, as JSON allows.
func appendNumber(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// compare orders two primitives of the same type; ok is false for all others.
func compare(a, b *Value, fold bool) (order int, ok bool) {
	if a.kind != b.kind {
		return 0, false
	}
	switch a.kind {
	case Null:
		return 0, true
	case Bool:
		switch {
		case a.truth == b.truth:
			return 0, true
		case b.truth:
			return -1, true
		}
		return 1, true
	case Number:
		switch {
		case a.num < b.num:
			return -1, true
		case a.num > b.num:
			return 1, true
		}
		return 0, true
	case String:
		return compareStrings(a.str, b.str, fold), true
	}
	return 0, false
}

// compareStrings compares two dates as instants and all else by code points.
func compareStrings(a, b string, fold bool) int {
	if x, ok := parseDateOf(a); ok {
		if y, ok := parseDateOf(b); ok {
			return x.Compare(y)
		}
	}
	if fold {
		a, b = lower(a), lower(b)
	}
	return strings.Compare(a, b)
}

// lower is the one folding of the language: routes compare without case.
func lower(s string) string { return strings.ToLower(s) }
