package windows

import (
	"errors"
	"fmt"
)

// Window is a tumbling or hopping window definition: the windows
// (E-Size, E] for every E = Origin + Offset + k*Hop, start exclusive and end
// inclusive (semantics 4.1). Hop equal to Size makes it tumbling. Hop may
// exceed Size (sampling) and need not divide it.
type Window struct {
	Size, Hop Tick
	// Offset shifts the edges, any sign.
	Offset Tick
	// Origin is the instant that edges are counted from. The dialect's default
	// is the constant Origin; the zero value is the Unix epoch.
	Origin Tick
	// StartInclusive turns the windows to [s, s+Size) for every
	// s = Origin + Offset + k*Hop, as other engines have them.
	StartInclusive bool
}

// ErrWindow is wrapped by the errors of Window.Validate.
var ErrWindow = errors.New("invalid window")

// MaxSpan bounds the size and the hop of a window and the tolerances of a
// policy, so that arithmetic on any instant cannot overflow.
const MaxSpan = 1000 * 366 * Day

// Validate reports what makes the definition unusable.
func (w *Window) Validate() error {
	switch {
	case w.Size <= 0 || w.Hop <= 0:
		return fmt.Errorf("size %d and hop %d must be positive: %w", w.Size, w.Hop, ErrWindow)
	case w.Size > MaxSpan || w.Hop > MaxSpan:
		return fmt.Errorf("size and hop must be at most %d days: %w", MaxSpan/Day, ErrWindow)
	case w.Origin < MinTick || w.Origin > MaxTick:
		return fmt.Errorf("origin must lie between %v and %v: %w", MinTick, MaxTick, ErrWindow)
	}
	return nil
}

// edges is a window definition reduced to arithmetic. A window is known by
// last, the greatest time it holds: it is (last-size, last] whichever edge is
// inclusive, since time is whole ticks. End-inclusive windows end at last,
// start-inclusive ones one tick later.
type edges struct {
	size, hop Tick
	ends      Tick // any last instant of a window
	starts    Tick // any instant just before the first of a window
	after     Tick // from last to the end: 0 or 1
}

func (w *Window) edges() edges {
	shift := w.Offset % w.Hop
	if shift < 0 {
		shift += w.Hop
	}
	e := edges{size: w.Size, hop: w.Hop, ends: w.Origin + shift}
	if w.StartInclusive {
		e.after = 1
		e.ends += w.Size - 1
	}
	e.starts = e.ends - w.Size
	return e
}

// firstLast is the smallest last of a window >= t.
func (e *edges) firstLast(t Tick) Tick { return e.ends + e.hop*ceilDiv(t-e.ends, e.hop) }

// lastUpTo is the greatest last of a window <= t.
func (e *edges) lastUpTo(t Tick) Tick { return e.ends + e.hop*floorDiv(t-e.ends, e.hop) }

// slice returns the bounds (lo, hi] of the slice that holds t: the timeline
// cut where some window starts or ends (semantics 8.1).
func (e *edges) slice(t Tick) (lo, hi Tick) {
	hi = e.firstLast(t)
	lo = hi - e.hop
	if s := e.starts + e.hop*ceilDiv(t-e.starts, e.hop); s != hi {
		hi, lo = min(hi, s), max(lo, s-e.hop)
	}
	return lo, hi
}

// windowsOf returns the lasts of the first and the final window that hold the
// slice (lo, hi]; there is none when first > final.
func (e *edges) windowsOf(lo, hi Tick) (first, final Tick) {
	return e.firstLast(hi), e.lastUpTo(lo + e.size)
}

// flip is the instant that divides the slices of the window ending with last
// into a front (slices that begin before it) and a back: the greatest multiple
// of the size on the aligned timeline. It depends on the window alone, so the
// order in which partials are merged does too (semantics 8.3).
func (e *edges) flip(last Tick) Tick { return e.ends + e.size*floorDiv(last-e.ends, e.size) }

// FirstEnd is the smallest end of a window that can hold t (semantics 4.3).
func (w *Window) FirstEnd(t Tick) Tick {
	e := w.edges()
	return e.firstLast(t) + e.after
}

// Ends appends to dst the ends of all windows that hold t, ascending; with a
// hop above the size there may be none.
func (w *Window) Ends(dst []Tick, t Tick) []Tick {
	e := w.edges()
	for last := e.firstLast(t); last < t+e.size; last += e.hop {
		dst = append(dst, last+e.after)
	}
	return dst
}

// Slice returns the bounds of the slice that holds t as (lo, hi] in ticks:
// the timeline cut where some window starts or ends, paired slices when the
// hop does not divide the size (semantics 8.1).
func (w *Window) Slice(t Tick) (lo, hi Tick) {
	e := w.edges()
	return e.slice(t)
}
