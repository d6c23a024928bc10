package sql

import (
	"math"
	"strconv"
	"strings"

	"github.com/gemello/gemello/windows"
)

// cast converts a value to a kind; false means that it has no value there.
// NULL stays NULL. Floats become bigints by cutting the fraction off;
// records and arrays become their JSON text.
func cast(v windows.Value, k windows.Kind) (windows.Value, bool) {
	from := v.Kind()
	if from == k || from == windows.Null {
		return v, true
	}
	switch k {
	case windows.Bigint:
		switch from {
		case windows.Float:
			f := math.Trunc(v.Float())
			if f >= -1<<63 && f < 1<<63 {
				return windows.BigintOf(int64(f)), true
			}
		case windows.String:
			i, err := strconv.ParseInt(strings.TrimSpace(v.Str()), 10, 64)
			return windows.BigintOf(i), err == nil
		case windows.Bit:
			return windows.BigintOf(bitNumber(&v)), true
		}
	case windows.Float:
		switch from {
		case windows.Bigint:
			return windows.FloatOf(float64(v.Bigint())), true
		case windows.String:
			f, ok := parseFloat(v.Str())
			return windows.FloatOf(f), ok
		case windows.Bit:
			return windows.FloatOf(float64(bitNumber(&v))), true
		}
	case windows.String:
		return windows.StringOf(string(appendText(nil, &v))), true
	case windows.Datetime:
		if from == windows.String {
			t, ok := parseDatetime(strings.TrimSpace(v.Str()))
			return windows.DatetimeOf(t), ok
		}
	case windows.Bit:
		switch from {
		case windows.Bigint:
			return windows.BitOf(v.Bigint() != 0), true
		case windows.Float:
			return windows.BitOf(v.Float() != 0), true
		case windows.String:
			switch s := strings.TrimSpace(v.Str()); {
			case strings.EqualFold(s, "true"), s == "1":
				return windows.BitOf(true), true
			case strings.EqualFold(s, "false"), s == "0":
				return windows.BitOf(false), true
			}
		}
	}
	return windows.Value{}, false
}

func bitNumber(v *windows.Value) int64 {
	if v.Bit() {
		return 1
	}
	return 0
}

// parseFloat reads a decimal number. NaN, Infinity, hexadecimal and digit
// separators, which strconv takes, are no numbers here (semantics 6.5).
func parseFloat(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isDigit(c), c == '+', c == '-', c == '.', c == 'e', c == 'E':
		default:
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// parseNumber reads a string as a comparison does: bigint if it can be one.
func parseNumber(s string) (windows.Value, bool) {
	if i, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64); err == nil {
		return windows.BigintOf(i), true
	}
	f, ok := parseFloat(s)
	return windows.FloatOf(f), ok
}

// appendText writes a value as nvarchar: a string as it is, bits as 1 and 0,
// everything else as in a result row.
func appendText(dst []byte, v *windows.Value) []byte {
	switch v.Kind() {
	case windows.String:
		return append(dst, v.Str()...)
	case windows.Datetime:
		return appendDatetime(dst, v.Datetime())
	case windows.Bit:
		return strconv.AppendInt(dst, bitNumber(v), 10)
	}
	return appendJSON(dst, v)
}
