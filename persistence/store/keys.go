package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Stage is the first part of every key: the operator or the document type that
// owns it. Stage 0 is the store's own.
type Stage uint16

// Kind is the second part of every key: what the entry is, within its stage.
type Kind byte

// Kinds in use. Numbers are never reused (docs/format/store.md).
const (
	KindSlice    Kind = 's' // sliceEnd · group key -> partials
	KindSession  Kind = 'x' // group key · start -> last, partials
	KindTimer    Kind = 't' // fireAt · group key · id -> nothing
	KindTimeline Kind = 'l' // key -> newest event time, watermark, last arrival
	KindIdentity Kind = 'i' // device id -> identity
	KindTwin     Kind = 'w' // device id -> twin
	KindQueue    Kind = 'q' // device id · sequence -> command
	KindOutbox   Kind = 'o' // sequence -> record to append to the log
	KindMeta     Kind = 'm' // name -> the core's own scalars
)

const prefixLen = 3

// errKey is what the decoders of keys wrap.
var errKey = errors.New("malformed key")

// AppendPrefix appends stage and kind, three bytes.
func AppendPrefix(dst []byte, s Stage, k Kind) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(s)), byte(k))
}

// AppendInt64 appends v in eight bytes whose order as bytes is the numeric
// order, negative numbers first.
func AppendInt64(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(v)^(1<<63))
}

// Int64 is the inverse of AppendInt64; rest is what follows the number.
func Int64(key []byte) (v int64, rest []byte, err error) {
	if len(key) < 8 {
		return 0, nil, fmt.Errorf("%w: %d bytes where a number has 8", errKey, len(key))
	}
	return int64(binary.BigEndian.Uint64(key) ^ (1 << 63)), key[8:], nil
}

// AppendUint64 appends v in eight bytes, most significant first.
func AppendUint64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

// Uint64 is the inverse of AppendUint64.
func Uint64(key []byte) (v uint64, rest []byte, err error) {
	if len(key) < 8 {
		return 0, nil, fmt.Errorf("%w: %d bytes where a number has 8", errKey, len(key))
	}
	return binary.BigEndian.Uint64(key), key[8:], nil
}

// AppendString appends s so that the order of keys is the order of strings
// whatever follows: a zero byte becomes 00 FF, and 00 01 ends the string.
func AppendString(dst []byte, s string) []byte {
	for i := range len(s) {
		dst = append(dst, s[i])
		if s[i] == 0 {
			dst = append(dst, 0xFF)
		}
	}
	return append(dst, 0, 1)
}

// String is the inverse of AppendString.
func String(key []byte) (s string, rest []byte, err error) {
	var out []byte
	for i := 0; i+1 < len(key); i++ {
		switch {
		case key[i] != 0:
			out = append(out, key[i])
		case key[i+1] == 0xFF:
			out = append(out, 0)
			i++
		case key[i+1] == 1:
			return string(out), key[i+2:], nil
		default:
			return "", nil, fmt.Errorf("%w: 00 %02x in a string", errKey, key[i+1])
		}
	}
	return "", nil, fmt.Errorf("%w: string without end", errKey)
}

// PrefixEnd returns the smallest key above all keys that start with prefix, or
// nil when there is none: the upper bound of a scan or a range delete.
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xFF {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}
