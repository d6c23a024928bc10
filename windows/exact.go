package windows

import (
	"math"
	"math/bits"
)

// int128 is a two's complement integer: sums of bigints can't leave it.
type int128 struct{ hi, lo uint64 }

func (a int128) plus(b int128) int128 {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, carry)
	return int128{hi, lo}
}

func int128Of(i int64) int128 { return int128{uint64(i >> 63), uint64(i)} }

// int64 reports whether the value fits.
func (a int128) int64() (int64, bool) {
	i := int64(a.lo)
	return i, a.hi == uint64(i>>63)
}

func (a int128) negative() bool { return a.hi>>63 != 0 }

func (a int128) abs() int128 {
	if !a.negative() {
		return a
	}
	lo, borrow := bits.Sub64(0, a.lo, 0)
	hi, _ := bits.Sub64(0, a.hi, borrow)
	return int128{hi, lo}
}

// float rounds to nearest, ties to even.
func (a int128) float() float64 {
	if i, ok := a.int64(); ok {
		return float64(i)
	}
	u := a.abs()
	f := roundLimbs(0, u.hi, u.lo, false, 0)
	if a.negative() {
		return -f
	}
	return f
}

// over divides by a count, positive and below 2^53, and rounds once.
func (a int128) over(n uint64) float64 {
	if i, ok := a.int64(); ok && i > -1<<53 && i < 1<<53 {
		return float64(i) / float64(n)
	}
	u := a.abs()
	q1, r := u.hi/n, u.hi%n
	q0, r := bits.Div64(r, u.lo, n)
	frac, r := bits.Div64(r, 0, n)
	f := roundLimbs(q1, q0, frac, r != 0, -64)
	if a.negative() {
		return -f
	}
	return f
}

// roundLimbs rounds the 192-bit integer x2:x1:x0, plus something below one
// when sticky, times 2^exp.
func roundLimbs(x2, x1, x0 uint64, sticky bool, exp int) float64 {
	switch {
	case x2 != 0:
		exp += 128
	case x1 != 0:
		exp += 64
		x2, x1, x0 = x1, x0, 0
	default:
		x2, x1, x0 = x0, 0, 0
	}
	if x2 == 0 {
		return 0
	}
	s := bits.LeadingZeros64(x2)
	top := x2<<s | x1>>(64-s)
	rest := x1<<s | x0
	if s == 0 {
		top, rest = x2, x1|x0
	}
	if rest != 0 || sticky {
		top |= 1 // below the 53 bits kept: it only breaks ties
	}
	return math.Ldexp(float64(top), exp-s)
}

// addTo is one step of Neumaier's summation of the pair (s, c).
func addTo(s, c, x float64) (float64, float64) {
	t := s + x
	if math.Abs(s) >= math.Abs(x) {
		c += (s - t) + x
	} else {
		c += (x - t) + s
	}
	return t, c
}

// moments is Welford's running mean and sum of squared deviations.
type moments struct{ mean, m2 float64 }

// with adds x as the n-th value.
func (m moments) with(n uint64, x float64) moments {
	d := x - m.mean
	m.mean += d / float64(n)
	m.m2 += d * (x - m.mean)
	return m
}

// plus merges by Chan's formula; n and on are the counts.
func (m moments) plus(n uint64, o moments, on uint64) moments {
	if on == 0 {
		return m
	}
	if n == 0 {
		return o
	}
	a, b := float64(n), float64(on)
	d := o.mean - m.mean
	return moments{m.mean + d*b/(a+b), m.m2 + o.m2 + d*d*a*b/(a+b)}
}
