package store

import (
	"encoding/binary"
	"fmt"
)

// Applied says up to which point of its inputs a core's contents go. It is
// written by Flush together with the contents.
type Applied struct {
	Offset          int64  // next offset of the input partition to read
	JournalSeq      uint64 // sequence of the last journal entry applied
	JournalOffset   int64  // where replay of the journal starts
	SettingsVersion uint64 // version of settings and plans in force
	Term            string // term of the owner that flushed, for operators
	Extra           []byte // the core's own; at most 64 KiB
}

const (
	appliedVersion  = 1
	maxAppliedBytes = 64<<10 + 1<<10
)

// appendApplied encodes a (docs/format/store.md).
func appendApplied(dst []byte, a Applied) []byte {
	dst = append(dst, appliedVersion)
	dst = binary.AppendVarint(dst, a.Offset)
	dst = binary.AppendUvarint(dst, a.JournalSeq)
	dst = binary.AppendVarint(dst, a.JournalOffset)
	dst = binary.AppendUvarint(dst, a.SettingsVersion)
	dst = binary.AppendUvarint(dst, uint64(len(a.Term)))
	dst = append(dst, a.Term...)
	dst = binary.AppendUvarint(dst, uint64(len(a.Extra)))
	return append(dst, a.Extra...)
}

// decodeApplied is the inverse of appendApplied. Bytes after the last field
// are an error: within one version nothing is added.
func decodeApplied(b []byte) (Applied, error) {
	var a Applied
	if len(b) == 0 {
		return a, fmt.Errorf("%w: empty applied record", ErrCorrupt)
	}
	if b[0] != appliedVersion {
		return a, fmt.Errorf("%w: applied record of version %d", ErrFormat, b[0])
	}
	d := decoder{b: b[1:]}
	a.Offset = d.varint()
	a.JournalSeq = d.uvarint()
	a.JournalOffset = d.varint()
	a.SettingsVersion = d.uvarint()
	a.Term = string(d.bytes())
	if x := d.bytes(); len(x) > 0 {
		a.Extra = append([]byte(nil), x...)
	}
	if d.bad || len(d.b) > 0 {
		return Applied{}, fmt.Errorf("%w: applied record of %d bytes", ErrCorrupt, len(b))
	}
	return a, nil
}

// decoder reads fields one after the other; bad latches the first failure.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.bad || n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	x := d.b[:n]
	d.b = d.b[n:]
	return x
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.bad, d.b = true, nil
		return
	}
	d.b = d.b[n:]
}
