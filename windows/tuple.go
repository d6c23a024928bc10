package windows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// ErrTuple is wrapped by the errors of DecodeTuple: the bytes are not a tuple.
var ErrTuple = errors.New("malformed key tuple")

// Tags of the tuple encoding. They are part of the stored format and of the
// order of rows: append, never renumber (semantics 9.4). Tag 0 is kept free,
// it ends strings and nested values.
const (
	tagEnd       = 0x00
	tagNull      = 0x02
	tagBitFalse  = 0x04
	tagBitTrue   = 0x05
	tagBelow     = 0x08 // a float below the range of bigint, or -Inf
	tagNumber    = 0x09 // floor as a bigint, then the fraction
	tagAbove     = 0x0a // a float above the range of bigint, or +Inf
	tagNaN       = 0x0b
	tagDatetime  = 0x10
	tagString    = 0x18
	tagRecord    = 0x20
	tagArray     = 0x28
	escapeOfZero = 0xff

	integral   = 0x00
	fractional = 0x01
)

// maxTupleDepth bounds the nesting that DecodeTuple follows.
const maxTupleDepth = 80

// AppendTuple appends the order-preserving encoding of values to dst: bytes
// of two tuples compare as the tuples do, value by value, NULL first, then
// bit, number, datetime, nvarchar, record, array. Equal numbers have equal
// bytes: 1 and 1.0 are one key (and come back as the bigint 1), -0.0 is 0 and
// all NaN are one. The encoding of a tuple is a prefix of the encoding of
// every tuple that starts with its values, and of no other.
func AppendTuple(dst []byte, vals ...Value) []byte {
	for i := range vals {
		dst = appendKey(dst, &vals[i])
	}
	return dst
}

func appendKey(dst []byte, v *Value) []byte {
	switch v.kind {
	case Bigint:
		dst = append(dst, tagNumber)
		dst = binary.BigEndian.AppendUint64(dst, v.num^1<<63)
		return append(dst, integral)
	case Float:
		return appendFloatKey(dst, v.Float())
	case String:
		return appendStringKey(append(dst, tagString), v.str)
	case Datetime:
		return binary.BigEndian.AppendUint64(append(dst, tagDatetime), v.num^1<<63)
	case Bit:
		if v.num != 0 {
			return append(dst, tagBitTrue)
		}
		return append(dst, tagBitFalse)
	case Record:
		dst = append(dst, tagRecord)
		if o := v.Record(); o != nil {
			for i := range o.Fields {
				dst = appendStringKey(append(dst, tagString), o.Fields[i].Name)
				dst = appendKey(dst, &o.Fields[i].Value)
			}
		}
		return append(dst, tagEnd)
	case Array:
		dst = append(dst, tagArray)
		a := v.Array()
		for i := range a {
			dst = appendKey(dst, &a[i])
		}
		return append(dst, tagEnd)
	}
	return append(dst, tagNull)
}

func appendStringKey(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			dst = append(dst, s...)
			return append(dst, tagEnd)
		}
		dst = append(dst, s[:i]...)
		dst = append(dst, 0, escapeOfZero)
		s = s[i+1:]
	}
}

func appendFloatKey(dst []byte, f float64) []byte {
	switch {
	case f != f:
		return append(dst, tagNaN)
	case f < -1<<63:
		return binary.BigEndian.AppendUint64(append(dst, tagBelow), orderedFloat(f))
	case f >= 1<<63:
		return binary.BigEndian.AppendUint64(append(dst, tagAbove), orderedFloat(f))
	}
	floor := math.Floor(f)
	dst = append(dst, tagNumber)
	dst = binary.BigEndian.AppendUint64(dst, uint64(int64(floor))^1<<63)
	if f == floor {
		return append(dst, integral)
	}
	dst = append(dst, fractional)
	return binary.BigEndian.AppendUint64(dst, orderedFloat(f))
}

// orderedFloat maps a float to bits that order as unsigned integers.
func orderedFloat(f float64) uint64 {
	b := math.Float64bits(f)
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

func floatOfOrdered(b uint64) float64 {
	if b>>63 != 0 {
		return math.Float64frombits(b &^ (1 << 63))
	}
	return math.Float64frombits(^b)
}

// DecodeTuple appends the values of a tuple to dst[:0]. Strings are copies.
// Bytes that AppendTuple did not write give an error that wraps ErrTuple.
func DecodeTuple(b []byte, dst []Value) ([]Value, error) {
	dst = dst[:0]
	for len(b) > 0 {
		v, rest, err := decodeKey(b, 0)
		if err != nil {
			return dst, err
		}
		dst = append(dst, v)
		b = rest
	}
	return dst, nil
}

func malformed(what string) error { return fmt.Errorf("decode: %s: %w", what, ErrTuple) }

func decodeKey(b []byte, depth int) (Value, []byte, error) {
	if depth > maxTupleDepth {
		return Value{}, nil, malformed("nested too deeply")
	}
	tag := b[0]
	b = b[1:]
	switch tag {
	case tagNull:
		return Value{}, b, nil
	case tagBitFalse, tagBitTrue:
		return BitOf(tag == tagBitTrue), b, nil
	case tagNaN:
		return FloatOf(math.NaN()), b, nil
	case tagString:
		s, rest, err := decodeStringKey(b)
		return StringOf(s), rest, err
	case tagRecord:
		return decodeRecordKey(b, depth)
	case tagArray:
		return decodeArrayKey(b, depth)
	case tagNumber, tagDatetime, tagBelow, tagAbove:
	default:
		return Value{}, nil, malformed("unknown tag")
	}
	if len(b) < 8 {
		return Value{}, nil, malformed("truncated number")
	}
	n := binary.BigEndian.Uint64(b)
	b = b[8:]
	switch tag {
	case tagDatetime:
		return DatetimeOf(Tick(n ^ 1<<63)), b, nil
	case tagBelow, tagAbove:
		f := floatOfOrdered(n)
		if tag == tagBelow && !(f < -1<<63) || tag == tagAbove && !(f >= 1<<63) {
			return Value{}, nil, malformed("float under the wrong tag")
		}
		return FloatOf(f), b, nil
	}
	floor := int64(n ^ 1<<63)
	if len(b) == 0 || b[0] > fractional {
		return Value{}, nil, malformed("number without its fraction")
	}
	if b[0] == integral {
		return BigintOf(floor), b[1:], nil
	}
	if len(b) < 9 {
		return Value{}, nil, malformed("truncated fraction")
	}
	f := floatOfOrdered(binary.BigEndian.Uint64(b[1:]))
	if fl := math.Floor(f); !(fl >= -1<<63 && fl < 1<<63) || int64(fl) != floor || fl == f {
		return Value{}, nil, malformed("fraction of another number")
	}
	return FloatOf(f), b[9:], nil
}

func decodeStringKey(b []byte) (string, []byte, error) {
	n := 0
	escaped := false
	for ; ; n++ {
		if n == len(b) {
			return "", nil, malformed("unterminated string")
		}
		if b[n] != 0 {
			continue
		}
		if n+1 < len(b) && b[n+1] == escapeOfZero {
			escaped = true
			n++
			continue
		}
		break
	}
	s := string(b[:n])
	if escaped {
		s = strings.ReplaceAll(s, "\x00\xff", "\x00")
	}
	return s, b[n+1:], nil
}

func decodeArrayKey(b []byte, depth int) (Value, []byte, error) {
	a := []Value{}
	for {
		if len(b) == 0 {
			return Value{}, nil, malformed("unterminated array")
		}
		if b[0] == tagEnd {
			return ArrayOf(a), b[1:], nil
		}
		v, rest, err := decodeKey(b, depth+1)
		if err != nil {
			return Value{}, nil, err
		}
		a = append(a, v)
		b = rest
	}
}

func decodeRecordKey(b []byte, depth int) (Value, []byte, error) {
	o := &Object{}
	for {
		if len(b) == 0 {
			return Value{}, nil, malformed("unterminated record")
		}
		if b[0] == tagEnd {
			return RecordOf(o), b[1:], nil
		}
		if b[0] != tagString {
			return Value{}, nil, malformed("member without a name")
		}
		name, rest, err := decodeStringKey(b[1:])
		if err != nil {
			return Value{}, nil, err
		}
		if len(rest) == 0 {
			return Value{}, nil, malformed("member without a value")
		}
		v, rest, err := decodeKey(rest, depth+1)
		if err != nil {
			return Value{}, nil, err
		}
		o.Fields = append(o.Fields, Field{name, v})
		b = rest
	}
}
