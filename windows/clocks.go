package windows

import (
	"math"
	"time"
)

// Clocks are the clocks of a timeline: the arrival clock A, the newest time M
// and the watermark W, which with a timeline a key is the floor's.
type Clocks struct{ Arrival, Newest, Watermark Tick }

// Clocks returns where the timeline stands.
func (t *Timeline) Clocks() Clocks {
	return Clocks{t.arrival, t.clock.newest, t.clock.mark}
}

// Reset sets the clocks and forgets all keys: a replay begins there.
func (t *Timeline) Reset(c Clocks) {
	t.arrival, t.clock = c.Arrival, clock{c.Newest, c.Watermark}
	clear(t.keys)
}

// Duration converts a span; spans beyond 292 years are cut.
func (t Tick) Duration() time.Duration {
	const most = math.MaxInt64 / 100
	return time.Duration(min(max(t, -most), most)) * 100
}
