package partition

import (
	"fmt"

	"github.com/gemello/gemello/windows"
)

// dirtyEvery is the grid of the arrival clock on which revised rows are emitted
// (semantics 5.3).
const dirtyEvery = 500 * windows.Millisecond

// fire closes what the watermark has passed: with a timeline a key, first that
// key's windows, then what the floor has passed.
func (p *pipeline) fire(over []byte) error {
	if p.op == nil {
		return nil
	}
	if over != nil {
		if err := p.op.FireKey(over, p.timeline.Watermark(over), p.emitRow); err != nil {
			return fmt.Errorf("pipeline %q: %w", p.def.Name, err)
		}
	}
	if err := p.op.Fire(p.timeline.Watermark(nil), p.emitRow); err != nil {
		return fmt.Errorf("pipeline %q: %w", p.def.Name, err)
	}
	return nil
}

// revise emits what late records changed when the arrival clock, about to move
// to a, crosses a multiple of dirtyEvery. What arrives there comes after it.
func (p *pipeline) revise(a windows.Tick) error {
	if !p.crosses(a) {
		return nil
	}
	if err := p.op.FireDirty(p.emitRow); err != nil {
		return fmt.Errorf("pipeline %q: %w", p.def.Name, err)
	}
	return nil
}

// crosses reports whether the arrival clock at a is due for revisions, if there
// are any.
func (p *pipeline) crosses(a windows.Tick) bool {
	if !p.accepts || p.op == nil {
		return false
	}
	now := p.timeline.Arrival()
	return now != windows.Unset && dirtyGrid(a) > dirtyGrid(now)
}

// dirtyGrid is the newest multiple of dirtyEvery at or before a.
func dirtyGrid(a windows.Tick) windows.Tick {
	return a - ((a%dirtyEvery)+dirtyEvery)%dirtyEvery
}

// due reports whether the arrival clock at a would close a window or emit a
// revision.
func (p *pipeline) due(a windows.Tick) bool {
	if p.suspended || p.op == nil || a <= p.timeline.Arrival() {
		return false
	}
	if p.crosses(a) && p.op.Dirty() {
		return true
	}
	w := a
	if p.query.Timestamp != nil {
		w = a - p.def.Late
	}
	return p.op.Due(w)
}
