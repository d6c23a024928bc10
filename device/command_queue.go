package device

import (
	"cmp"
	"fmt"
	"time"
)

// CommandQueue holds the commands of a device in the order in which they were
// sent. Its methods change no array that an earlier copy of the queue refers to,
// so a copy by assignment is a snapshot.
type CommandQueue struct {
	items []Command
}

// Len counts the commands that have not ended.
func (q *CommandQueue) Len() int { return len(q.items) }

// Commands returns the heads, oldest first; the caller must not change them.
func (q *CommandQueue) Commands() []Command { return q.items }

// Waiting counts the commands that can be delivered.
func (q *CommandQueue) Waiting() int {
	n := 0
	for i := range q.items {
		if !q.items[i].Locked() {
			n++
		}
	}
	return n
}

// Next returns when time alone will change the queue, zero if never.
func (q *CommandQueue) Next() time.Time {
	var next time.Time
	for i := range q.items {
		c := &q.items[i]
		at := c.Expires
		if c.Locked() {
			at = c.LockedUntil
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// Send adds a command that arrived at now; ErrQueueFull when there is no room.
func (q *CommandQueue) Send(c Command, now time.Time) error {
	if len(q.items) >= MaxCommands {
		return fmt.Errorf("%w: %d commands wait for the device", ErrQueueFull, len(q.items))
	}
	c.Enqueued = now
	switch latest := now.Add(MaxCommandTTL); {
	case c.Expires.IsZero():
		c.Expires = now.Add(CommandTTL)
	case c.Expires.After(latest):
		c.Expires = latest
	}
	c.MaxDeliveries, c.FeedbackTTL = cmp.Or(c.MaxDeliveries, MaxDeliveries), cmp.Or(c.FeedbackTTL, FeedbackTTL)
	c.Deliveries, c.Lock, c.Session, c.LockedUntil = 0, "", "", time.Time{}
	q.items = append(q.items[:len(q.items):len(q.items)], c)
	return nil
}

// Advance does what is due at now: locks time out, and what waits longer than
// it may has expired. A command under delivery does not expire: its device may
// be about to complete it.
func (q *CommandQueue) Advance(now time.Time) []EndedCommand {
	if next := q.Next(); next.IsZero() || next.After(now) {
		return nil
	}
	return q.filter(func(c *Command) CommandEnd {
		if c.Locked() && !c.LockedUntil.After(now) {
			if end := c.release(); end != "" {
				return end
			}
		}
		if !c.Locked() && !c.Expires.After(now) {
			return EndExpired
		}
		return ""
	})
}

// Receive locks the first commands that wait, up to max of them and up to size
// bytes, but at least one, and returns their heads. token makes the lock of the
// i-th, which is in force for the given time.
func (q *CommandQueue) Receive(session string, now time.Time, lock time.Duration, max, size int, token func(i int) string) []Command {
	var out []Command
	sum := 0
	q.filter(func(c *Command) CommandEnd {
		if c.Locked() || len(out) >= max || len(out) > 0 && sum+c.Size > size {
			return ""
		}
		sum += c.Size
		c.Deliveries++
		c.Lock, c.Session, c.LockedUntil = token(len(out)), session, now.Add(lock)
		out = append(out, *c)
		return ""
	})
	return out
}

// Settle ends a delivery; the error is ErrLockLost when the lock is not that of
// a delivery under way of the session.
func (q *CommandQueue) Settle(session, lock string, o Outcome) ([]EndedCommand, error) {
	found := false
	ended := q.filter(func(c *Command) CommandEnd {
		if lock == "" || c.Lock != lock || c.Session != session {
			return ""
		}
		found = true
		switch o {
		case OutcomeComplete:
			return EndSuccess
		case OutcomeReject:
			return EndRejected
		}
		return c.release()
	})
	if !found {
		return nil, fmt.Errorf("%w: %.64q", ErrLockLost, lock)
	}
	return ended, nil
}

// Release takes back what sessions other than the one that stays were given:
// their connections are lost. Polls have no session and keep their locks.
func (q *CommandQueue) Release(stays string) []EndedCommand {
	return q.filter(func(c *Command) CommandEnd {
		if !c.Locked() || c.Session == "" || c.Session == stays {
			return ""
		}
		return c.release()
	})
}

// Purge ends all commands.
func (q *CommandQueue) Purge() []EndedCommand {
	return q.filter(func(*Command) CommandEnd { return EndPurged })
}

// release puts a command back into the queue, unless it was delivered too often.
func (c *Command) release() CommandEnd {
	c.Lock, c.Session, c.LockedUntil = "", "", time.Time{}
	if c.Deliveries >= c.MaxDeliveries {
		return EndDeliveries
	}
	return ""
}

// filter calls f with a copy of each command and keeps those that f gives no end.
func (q *CommandQueue) filter(f func(*Command) CommandEnd) []EndedCommand {
	var ended []EndedCommand
	kept := make([]Command, 0, len(q.items))
	for _, c := range q.items {
		if end := f(&c); end != "" {
			ended = append(ended, EndedCommand{c, end})
		} else {
			kept = append(kept, c)
		}
	}
	q.items = kept
	return ended
}
