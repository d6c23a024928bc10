package sql

import "github.com/gemello/gemello/windows"

// MaxRowErrors bounds the errors that one row reports.
const MaxRowErrors = 16

// Counts are what went on as NULL instead of failing (semantics 6.6).
type Counts struct {
	// DivisionsByZero and Overflows became NULL: divisors of zero, and results
	// outside bigint, float, datetime or the length of a string.
	DivisionsByZero, Overflows int
}

// An Env is what the expressions of one query see: a record, or a result of
// a window. It belongs to one goroutine.
type Env struct {
	// Timestamp is System.Timestamp(): the record's time after the policies,
	// which the caller sets once it knows it and which is the arrival time
	// until then, or the end of the window.
	Timestamp windows.Tick
	// Start is the start of the window.
	Start windows.Tick
	// Errors are those of the row at hand, at most MaxRowErrors. A row with
	// errors belongs into the dead-letter topic, not into the result.
	Errors []RowError
	// Counts go up until the caller takes them.
	Counts Counts

	query    *Query
	envelope *Envelope
	values   []windows.Value // of the scanner, by slot
	index    []int32         // slot of each of the query's fields
	keys     []windows.Value
	results  []windows.Value
	stack    []windows.Value // arguments of the calls under way
	fixed    []fixed         // by output
}

// reset starts a new record.
func (e *Env) reset(env *Envelope) {
	e.envelope = env
	e.Timestamp = env.Enqueued
	e.Errors = e.Errors[:0]
}

// column returns the i-th field of the query.
func (e *Env) column(i int) windows.Value { return e.values[e.index[i]] }

// fail notes a row error and returns NULL.
func (e *Env) fail(x expr, v windows.Value, reason string) windows.Value {
	if len(e.Errors) < MaxRowErrors {
		e.Errors = append(e.Errors, RowError{printExpr(x), v, reason})
	}
	return windows.Value{}
}

func (e *Env) overflow() windows.Value {
	e.Counts.Overflows++
	return windows.Value{}
}
