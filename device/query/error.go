package query

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gemello/gemello/device"
)

// Error says what is wrong with a query and where. It wraps device.ErrArgument.
type Error struct {
	Offset  int // bytes from the start of the text
	Line    int // from 1
	Column  int // from 1, in characters
	Message string
}

// Error gives the place and what would be right there.
func (e *Error) Error() string {
	return fmt.Sprintf("query: line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Unwrap makes an invalid query an invalid argument.
func (e *Error) Unwrap() error { return device.ErrArgument }

func errorAt(text string, offset int, format string, args ...any) *Error {
	before := text[:min(offset, len(text))]
	line := strings.Count(before, "\n")
	start := strings.LastIndexByte(before, '\n') + 1
	return &Error{
		Offset: offset, Line: line + 1, Column: utf8.RuneCountInString(before[start:]) + 1,
		Message: fmt.Sprintf(format, args...),
	}
}
