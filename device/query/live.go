package query

import (
	"fmt"

	"github.com/gemello/gemello/device"
)

// EventKind is what an Event tells.
type EventKind uint8

// Kinds of events.
const (
	Added   EventKind = iota // a row that the answer did not hold
	Changed                  // a row that it held, as it is now
	Removed                  // a row that it held and holds no more
	Reset                    // all rows so far are void; those that hold are added anew
	Ready                    // the answer is complete as of now; what comes from here on are changes
	Cut                      // the last event: the answer is followed no further
)

var eventNames = [...]string{"added", "changed", "removed", "reset", "ready", "cut"}

// String returns the name of the event on the wire.
func (k EventKind) String() string { return eventNames[k] }

// Event is one step of a live query's answer.
type Event struct {
	Kind     EventKind
	Ref      device.Ref         // of a row
	Row      []byte             // JSON of Added and Changed
	Position device.LogPosition // a row's: what of its partition it reflects
	Reason   string             // of Reset and Cut
}

// CanFollow refuses queries whose answer is not a set of rows that come and go one
// by one. The error wraps device.ErrArgument.
func (q *Query) CanFollow() error {
	switch {
	case q.From == Jobs:
		return fmt.Errorf("%w: a live query reads devices or devices.modules, not %s", device.ErrArgument, q.From)
	case q.GroupBy != nil:
		return fmt.Errorf("%w: a live query can't have GROUP BY: its rows are devices or modules; leave it out and group what comes", device.ErrArgument)
	case q.Aggregates():
		return fmt.Errorf("%w: a live query can't have aggregates: its rows are devices or modules; leave them out and sum up what comes", device.ErrArgument)
	case q.Top > 0:
		return fmt.Errorf("%w: a live query can't have TOP: which rows those are would change with every other row; narrow the condition", device.ErrArgument)
	}
	return nil
}
