package partition

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/gemello/gemello/windows"
)

// PipelineClock is what a checkpoint holds of one pipeline.
type PipelineClock struct {
	ID          string
	From        int64
	Clocks      windows.Clocks
	Rewind      int64
	RewindAt    windows.Clocks
	OpenWindows uint64
	Suspended   bool
	Reason      string
}

// Clock returns the pipelines' clocks and the settings version that they are of,
// for a checkpoint.
func (c *Pipelines) Clock() (clocks []PipelineClock, version uint64) {
	clocks = make([]PipelineClock, len(c.pipes))
	for i, p := range c.pipes {
		now := p.timeline.Clocks()
		pc := PipelineClock{
			ID: p.id, From: p.from, Clocks: now, Rewind: c.position, RewindAt: now,
			Suspended: p.suspended, Reason: p.cause,
		}
		if p.op != nil && !p.suspended {
			oldest, open := p.op.Oldest()
			m := p.rewind.point(oldest, open, c.position, now)
			pc.Rewind, pc.RewindAt = m.offset, m.clocks
			pc.OpenWindows = uint64(p.op.OpenWindows())
		}
		clocks[i] = pc
	}
	return clocks, c.version
}

// Watermark returns a pipeline's watermark, or Unset.
func (c *Pipelines) Watermark(name string) windows.Tick {
	for _, p := range c.pipes {
		if p.def.Name == name {
			return p.timeline.Watermark(nil)
		}
	}
	return windows.Unset
}

// Resume adds the pipelines that a checkpoint names and the definitions still
// hold, with the state of a store that was flushed when the saved clocks held. A
// pipeline without saved clocks began after that flush.
func (c *Pipelines) Resume(defs []Definition, version uint64, checkpoint, saved []PipelineClock) error {
	return c.restore(defs, version, checkpoint, func(p *pipeline, at *PipelineClock) error {
		for i := range saved {
			if saved[i].ID != p.id {
				continue
			}
			v, err := c.o.State.Get(pipelineKeyOf('t', p.id))
			if err != nil {
				return err
			}
			if err := p.decode(v); err != nil {
				return err
			}
			if p.op != nil {
				return p.op.Load(c.o.State)
			}
		}
		return nil
	})
}

// Rebuild adds them without saved state and returns the offset that the replay
// must start from: each pipeline reads from its own rewind point on.
func (c *Pipelines) Rebuild(defs []Definition, version uint64, checkpoint []PipelineClock, position int64) (int64, error) {
	from := position
	err := c.restore(defs, version, checkpoint, func(p *pipeline, at *PipelineClock) error {
		p.from = max(p.from, at.Rewind)
		p.timeline.Reset(at.RewindAt)
		if !p.suspended {
			from = min(from, p.from)
		}
		return nil
	})
	c.position = from
	return from, err
}

func (c *Pipelines) restore(defs []Definition, version uint64, checkpoint []PipelineClock, fill func(*pipeline, *PipelineClock) error) error {
	c.version = version
	for i := range checkpoint {
		at := &checkpoint[i]
		for _, d := range defs {
			p, err := c.newPipeline(d, at.From)
			if err != nil {
				return err
			}
			if p.id != at.ID {
				continue
			}
			p.suspended, p.cause = at.Suspended, at.Reason
			if err := fill(p, at); err != nil {
				return fmt.Errorf("pipeline %q: %w", d.Name, err)
			}
			if p.stamped() {
				c.stamp = max(c.stamp, p.timeline.Arrival()) // the stamp in force there
			}
			c.pipes = append(c.pipes, p)
		}
	}
	c.rescan()
	return nil
}

// Check compares the pipelines with the clocks of a checkpoint at the present
// position; a difference means that the saved state is not that of the log.
func (c *Pipelines) Check(checkpoint []PipelineClock) error {
	for i := range checkpoint {
		want := &checkpoint[i]
		for _, p := range c.pipes {
			if p.id != want.ID || p.suspended {
				continue
			}
			got := p.timeline.Clocks()
			open := uint64(0)
			if p.op != nil {
				open = uint64(p.op.OpenWindows())
			}
			if got != want.Clocks || open != want.OpenWindows {
				return fmt.Errorf("pipeline %q: clocks %+v with %d open windows, the checkpoint has %+v with %d", p.def.Name, got, open, want.Clocks, want.OpenWindows)
			}
		}
	}
	return nil
}

// Switch makes the pipelines those of the definitions: one whose definition and
// plan are the same goes on, a changed or new one starts at the present
// position, others are dropped with their state. The names in refused are
// suspended for the reason given; a suspended one that is no longer refused
// starts anew. It reports whether anything changed. The host makes it a barrier.
func (c *Pipelines) Switch(defs []Definition, version uint64, refused map[string]string) (bool, error) {
	old := map[string]*pipeline{}
	for _, p := range c.pipes {
		old[p.id] = p
	}
	var next []*pipeline
	changed := false
	for _, d := range defs {
		p, err := c.newPipeline(d, c.position)
		if err != nil {
			return false, err
		}
		kept := old[p.id]
		if kept != nil && !(kept.suspended && refused[d.Name] == "") {
			p = kept
			delete(old, p.id)
		} else {
			changed = true
		}
		if cause := refused[d.Name]; cause != "" && !p.suspended {
			p.suspended, p.cause, changed = true, cause, true
			c.effects.Journal = append(c.effects.Journal, Entry{Position: c.position, Kind: EntrySuspend, Payload: []byte(p.id)})
		}
		next = append(next, p)
	}
	changed = changed || len(old) > 0
	if !changed {
		c.version = version
		return false, nil
	}
	for _, p := range old {
		c.dropped = append(c.dropped, pipelineKeyOf('w', p.id), pipelineKeyOf('t', p.id))
		if p.op != nil {
			p.op.Release()
		}
	}
	c.pipes, c.version = next, version
	c.rescan()
	ids := make([]string, len(next))
	for i, p := range c.pipes {
		ids[i] = p.id
	}
	names, err := json.Marshal(ids)
	if err != nil {
		return false, err
	}
	c.effects.Journal = append(c.effects.Journal, Entry{Position: c.position, Kind: EntryPlans, Payload: names})
	c.unsaved++
	return true, nil
}

// Close gives back the memory budget of a core that is thrown away.
func (c *Pipelines) Close() {
	for _, p := range c.pipes {
		if p.op != nil {
			p.op.Release()
		}
	}
}

// Save writes all changes since the last Save or Resume.
func (c *Pipelines) Save(b windows.Batch) error {
	for _, k := range c.dropped {
		b.DeleteRange(k, prefixEnd(k))
	}
	c.dropped = nil
	for _, p := range c.pipes {
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
// offset, dirty grid, rewind marks, timeline.
func (p *pipeline) encode(dst []byte) []byte {
	dst = append(dst, 1)
	dst = binary.AppendVarint(dst, p.from)
	dst = binary.AppendVarint(dst, int64(p.dirtyAt))
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
	p.from, p.dirtyAt = next(), windows.Tick(next())
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

// pipelineKey is the prefix of a pipeline's keys in the store
// (docs/format/store.md): stage 2, kind, the first eight bytes of its hash.
func pipelineKey(kind byte, hash [32]byte) []byte { return append([]byte{0, 2, kind}, hash[:8]...) }

// pipelineKeyOf is pipelineKey for an id, which ends in the same eight bytes in
// hexadecimal.
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
