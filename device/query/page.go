package query

import (
	"encoding/binary"
	"fmt"

	"github.com/gemello/gemello/device"
)

// Cursor is how far a query has been answered: a partition and the last id, or
// the last group, that was looked at there. It holds under changes, since it
// names a place in an order and not a state. The zero value is the beginning.
type Cursor struct {
	Partition int32
	After     string
	Started   bool // of groups: After is the last group answered
	Rows      int  // rows answered so far, for TOP
}

// Page is a part of a query's answer.
type Page struct {
	Rows [][]byte // JSON
	Next *Cursor  // nil: that was all
	Plan Plan     // how it was answered
}

const cursorFormat = 1

// ErrCursor means bytes that are no cursor.
var ErrCursor = fmt.Errorf("%w: not a continuation of this query", device.ErrArgument)

// AppendBinary appends the cursor's bytes.
func (c *Cursor) AppendBinary(dst []byte) ([]byte, error) {
	started := byte(0)
	if c.Started {
		started = 1
	}
	dst = append(dst, cursorFormat, started)
	dst = binary.AppendUvarint(dst, uint64(c.Partition))
	dst = binary.AppendUvarint(dst, uint64(c.Rows))
	return append(dst, c.After...), nil
}

// UnmarshalBinary reads what AppendBinary wrote. The error is ErrCursor.
func (c *Cursor) UnmarshalBinary(b []byte) error {
	if len(b) < 2 || b[0] != cursorFormat || b[1] > 1 {
		return ErrCursor
	}
	started := b[1] == 1
	b = b[2:]
	var numbers [2]uint64
	for i := range numbers {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > maxTop {
			return ErrCursor
		}
		numbers[i], b = v, b[n:]
	}
	*c = Cursor{Partition: int32(numbers[0]), Rows: int(numbers[1]), After: string(b), Started: started}
	return nil
}
