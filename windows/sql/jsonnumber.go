package sql

import (
	"encoding/binary"
	"math"
	"strconv"
	"unsafe"

	"github.com/gemello/gemello/windows"
)

// skipNumber checks the number at i.
func (t *jsonText) skipNumber(i int) int {
	data := t.data
	if data[i] == '-' {
		i++
	}
	begin := i
	for i < len(data) && data[i]-'0' <= 9 {
		i++
	}
	if i == begin {
		return t.unexpected(i, "a digit")
	}
	if data[begin] == '0' && i > begin+1 {
		return t.unexpected(begin+1, "no digit after a leading zero")
	}
	if i < len(data) && data[i] == '.' {
		i++
		begin = i
		for i < len(data) && data[i]-'0' <= 9 {
			i++
		}
		if i == begin {
			return t.unexpected(i, "a digit")
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		begin = i
		for i < len(data) && data[i]-'0' <= 9 {
			i++
		}
		if i == begin {
			return t.unexpected(i, "a digit")
		}
	}
	return i
}

var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// number reads the number at i. Integers are read from their digits, never
// through a float; a fraction with a short significand is one exact division,
// everything else is left to strconv (semantics 6.2).
func (t *jsonText) number(i int, v *windows.Value) int {
	data := t.data
	begin := i
	negative := data[i] == '-'
	if negative {
		i++
	}
	var m uint64
	n := 0 // significant digits
	lead := i
	if i+8 <= len(data) {
		if w := binary.LittleEndian.Uint64(data[i:]); eightDigits(w) {
			m = valueOfEight(w)
			i += 8
		}
	}
	for i < len(data) && data[i]-'0' <= 9 {
		m = m*10 + uint64(data[i]-'0')
		i++
	}
	n = i - lead
	if n == 0 {
		return t.unexpected(i, "a digit")
	}
	if data[lead] == '0' {
		if n > 1 {
			return t.unexpected(lead+1, "no digit after a leading zero")
		}
		n = 0
	}
	if i >= len(data) || data[i] != '.' && data[i]|0x20 != 'e' {
		if n < 19 || n == 19 && (m < 1<<63 || negative && m == 1<<63) {
			if negative {
				m = -m
			}
			*v = windows.BigintOf(int64(m))
			return i
		}
		t.bigints++
		t.slowFloat(begin, i, v)
		return i
	}
	exp := 0
	if data[i] == '.' {
		i++
		first := i
		for i < len(data) && data[i]-'0' <= 9 {
			m = m*10 + uint64(data[i]-'0')
			if n > 0 || m != 0 { // n > 0: m may have wrapped to 0
				n++
			}
			i++
		}
		if i == first {
			return t.unexpected(i, "a digit")
		}
		exp = first - i
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		down := i < len(data) && data[i] == '-'
		if down || i < len(data) && data[i] == '+' {
			i++
		}
		first := i
		e := 0
		for i < len(data) && data[i]-'0' <= 9 {
			e = min(e*10+int(data[i]-'0'), 1<<20)
			i++
		}
		if i == first {
			return t.unexpected(i, "a digit")
		}
		if down {
			e = -e
		}
		exp += e
	}
	// Up to 19 digits m did not wrap; below 2^53 it is an exact float, as are
	// the powers up to 10^22, so that one operation rounds once.
	if n <= 19 && m < 1<<53 && -22 <= exp && exp <= 22 {
		f := float64(m)
		if exp < 0 {
			f /= pow10[-exp]
		} else {
			f *= pow10[exp]
		}
		if negative {
			f = -f
		}
		*v = windows.FloatOf(f)
		return i
	}
	t.slowFloat(begin, i, v)
	return i
}

// eightDigits reports whether the eight characters of w are digits: adding 6
// carries out of the low half of a byte that is 10 or more.
func eightDigits(w uint64) bool {
	return (w&0xf0f0f0f0f0f0f0f0)|((w+0x0606060606060606)&0xf0f0f0f0f0f0f0f0)>>4 == 0x3333333333333333
}

// valueOfEight reads eight digits, the first in the lowest byte, adding up
// neighbours: digits to pairs, pairs to fours, fours to the number.
func valueOfEight(w uint64) uint64 {
	w -= '0' * ones
	w = w*10 + w>>8
	return (w&0x000000ff000000ff*(100+1000000<<32) + w>>16&0x000000ff000000ff*(1+10000<<32)) >> 32
}

func (t *jsonText) slowFloat(begin, end int, v *windows.Value) {
	f, _ := strconv.ParseFloat(unsafe.String(&t.data[begin], end-begin), 64)
	if math.IsInf(f, 0) {
		t.overflows++
		*v = windows.Value{}
		return
	}
	*v = windows.FloatOf(f)
}
