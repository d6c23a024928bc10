package actors

import (
	"time"

	"github.com/gemello/gemello/windows"
)

// arrivalClock estimates how far the arrival clock of an idle partition has
// come (semantics 3.1): the last arrival plus the time elapsed since it was
// seen, measured on the monotonic clock that time.Time carries, and never more
// than the wall clock less the smallest skew seen lately (3.3).
type arrivalClock struct {
	last   windows.Tick // arrival of the newest record
	seen   time.Time    // when it was seen
	known  bool
	skew   time.Duration // smallest wall − arrival of the current window
	since  time.Time     // when that window of a minute began
	primed bool          // skew holds a measurement
}

// resume starts from a checkpoint that was written at wall time at: the time
// that the node was down counts as elapsed.
func (c *arrivalClock) resume(last windows.Tick, now, at time.Time) {
	if last == windows.Unset {
		return
	}
	down := max(0, now.Sub(at))
	c.last, c.seen, c.known = last+windows.Tick(down/100), now, true
}

// observe notes the arrival of a fresh record.
func (c *arrivalClock) observe(arrival windows.Tick, now time.Time) {
	c.last, c.seen, c.known = arrival, now, true
	skew := now.Sub(arrival.Time())
	if !c.primed || skew < c.skew || now.Sub(c.since) > time.Minute {
		if !c.primed || now.Sub(c.since) > time.Minute {
			c.since = now
		}
		c.skew, c.primed = skew, true
	}
}

// estimate returns the arrival clock at now; before any record was read it is
// the wall clock, so that an always-empty partition blocks nothing.
func (c *arrivalClock) estimate(now time.Time) windows.Tick {
	wall := windows.TickOf(now)
	if !c.known {
		return wall
	}
	est := c.last + windows.Tick(max(0, now.Sub(c.seen))/100)
	if c.primed {
		wall = windows.TickOf(now.Add(-c.skew))
	}
	return min(est, max(wall, c.last))
}
