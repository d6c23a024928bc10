package sql

import (
	"math"
	"math/bits"

	"github.com/gemello/gemello/windows"
)

// arithmetic evaluates x op y (semantics 6.6): bigints stay bigints, checked
// for overflow; mixed operands are floats; division by zero and overflow are
// NULL and counted; + joins two strings. Another operand is a row error.
func (e *Env) arithmetic(op byte, a, b *windows.Value, expr expr) windows.Value {
	switch {
	case a.Kind() == windows.Bigint && b.Kind() == windows.Bigint:
		return e.integers(op, a.Bigint(), b.Bigint())
	case isNumber(a) && isNumber(b):
		x, y := asFloat(a), asFloat(b)
		switch op {
		case '&', '|', '^':
			return e.fail(expr, *a, "bitwise operators take bigints, not floats")
		}
		return e.floats(op, x, y)
	case a.IsNull() || b.IsNull():
		return windows.Value{}
	case op == '+' && a.Kind() == windows.String && b.Kind() == windows.String:
		if len(a.Str())+len(b.Str()) > maxString {
			return e.overflow()
		}
		return windows.StringOf(a.Str() + b.Str())
	}
	bad := a
	if isNumber(a) {
		bad = b
	}
	return e.fail(expr, *bad, "no arithmetic on "+bad.Kind().String()+": CAST it first")
}

func asFloat(v *windows.Value) float64 {
	if v.Kind() == windows.Bigint {
		return float64(v.Bigint())
	}
	return v.Float()
}

func (e *Env) integers(op byte, x, y int64) windows.Value {
	var z int64
	switch op {
	case '+':
		z = x + y
		if (x^z)&(y^z) < 0 {
			return e.overflow()
		}
	case '-':
		z = x - y
		if (x^y)&(x^z) < 0 {
			return e.overflow()
		}
	case '*':
		hi, lo := bits.Mul64(magnitude(x), magnitude(y))
		negative := (x < 0) != (y < 0)
		if hi != 0 || lo > 1<<63 || lo == 1<<63 && !negative {
			return e.overflow()
		}
		z = int64(lo)
		if negative {
			z = -z
		}
	case '/', '%':
		if y == 0 {
			e.Counts.DivisionsByZero++
			return windows.Value{}
		}
		if y == -1 { // the one quotient that does not fit
			if op == '%' {
				return windows.BigintOf(0)
			}
			return e.integers('-', 0, x)
		}
		if op == '%' {
			z = x % y
		} else {
			z = x / y
		}
	case '&':
		z = x & y
	case '|':
		z = x | y
	case '^':
		z = x ^ y
	}
	return windows.BigintOf(z)
}

func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

func (e *Env) floats(op byte, x, y float64) windows.Value {
	var z float64
	switch op {
	case '+':
		z = x + y
	case '-':
		z = x - y
	case '*':
		z = x * y
	case '/', '%':
		if y == 0 {
			e.Counts.DivisionsByZero++
			return windows.Value{}
		}
		if op == '%' {
			z = math.Mod(x, y)
		} else {
			z = x / y
		}
	}
	return e.finite(z)
}

// finite turns NaN and infinities into counted NULLs.
func (e *Env) finite(f float64) windows.Value {
	if f-f != 0 {
		return e.overflow()
	}
	return windows.FloatOf(f)
}
