package partition

import (
	"encoding/binary"
	"fmt"

	"github.com/gemello/gemello/windows"
)

// Save writes all changes since the last Save or Resume.
func (c *Pipelines) Save(b windows.Batch) error {
	for _, k := range c.dropped {
		b.DeleteRange(k, prefixEnd(k))
	}
	c.dropped = nil
	for _, p := range c.pipes {
		if p.fresh { // an earlier run of the same query may have left state
			for _, kind := range []byte{'t', 'w'} {
				k := pipelineKeyOf(kind, p.id)
				b.DeleteRange(k, prefixEnd(k))
			}
			p.fresh = false
		}
		b.Set(pipelineKeyOf('t', p.id), p.encode(nil))
		if p.op != nil {
			if err := p.op.Save(b); err != nil {
				return fmt.Errorf("pipeline %q: %w", p.def.Name, err)
			}
		}
	}
	c.unsaved = 0
	return nil
}

// encode writes what a pipeline keeps beside its windows: version, first
// offset, rewind marks, timeline.
func (p *pipeline) encode(dst []byte) []byte {
	dst = append(dst, 1)
	dst = binary.AppendVarint(dst, p.from)
	dst = binary.AppendUvarint(dst, uint64(len(p.rewind.marks)))
	for _, m := range p.rewind.marks {
		for _, v := range [...]int64{m.offset, int64(m.clocks.Arrival), int64(m.clocks.Newest), int64(m.clocks.Watermark)} {
			dst = binary.AppendVarint(dst, v)
		}
	}
	return p.timeline.AppendBinary(dst)
}

func (p *pipeline) decode(b []byte) error {
	if len(b) == 0 || b[0] != 1 {
		return fmt.Errorf("%w: version of a pipeline", errCorrupt)
	}
	b = b[1:]
	bad := false
	next := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	p.from = next()
	count, n := binary.Uvarint(b)
	if bad || n <= 0 || count > uint64(len(b)) {
		return fmt.Errorf("%w: rewind marks of a pipeline", errCorrupt)
	}
	b = b[n:]
	p.rewind.marks = nil
	for range count {
		m := rewindMark{offset: next(), clocks: windows.Clocks{Arrival: windows.Tick(next()), Newest: windows.Tick(next()), Watermark: windows.Tick(next())}}
		p.rewind.marks = append(p.rewind.marks, m)
	}
	if bad {
		return fmt.Errorf("%w: rewind marks of a pipeline", errCorrupt)
	}
	return p.timeline.Restore(b)
}

// pipelineKeyOf is the prefix of a pipeline's keys in the store
// (docs/format/store.md): stage 2, kind, the first eight bytes of its hash, in
// which its id ends in hexadecimal.
func pipelineKeyOf(kind byte, id string) []byte {
	k := []byte{0, 2, kind}
	text := id[len(id)-16:]
	for i := 0; i < 16; i += 2 {
		k = append(k, unhex(text[i])<<4|unhex(text[i+1]))
	}
	return k
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

func prefixEnd(k []byte) []byte {
	end := append([]byte(nil), k...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
