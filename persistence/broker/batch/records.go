package batch

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Record is one record of a batch. Slices point into the batch or into the
// decompressed block and are not to be changed.
type Record struct {
	Raw       []byte // as stored, with its length prefix
	Offset    int64
	Timestamp int64  // ms
	Key       []byte // nil: null
	Value     []byte // nil: null, a tombstone
	Headers   []byte // encoded: varint count, then the headers
}

// Records iterates over the records of b, which is one whole batch. A compressed
// block is decompressed to at most limit bytes. The iteration ends after an
// error.
func Records(b []byte, limit int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		h, err := Peek(b)
		if err != nil {
			yield(Record{}, err)
			return
		}
		block := b[HeaderBytes:h.Size()]
		if h.Codec() != None {
			if block, err = Decompress(h.Codec(), block, limit); err != nil {
				yield(Record{}, err)
				return
			}
		}
		for range h.Count {
			r, n, err := parseRecord(h, block)
			if err != nil {
				yield(Record{}, err)
				return
			}
			block = block[n:]
			if !yield(r, nil) {
				return
			}
		}
		if len(block) != 0 {
			yield(Record{}, fmt.Errorf("%w: %d bytes after the last", ErrRecords, len(block)))
		}
	}
}

// parseRecord decodes the record at the start of b and returns its size.
func parseRecord(h Header, b []byte) (Record, int, error) {
	size, n := binary.Varint(b)
	if n <= 0 || size < 0 || size > int64(len(b)-n) {
		return Record{}, 0, fmt.Errorf("%w: length of a record", ErrRecords)
	}
	end := n + int(size)
	r := Record{Raw: b[:end]}
	p := parser{b: b[n:end]}
	p.skip(1) // attributes, unused
	ts := p.varint()
	delta := p.varint()
	r.Key = p.bytes()
	r.Value = p.bytes()
	r.Headers = p.b
	for range p.count() {
		if p.bytes() == nil {
			p.bad = true // a header's key may not be null
		}
		p.bytes()
	}
	if p.bad || len(p.b) != 0 || delta < 0 || delta > int64(h.LastDelta) {
		return Record{}, 0, fmt.Errorf("%w: fields of a record", ErrRecords)
	}
	r.Offset = h.Base + delta
	r.Timestamp = h.timeOf(ts)
	return r, end, nil
}

// timeOf is the time of a record with the delta ts.
func (h Header) timeOf(ts int64) int64 {
	if h.AppendTime() {
		return h.MaxTimestamp
	}
	return h.FirstTimestamp + ts
}

// parser takes fields off the front of b; bad sticks.
type parser struct {
	b   []byte
	bad bool
}

func (p *parser) skip(n int) {
	if p.bad || n > len(p.b) {
		p.bad = true
		return
	}
	p.b = p.b[n:]
}

func (p *parser) varint() int64 {
	v, n := binary.Varint(p.b)
	if p.bad || n <= 0 {
		p.bad = true
		return 0
	}
	p.b = p.b[n:]
	return v
}

// count is a number of headers, each of which has at least two bytes.
func (p *parser) count() int64 {
	n := p.varint()
	if n < 0 || n > int64(len(p.b)/2) {
		p.bad = true
		return 0
	}
	return n
}

func (p *parser) bytes() []byte {
	n := p.varint()
	if p.bad || n < 0 {
		p.bad = p.bad || n != -1
		return nil
	}
	if n > int64(len(p.b)) {
		p.bad = true
		return nil
	}
	out := p.b[:n:n]
	p.b = p.b[n:]
	return out
}
