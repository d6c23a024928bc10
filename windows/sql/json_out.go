package sql

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/gemello/gemello/windows"
)

// appendJSON writes a value as JSON: bigints as numbers, floats in the
// shortest form that reads back the same, datetimes as strings (semantics
// 6.8).
func appendJSON(dst []byte, v *windows.Value) []byte {
	switch v.Kind() {
	case windows.Bigint:
		return strconv.AppendInt(dst, v.Bigint(), 10)
	case windows.Float:
		return appendFloat(dst, v.Float())
	case windows.String:
		return appendQuoted(dst, v.Str())
	case windows.Datetime:
		dst = append(dst, '"')
		dst = appendDatetime(dst, v.Datetime())
		return append(dst, '"')
	case windows.Bit:
		return strconv.AppendBool(dst, v.Bit())
	case windows.Record:
		dst = append(dst, '{')
		if o := v.Record(); o != nil {
			for i := range o.Fields {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = appendQuoted(dst, o.Fields[i].Name)
				dst = append(dst, ':')
				dst = appendJSON(dst, &o.Fields[i].Value)
			}
		}
		return append(dst, '}')
	case windows.Array:
		dst = append(dst, '[')
		a := v.Array()
		for i := range a {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, &a[i])
		}
		return append(dst, ']')
	}
	return append(dst, "null"...)
}

// appendFloat writes the shortest form that reads back the same. JSON has no
// NaN and no infinity: they are null. -0.0 is 0 (semantics 6.5).
func appendFloat(dst []byte, f float64) []byte {
	abs := math.Abs(f)
	if abs < 1e15 {
		if i := int64(f); float64(i) == f {
			return strconv.AppendInt(dst, i, 10)
		}
		if out, ok := appendDecimal(dst, f, abs); ok {
			return out
		}
	} else if !(abs <= math.MaxFloat64) {
		return append(dst, "null"...)
	}
	if abs < 1e-6 || abs >= 1e21 {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendDecimal writes a float that is a number of up to 15 digits with up to 6
// decimals, as readings of sensors are. Up to 15 digits every decimal has a
// float of its own, so that the one found is the shortest form; the division
// of two exact integers rounds as reading the decimal does.
func appendDecimal(dst []byte, f, abs float64) ([]byte, bool) {
	k := 6
	if abs >= 1e9 {
		if k = 3; abs >= 1e12 {
			return dst, false
		}
	}
	m := abs * pow10[k]
	n := uint64(m + 0.5)
	if r := float64(n); math.Abs(m-r) > m*0x1p-51 || r/pow10[k] != abs {
		return dst, false
	}
	scale := uint64(pow10[k])
	for n%10 == 0 {
		n, scale, k = n/10, scale/10, k-1
	}
	if f < 0 {
		dst = append(dst, '-')
	}
	dst = strconv.AppendUint(dst, n/scale, 10)
	dst = append(dst, '.')
	return appendPadded(dst, int64(n%scale), k), true
}

const hexDigits = "0123456789abcdef"

// appendQuoted writes a JSON string. Bytes that are no UTF-8 become U+FFFD.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[from:i]...)
				dst = append(dst, "\uFFFD"...)
				from = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
