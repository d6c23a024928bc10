package sql

import (
	"math"
	"strings"

	"github.com/gemello/gemello/windows"
)

// maxString bounds the strings that functions make, in bytes; a longer result
// is NULL and counted as an overflow.
const maxString = 1 << 20

// function is a scalar function. Unless it takes NULLs itself, a NULL
// argument makes the result NULL without a call.
type function struct {
	name     string // in the spelling of the documents
	min, max int    // number of arguments; max < 0: any
	nulls    bool
	eval     func(e *Env, expr expr, args []windows.Value) windows.Value
}

// functionOf finds a function by its name in any case. Functions that need
// more than values of their arguments (a date part, a pattern known in
// advance, lazy branches) are compiled by compiler.special.
func functionOf(name string) *function {
	for _, list := range [...][]function{mathFunctions, textFunctions, timeFunctions, valueFunctions} {
		for i := range list {
			if strings.EqualFold(list[i].name, name) {
				return &list[i]
			}
		}
	}
	return nil
}

// number reads a numeric argument.
func (e *Env) number(expr expr, v *windows.Value) (float64, bool) {
	if isNumber(v) {
		return asFloat(v), true
	}
	e.fail(expr, *v, "expected a number, got "+v.Kind().String())
	return 0, false
}

// whole reads an argument that counts; fractions are cut off.
func (e *Env) whole(expr expr, v *windows.Value) (int64, bool) {
	switch v.Kind() {
	case windows.Bigint:
		return v.Bigint(), true
	case windows.Float:
		if f := math.Trunc(v.Float()); f >= -1<<63 && f < 1<<63 {
			return int64(f), true
		}
	}
	e.fail(expr, *v, "expected a whole number, got "+v.Kind().String())
	return 0, false
}

// text reads a string argument; scalars of other kinds are cast.
func (e *Env) text(expr expr, v *windows.Value) (string, bool) {
	switch v.Kind() {
	case windows.String:
		return v.Str(), true
	case windows.Record, windows.Array:
		e.fail(expr, *v, "expected nvarchar, got "+v.Kind().String())
		return "", false
	}
	return string(appendText(nil, v)), true
}

// datetime reads a datetime argument, or a string that is one.
func (e *Env) datetime(expr expr, v *windows.Value) (windows.Tick, bool) {
	switch v.Kind() {
	case windows.Datetime:
		return v.Datetime(), true
	case windows.String:
		if t, ok := parseDatetime(v.Str()); ok {
			return t, true
		}
		e.fail(expr, *v, "not a datetime")
	default:
		e.fail(expr, *v, "expected a datetime, got "+v.Kind().String())
	}
	return 0, false
}
