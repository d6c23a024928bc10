package device

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Versions of the stored forms (docs/format/device-state.md).
const (
	queueFormat   = 2
	contentFormat = 1
)

// AppendBinary appends the stored form of the queue's heads.
func (q *CommandQueue) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, queueFormat)
	dst = binary.AppendUvarint(dst, uint64(len(q.items)))
	for i := range q.items {
		c := &q.items[i]
		dst = binary.AppendUvarint(dst, uint64(c.Sequence))
		dst = appendText(dst, c.MessageID)
		dst = append(dst, byte(c.Ack))
		dst = binary.AppendUvarint(dst, uint64(c.Size))
		dst = binary.AppendUvarint(dst, uint64(ticks(c.Enqueued)))
		dst = binary.AppendUvarint(dst, uint64(ticks(c.Expires)))
		dst = binary.AppendUvarint(dst, uint64(c.Deliveries))
		dst = binary.AppendUvarint(dst, uint64(c.MaxDeliveries))
		dst = binary.AppendUvarint(dst, uint64(c.FeedbackTTL/time.Millisecond))
		dst = appendText(dst, c.Lock)
		dst = appendText(dst, c.Session)
		dst = binary.AppendUvarint(dst, uint64(ticks(c.LockedUntil)))
	}
	return dst, nil
}

// UnmarshalBinary reads what AppendBinary wrote. The error wraps ErrCorrupt.
func (q *CommandQueue) UnmarshalBinary(b []byte) error {
	d := decoder{in: string(b)}
	if d.byte() != queueFormat {
		d.fail()
	}
	n := d.uint()
	if n > MaxCommands {
		d.fail()
	}
	items := make([]Command, 0, min(n, MaxCommands))
	for range n {
		if d.bad {
			break
		}
		c := Command{Sequence: d.positive(), MessageID: d.string(), Ack: Ack(d.byte()), Size: int(d.positive())}
		c.Enqueued, c.Expires = d.time(), d.time()
		c.Deliveries = int(d.positive())
		c.MaxDeliveries = int(d.positive())
		ms := d.positive()
		c.FeedbackTTL = time.Duration(ms) * time.Millisecond
		c.Lock, c.Session, c.LockedUntil = d.string(), d.string(), d.time()
		if c.Ack > AckFull || c.MaxDeliveries > maxDeliveries || ms > MaxCommandTTL.Milliseconds() {
			d.fail()
		}
		items = append(items, c)
	}
	if d.bad || d.in != "" {
		return fmt.Errorf("command queue of %d bytes: %w", len(b), ErrCorrupt)
	}
	q.items = items
	return nil
}

// AppendBinary appends the stored form of the content.
func (c *Content) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, contentFormat)
	dst = appendText(dst, c.Bag)
	return append(dst, c.Body...), nil
}

// UnmarshalBinary reads what AppendBinary wrote; it keeps no reference to b. The
// error wraps ErrCorrupt.
func (c *Content) UnmarshalBinary(b []byte) error {
	d := decoder{in: string(b)}
	if d.byte() != contentFormat {
		d.fail()
	}
	bag := d.string()
	if d.bad {
		return fmt.Errorf("content of a command of %d bytes: %w", len(b), ErrCorrupt)
	}
	c.Bag, c.Body = bag, []byte(d.in)
	return nil
}
