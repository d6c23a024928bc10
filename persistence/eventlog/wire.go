package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrCorrupt marks bytes that are not what their format says.
var ErrCorrupt = errors.New("corrupt record")

// The durable formats share four shapes: a byte; u, an unsigned LEB128 varint;
// s, a zigzag varint; str, a u length and that many bytes. A record begins with
// its version and ends with the CRC-32C of all before, big-endian. Only the
// shortest varints are accepted, so that equal values have equal bytes.

const crcSize = 4

func crc(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func appendStr(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// seal appends the checksum of b from start on.
func seal(b []byte, start int) []byte {
	return binary.BigEndian.AppendUint32(b, crc(b[start:]))
}

// wire reads a record from front to back. After the first error all reads
// return zeros; callers look at err once, before they act on what they read.
type wire struct {
	what string
	all  []byte
	b    []byte
	err  error
}

// openWire checks version and checksum of a record.
func openWire(what string, version byte, b []byte) *wire {
	w := &wire{what: what, all: b, b: b}
	if len(b) < 1+crcSize {
		w.fail("%d bytes are too few", len(b))
		return w
	}
	if b[0] != version {
		w.fail("version %d, want %d: written by another release", b[0], version)
		return w
	}
	body := b[:len(b)-crcSize]
	if got, want := crc(body), binary.BigEndian.Uint32(b[len(body):]); got != want {
		w.fail("checksum is %08x, want %08x", got, want)
		return w
	}
	w.b = body[1:]
	return w
}

func (w *wire) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("%s at byte %d: %s: %w", w.what, len(w.all)-len(w.b), fmt.Sprintf(format, args...), ErrCorrupt)
		w.b = nil
	}
}

// end returns the first error; bytes that are left are one.
func (w *wire) end() error {
	if w.err == nil && len(w.b) > 0 {
		w.fail("%d bytes too many", len(w.b))
	}
	return w.err
}

func (w *wire) byte() byte {
	if len(w.b) == 0 {
		w.fail("ends early")
		return 0
	}
	v := w.b[0]
	w.b = w.b[1:]
	return v
}

func (w *wire) u() uint64 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 || n > 1 && w.b[n-1] == 0 {
		w.fail("bad varint")
		return 0
	}
	w.b = w.b[n:]
	return v
}

func (w *wire) s() int64 {
	v := w.u()
	return int64(v>>1) ^ -int64(v&1)
}

// take returns the next n bytes, shared with the record.
func (w *wire) take(n uint64) []byte {
	if n > uint64(len(w.b)) {
		w.fail("length %d is beyond the end", n)
		return nil
	}
	v := w.b[:n:n]
	w.b = w.b[n:]
	return v
}

func (w *wire) str() string { return string(w.take(w.u())) }

// count reads the number of things that take at least size bytes each, so that
// a wrong number can't make the reader reserve memory that the record does not
// justify.
func (w *wire) count(size int) int {
	n := w.u()
	if n > uint64(len(w.b)/size) {
		w.fail("count %d is beyond the end", n)
		return 0
	}
	return int(n)
}

// flags reads a byte of which only the bits in known may be set.
func (w *wire) flags(known byte) byte {
	v := w.byte()
	if v&^known != 0 {
		w.fail("unknown flags %08b", v)
	}
	return v
}
