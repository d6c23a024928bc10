package sql

import (
	"math"

	"github.com/gemello/gemello/windows"
)

var mathFunctions = []function{
	{name: "ABS", min: 1, max: 1, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		if a[0].Kind() == windows.Bigint {
			if i := a[0].Bigint(); i < 0 {
				return e.integers('-', 0, i)
			}
			return a[0]
		}
		return e.float1(expr, &a[0], math.Abs)
	}},
	{name: "CEILING", min: 1, max: 1, eval: wholeOr(math.Ceil)},
	{name: "FLOOR", min: 1, max: 1, eval: wholeOr(math.Floor)},
	{name: "EXP", min: 1, max: 1, eval: floatOf(math.Exp)},
	{name: "SQRT", min: 1, max: 1, eval: floatOf(math.Sqrt)},
	{name: "SQUARE", min: 1, max: 1, eval: floatOf(func(x float64) float64 { return x * x })},
	{name: "POWER", min: 2, max: 2, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		x, ok := e.number(expr, &a[0])
		if !ok {
			return windows.Value{}
		}
		y, ok := e.number(expr, &a[1])
		if !ok {
			return windows.Value{}
		}
		return e.finite(math.Pow(x, y))
	}},
	{name: "SIGN", min: 1, max: 1, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		zero := windows.BigintOf(0)
		if _, ok := e.number(expr, &a[0]); !ok {
			return windows.Value{}
		}
		sign, ok := windows.Compare(&a[0], &zero)
		if !ok {
			return windows.Value{}
		}
		if a[0].Kind() == windows.Float {
			return windows.FloatOf(float64(sign))
		}
		return windows.BigintOf(int64(sign))
	}},
	{name: "ROUND", min: 1, max: 2, eval: round},
}

// float1 applies f to a number; a result that is not finite is a counted NULL.
func (e *Env) float1(expr expr, v *windows.Value, f func(float64) float64) windows.Value {
	x, ok := e.number(expr, v)
	if !ok {
		return windows.Value{}
	}
	return e.finite(f(x))
}

func floatOf(f func(float64) float64) func(*Env, expr, []windows.Value) windows.Value {
	return func(e *Env, expr expr, a []windows.Value) windows.Value { return e.float1(expr, &a[0], f) }
}

// wholeOr leaves bigints as they are.
func wholeOr(f func(float64) float64) func(*Env, expr, []windows.Value) windows.Value {
	return func(e *Env, expr expr, a []windows.Value) windows.Value {
		if a[0].Kind() == windows.Bigint {
			return a[0]
		}
		return e.float1(expr, &a[0], f)
	}
}

// round rounds half away from zero to a number of decimals; a negative number
// rounds to tens, hundreds, ….
func round(e *Env, expr expr, a []windows.Value) windows.Value {
	n := int64(0)
	if len(a) > 1 {
		var ok bool
		if n, ok = e.whole(expr, &a[1]); !ok {
			return windows.Value{}
		}
	}
	if a[0].Kind() == windows.Bigint {
		return e.roundInteger(a[0].Bigint(), n)
	}
	x, ok := e.number(expr, &a[0])
	switch {
	case !ok:
		return windows.Value{}
	case n > 22, x == 0:
		return a[0]
	case n < -308:
		return windows.FloatOf(0)
	case n < 0:
		p := math.Pow(10, float64(-n))
		return e.finite(math.Round(x/p) * p)
	}
	scaled := x * pow10[n]
	if math.Abs(scaled) >= 1<<53 {
		return a[0] // no digits beyond that place
	}
	return e.finite(math.Round(scaled) / pow10[n])
}

func (e *Env) roundInteger(i, n int64) windows.Value {
	switch {
	case n >= 0:
		return windows.BigintOf(i)
	case n < -19:
		return windows.BigintOf(0)
	}
	p := uint64(1)
	for ; n < 0; n++ {
		p *= 10
	}
	m := magnitude(i)
	q := m / p
	if m%p >= p-m%p {
		q++
	}
	if q != 0 && p > (1<<63)/q {
		return e.overflow()
	}
	m = q * p
	if i >= 0 {
		if m > math.MaxInt64 {
			return e.overflow()
		}
		return windows.BigintOf(int64(m))
	}
	return windows.BigintOf(-int64(m))
}
