package device

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// LogPosition is a place in a partition of the device log.
type LogPosition struct {
	Partition int32
	Next      int64 // offset of the first record that is not reflected
}

// maxPositions bounds the positions of one text; a log has no more partitions.
const maxPositions = 4096

// ParsePositions reads "P:O[,P:O…]"; "" gives none. The error wraps ErrArgument.
func ParsePositions(text string) ([]LogPosition, error) {
	if text == "" {
		return nil, nil
	}
	var out []LogPosition
	for part := range strings.SplitSeq(text, ",") {
		left, right, ok := strings.Cut(strings.TrimSpace(part), ":")
		p, err := strconv.ParseInt(left, 10, 32)
		next, err2 := strconv.ParseInt(right, 10, 64)
		if !ok || err != nil || err2 != nil || p < 0 || next < 0 || len(out) == maxPositions {
			return nil, fmt.Errorf("%w: log position %.40q, a position is PARTITION:OFFSET[,…]", ErrArgument, text)
		}
		out = append(out, LogPosition{int32(p), next})
	}
	return out, nil
}

// Positions collects what of the log an answer reflects. It is safe for
// concurrent use.
type Positions struct {
	mu sync.Mutex // guards at
	at map[int32]int64
}

type positionsKey struct{}

// WithPositions returns a context in which those who read or change devices note
// what their answer reflects.
func WithPositions(ctx context.Context, p *Positions) context.Context {
	return context.WithValue(ctx, positionsKey{}, p)
}

// NotePosition notes a position if the context collects them. Of several of a
// partition the oldest counts, which all parts of the answer reflect.
func NotePosition(ctx context.Context, p LogPosition) {
	c, ok := ctx.Value(positionsKey{}).(*Positions)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[int32]int64{}
	}
	if old, ok := c.at[p.Partition]; !ok || p.Next < old {
		c.at[p.Partition] = p.Next
	}
}

// String returns the positions in order of the partitions as ParsePositions
// reads them.
func (c *Positions) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	parts := make([]int32, 0, len(c.at))
	for p := range c.at {
		parts = append(parts, p)
	}
	slices.Sort(parts)
	var b []byte
	for i, p := range parts {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(p), 10)
		b = append(b, ':')
		b = strconv.AppendInt(b, c.at[p], 10)
	}
	return string(b)
}
