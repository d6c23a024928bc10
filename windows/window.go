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
	// StartInclusive turns the edges to [E-Size, E), as other engines have
	// them.
	StartInclusive bool
}

// ErrWindow is wrapped by the errors of Window.Validate.
var ErrWindow = errors.New("invalid window")

// MaxSpan bounds the size and the hop of a window, so that edge arithmetic
// cannot overflow for any instant.
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
