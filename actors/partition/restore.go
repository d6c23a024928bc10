package partition

import (
	"fmt"
	"slices"

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
		if !p.suspended {
			oldest, open := p.oldest()
			m := p.rewind.point(oldest, open, c.position, now)
			pc.Rewind, pc.RewindAt = m.offset, m.clocks
			pc.OpenWindows = p.openWindows()
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
// pipeline without saved clocks, or with those of an earlier run of the same
// query, began after that flush. What else the store holds is dropped.
func (c *Pipelines) Resume(defs []Definition, version uint64, checkpoint, saved []PipelineClock) error {
	err := c.restore(defs, version, checkpoint, func(p *pipeline, at *PipelineClock) error {
		for i := range saved {
			s := &saved[i]
			if s.ID != p.id || s.From != p.from || s.Suspended || p.suspended {
				continue
			}
			v, err := c.o.State.Get(pipelineKeyOf('t', p.id))
			if err != nil {
				return err
			}
			if err := p.decode(v); err != nil {
				return err
			}
			p.fresh = false
			if p.op != nil {
				return p.op.Load(c.o.State)
			}
		}
		return nil
	})
	for i := range saved {
		if !slices.ContainsFunc(c.pipes, func(p *pipeline) bool { return p.id == saved[i].ID }) {
			c.drop(saved[i].ID)
		}
	}
	return err
}

// Rebuild adds them without saved state and returns the offset that the replay
// must start from: each pipeline reads from its own rewind point on.
func (c *Pipelines) Rebuild(defs []Definition, version uint64, checkpoint []PipelineClock, position int64) (int64, error) {
	from := position
	err := c.restore(defs, version, checkpoint, func(p *pipeline, at *PipelineClock) error {
		p.begin = at.Rewind
		p.timeline.Reset(at.RewindAt)
		if !p.suspended {
			from = min(from, p.begin)
		}
		if p.op == nil {
			return nil
		}
		// Windows that had closed there are closed for late records, too.
		return p.op.Fire(at.RewindAt.Watermark, p.emitRow)
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
			got, open := p.timeline.Clocks(), p.openWindows()
			if got != want.Clocks || open != want.OpenWindows {
				return fmt.Errorf("pipeline %q: clocks %+v with %d open windows, the checkpoint has %+v with %d", p.def.Name, got, open, want.Clocks, want.OpenWindows)
			}
		}
	}
	return nil
}
