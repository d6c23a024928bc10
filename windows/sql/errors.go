package sql

import (
	"fmt"

	"github.com/gemello/gemello/windows"
)

// Pos is a place in the text of a query. Line and Column count from 1; Column
// counts characters.
type Pos struct{ Line, Column int }

// Error says where a text is not a query that can run, and why.
type Error struct {
	Line, Column int
	Msg          string
	// Expected says what may stand there or what to do; it may be empty.
	Expected string
}

// Error formats as one line: "line L, column C: …, expected …".
func (e *Error) Error() string {
	if e.Expected == "" {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Msg)
	}
	return fmt.Sprintf("line %d, column %d: %s, expected %s", e.Line, e.Column, e.Msg, e.Expected)
}

func errorAt(p Pos, expected, format string, args ...any) *Error {
	return &Error{Line: p.Line, Column: p.Column, Msg: fmt.Sprintf(format, args...), Expected: expected}
}

func unsupported(p Pos, what string) *Error {
	return errorAt(p, "", "not supported yet: %s", what)
}

// DataError says why a record can't be read at all. It goes to the
// dead-letter topic and the partition goes on.
type DataError struct {
	Reason string
	// Offset is the byte of the payload at which reading stopped.
	Offset int
}

func (e *DataError) Error() string {
	return fmt.Sprintf("payload byte %d: %s", e.Offset, e.Reason)
}

// RowError says which expression failed for a row, on which value and why.
type RowError struct {
	// Expr is the text of the expression.
	Expr string
	// Value is the value that it failed on. It may alias the record.
	Value  windows.Value
	Reason string
}

func (e *RowError) Error() string { return e.Expr + ": " + e.Reason }
