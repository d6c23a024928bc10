package windows

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Slices are stored as blocks of rows, sorted by group key:
//
//	version 1 | position (8) | columns (uvarint) | mode of each (1)
//	rows (uvarint), and for each row
//	  bytes shared with the key before (uvarint) | length of the rest (uvarint) | the rest
//	  its words (8 each, little endian; big endian elsewhere)
//	  for each wide column: min, then max, if it is a string: length (uvarint) | bytes
//
// Layouts of words are append-only: a new component takes a new version.
const (
	blockVersion = 1
	blockSize    = 32 << 10
)

// blockWriter encodes rows of one slice into blocks. Its buffers serve slice
// after slice.
type blockWriter struct {
	sh    *shape
	lay   *layout
	pos   int64
	body  []byte
	n     uint64
	last  []byte
	block []byte
	flush func(lastKey, block []byte) error
}

func (b *blockWriter) add(key string, w []uint64, t *texts) error {
	shared := 0
	if b.n > 0 {
		for shared < len(key) && shared < len(b.last) && key[shared] == b.last[shared] {
			shared++
		}
	}
	b.body = binary.AppendUvarint(b.body, uint64(shared))
	b.body = binary.AppendUvarint(b.body, uint64(len(key)-shared))
	b.body = append(b.body, key[shared:]...)
	at := len(b.body)
	b.body = slices.Grow(b.body, 8*len(w))[:at+8*len(w)]
	for i, x := range w {
		binary.LittleEndian.PutUint64(b.body[at+8*i:], x)
	}
	for i := range b.sh.cols {
		if c := &b.sh.cols[i]; b.lay.modes[i] == modeWide {
			b.body = c.appendTexts(b.body, w[b.lay.at[i]:], t)
		}
	}
	b.last = append(b.last[:0], key...)
	b.n++
	if len(b.body) >= blockSize {
		return b.end()
	}
	return nil
}

func (c *column) appendTexts(dst []byte, w []uint64, t *texts) []byte {
	text := func(s string) { dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...) }
	if c.parts&partMin != 0 && Kind(w[2]) == String {
		text(t.s[w[c.wide.min]])
	}
	if c.parts&partMax != 0 && Kind(w[2]>>metaMaxShift) == String {
		text(t.s[w[c.wide.max]])
	}
	return dst
}

// end writes the block under construction, if there is one.
func (b *blockWriter) end() error {
	if b.n == 0 {
		return nil
	}
	d := append(b.block[:0], blockVersion)
	d = binary.BigEndian.AppendUint64(d, uint64(b.pos))
	d = binary.AppendUvarint(d, uint64(len(b.lay.modes)))
	for _, m := range b.lay.modes {
		d = append(d, byte(m))
	}
	d = binary.AppendUvarint(d, b.n)
	b.block = append(d, b.body...)
	b.body, b.n = b.body[:0], 0
	return b.flush(b.last, b.block)
}

// blockRows is a decoded block: rows whose keys are ends in one buffer.
type blockRows struct {
	pos  int64
	rows rows // keys are not numbers here
	key  []byte
	ends []int
}

func (b *blockRows) name(i int) []byte {
	if i == 0 {
		return b.key[:b.ends[0]]
	}
	return b.key[b.ends[i-1]:b.ends[i]]
}

func badBlock(what string) error { return fmt.Errorf("block: %s: %w", what, ErrState) }

// decode replaces b by a block's content. Errors wrap ErrState.
func (b *blockRows) decode(sh *shape, p []byte) error {
	if len(p) < 9 || p[0] != blockVersion {
		return badBlock("unknown version")
	}
	b.pos = int64(binary.BigEndian.Uint64(p[1:]))
	p = p[9:]
	n, p, ok := uvarint(p)
	if !ok || n != uint64(len(sh.cols)) || uint64(len(p)) < n {
		return badBlock("it has other columns")
	}
	modes := make([]mode, n)
	for i := range modes {
		modes[i] = mode(p[i])
		if modes[i] > modeWide || sh.cols[i].parts == 0 && modes[i] != modeFloat {
			return badBlock("unknown mode")
		}
	}
	l := sh.layout(modes)
	n, p, ok = uvarint(p[n:])
	if !ok || n == 0 || n > uint64(len(p)) {
		return badBlock("number of rows")
	}
	b.rows.reset(l)
	b.key, b.ends = b.key[:0], b.ends[:0]
	for range n {
		var err error
		if p, err = b.decodeRow(sh, p); err != nil {
			return err
		}
	}
	if len(p) != 0 {
		return badBlock("bytes after the end")
	}
	return nil
}

func (b *blockRows) decodeRow(sh *shape, p []byte) ([]byte, error) {
	shared, p, ok := uvarint(p)
	if !ok {
		return nil, badBlock("truncated key")
	}
	rest, p, ok := uvarint(p)
	if !ok || rest > uint64(len(p)) {
		return nil, badBlock("truncated key")
	}
	var before []byte
	n := len(b.ends)
	if n > 0 {
		before = b.name(n - 1)
	}
	if shared > uint64(len(before)) {
		return nil, badBlock("key shares too much")
	}
	at := len(b.key)
	b.key = append(append(b.key, before[:shared]...), p[:rest]...)
	b.ends = append(b.ends, len(b.key))
	if n > 0 && bytes.Compare(before, b.key[at:]) >= 0 {
		return nil, badBlock("keys are not ascending")
	}
	p = p[rest:]
	l := b.rows.lay
	if len(p) < 8*l.stride {
		return nil, badBlock("truncated row")
	}
	w := b.rows.push(uint32(n))
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(p[8*i:])
	}
	p = p[8*l.stride:]
	if w[0] == 0 {
		return nil, badBlock("row without records")
	}
	for i := range sh.cols {
		if l.modes[i] != modeWide {
			continue
		}
		if p, ok = sh.cols[i].readTexts(w[l.at[i]:], &b.rows.texts, p); !ok {
			return nil, badBlock("damaged minimum or maximum")
		}
	}
	return p, nil
}

// readTexts checks the meta word and reads the strings of a wide column.
func (c *column) readTexts(w []uint64, t *texts, p []byte) ([]byte, bool) {
	const known = 0xffff | metaFloat | metaBigint
	if w[2]&^known != 0 || w[1] > w[0] {
		return nil, false
	}
	for _, e := range []struct {
		part  parts
		place int
		shift uint
	}{{partMin, c.wide.min, 0}, {partMax, c.wide.max, metaMaxShift}} {
		k := Kind(w[2] >> e.shift)
		if k > Bit || c.parts&e.part == 0 && k != Null {
			return nil, false
		}
		if k != String {
			continue
		}
		n, rest, ok := uvarint(p)
		if !ok || n > uint64(len(rest)) {
			return nil, false
		}
		w[e.place] = t.share(string(rest[:n]))
		p = rest[n:]
	}
	return p, true
}

func uvarint(p []byte) (uint64, []byte, bool) {
	n, used := binary.Uvarint(p)
	if used <= 0 {
		return 0, nil, false
	}
	return n, p[used:], true
}
