package query

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// Kinds of index values (docs/format/store.md). Their order is the order of the
// types in an index; a number is never used again for another kind.
const (
	indexNull   = 1
	indexFalse  = 2
	indexTrue   = 3
	indexNumber = 4 // 8 bytes
	indexDate   = 5 // seconds (8), nanoseconds (4)
	indexString = 6 // escaped, ended by 00 01
)

// maxIndexText is how much of a string an index holds: longer ones share the
// place of their beginning.
const maxIndexText = 128

// ErrIndexValue means bytes that begin with no index value.
var ErrIndexValue = errors.New("not an index value")

// IndexValues visits what an index holds of a value, in bytes whose order is that
// of comparisons: nothing of what can't be compared, and of a string that is a
// date two, since dates compare with each other as instants and with other
// strings as text. The bytes are valid until visit returns.
func (v *Value) IndexValues(visit func([]byte)) {
	var room [maxIndexText + 16]byte
	switch v.kind {
	case Null:
		visit(append(room[:0], indexNull))
	case Bool:
		visit(appendIndexBool(room[:0], v.truth))
	case Number:
		visit(appendIndexNumber(room[:0], v.num))
	case String:
		if at, ok := parseDateOf(v.str); ok {
			visit(appendIndexDate(room[:0], at))
		}
		visit(appendIndexString(room[:0], v.str))
	}
}

func appendIndexBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, indexTrue)
	}
	return append(dst, indexFalse)
}

// appendIndexNumber makes the order of the bits that of the numbers: those of
// negative ones are turned over. There is one zero.
func appendIndexNumber(dst []byte, f float64) []byte {
	bits := math.Float64bits(f + 0)
	if f == 0 {
		bits = 0
	}
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(append(dst, indexNumber), bits)
}

func appendIndexDate(dst []byte, t time.Time) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, indexDate), uint64(t.Unix())^(1<<63))
	return binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond()))
}

func appendIndexString(dst []byte, s string) []byte {
	return append(appendIndexText(append(dst, indexString), s), 0, 1)
}

// appendIndexText writes each zero byte as 00 FF, so that 00 01 can end the text
// and still come before all that a longer one goes on with.
func appendIndexText(dst []byte, s string) []byte {
	for i := range min(len(s), maxIndexText) {
		dst = append(dst, s[i])
		if s[i] == 0 {
			dst = append(dst, 0xFF)
		}
	}
	return dst
}

// IndexValueLen returns how many bytes of b the index value takes that b begins
// with. The error is ErrIndexValue.
func IndexValueLen(b []byte) (int, error) {
	size := 0
	if len(b) == 0 {
		return 0, ErrIndexValue
	}
	switch b[0] {
	case indexNull, indexFalse, indexTrue:
		size = 1
	case indexNumber:
		size = 9
	case indexDate:
		size = 13
	case indexString:
		for i := 1; i+1 < len(b); i++ {
			if b[i] != 0 {
				continue
			}
			if b[i+1] == 1 {
				return i + 2, nil
			}
			i++
		}
		return 0, ErrIndexValue
	}
	if size == 0 || size > len(b) {
		return 0, ErrIndexValue
	}
	return size, nil
}

// Span is a half-open range of bytes: from Lo on and below Hi.
type Span struct{ Lo, Hi string }

// One reports whether the range is that of one value, or of the beginning of a
// text.
func (s Span) One() bool { return s.Hi == after(s.Lo) }

// after is the first text above all that begin with b.
func after(b string) string {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0xFF {
			return b[:i] + string([]byte{b[i] + 1})
		}
	}
	return "\xff\xff" // above all that is kept
}

// kindSpan is all values of some kinds.
func kindSpan(from, to byte) Span { return Span{string([]byte{from}), string([]byte{to + 1})} }

// spans are where an index holds the values v for which v op c is true, or more
// that have to be looked at. dates says that the constant is a date: then what
// holds depends on whether v is one.
func (c *Value) spans(op Op) (list []Span, dates bool) {
	switch c.kind {
	case Null:
		list = bounded(op, string([]byte{indexNull}), indexNull, indexNull, true)
	case Bool:
		list = bounded(op, string(appendIndexBool(nil, c.truth)), indexFalse, indexTrue, true)
	case Number:
		list = bounded(op, string(appendIndexNumber(nil, c.num)), indexNumber, indexNumber, true)
	case String:
		at, isDate := parseDateOf(c.str)
		if isDate {
			list = bounded(op, string(appendIndexDate(nil, at)), indexDate, indexDate, true)
			if op == Equal {
				return list, true
			}
		}
		list = append(list, bounded(op, string(appendIndexString(nil, c.str)), indexString, indexString, len(c.str) < maxIndexText)...)
		return list, isDate
	}
	return list, false
}

// bounded is the range of an operator among the kinds from low to high; exact
// says that the value stands for itself alone.
func bounded(op Op, at string, low, high byte, exact bool) []Span {
	all := kindSpan(low, high)
	s := all
	switch op {
	case Equal:
		s = Span{at, after(at)}
	case Less:
		s.Hi = at
		if !exact {
			s.Hi = after(at)
		}
	case LessEqual:
		s.Hi = after(at)
	case Greater:
		s.Lo = after(at)
		if !exact {
			s.Lo = at
		}
	case GreaterEqual:
		s.Lo = at
	}
	if s.Lo >= s.Hi {
		return nil
	}
	return []Span{s}
}

// common returns what lies in both of two lists of ranges.
func common(a, b []Span) []Span {
	var out []Span
	for _, x := range a {
		for _, y := range b {
			s := Span{max(x.Lo, y.Lo), min(x.Hi, y.Hi)}
			if s.Lo < s.Hi {
				out = append(out, s)
			}
		}
	}
	return out
}
