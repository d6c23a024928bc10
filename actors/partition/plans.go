package partition

import (
	"encoding/json"

	"github.com/gemello/gemello/windows"
)

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
		kept, cause := old[p.id], refused[d.Name]
		if kept != nil && !(kept.suspended && cause == "") {
			p = kept
			delete(old, p.id)
		} else {
			changed = true
			c.effects.Journal = append(c.effects.Journal, Entry{Position: c.position, Kind: EntryResume, Payload: []byte(p.id)})
		}
		if cause != "" && !p.suspended {
			changed = true
			if err := p.suspend(cause); err != nil {
				return false, err
			}
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
		c.drop(p.id)
		if err := p.release(); err != nil {
			return false, err
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
	if c.stamps && c.stamp != windows.Unset {
		c.effects.Journal = append(c.effects.Journal, Entry{Position: c.position, Kind: EntryArrival, Time: c.stamp})
	}
	c.unsaved++
	return true, nil
}

// drop makes the next Save delete a pipeline's state.
func (c *Pipelines) drop(id string) {
	c.dropped = append(c.dropped, pipelineKeyOf('w', id), pipelineKeyOf('t', id))
}

// suspend ends a pipeline's windows: it starts anew when it is no longer
// refused, so nothing is kept for it.
func (p *pipeline) suspend(cause string) error {
	if err := p.release(); err != nil {
		return err
	}
	p.suspended, p.cause, p.fresh = true, cause, true
	p.rewind.marks = nil
	return p.open()
}

// release gives back what the windows of a pipeline hold outside of it. Another
// run of the same query spills under the same keys.
func (p *pipeline) release() error {
	if p.op == nil {
		return nil
	}
	p.op.Release()
	if p.core.o.Scratch == nil {
		return nil
	}
	k := pipelineKeyOf('w', p.id)
	return p.core.o.Scratch.DeleteRange(k, prefixEnd(k))
}

// Close gives back the memory budget of a core that is thrown away.
func (c *Pipelines) Close() {
	for _, p := range c.pipes {
		if p.op != nil {
			p.op.Release()
		}
	}
}
