package devices

import "time"

// pacer spreads messages evenly over time: message k is due k/rate seconds after
// the start. It has no clock; the caller passes the time.
type pacer struct {
	start time.Time
	rate  float64 // messages a second, above 0
	taken int64
}

// maxCatchUp bounds what is due at once after a pause of the process: a burst
// that makes up for minutes is not what devices do.
const maxCatchUp = time.Second

// take returns how many messages are due at now, and when to come again.
func (p *pacer) take(now time.Time) (due int64, next time.Time) {
	late := now.Sub(p.at(p.taken))
	if late > maxCatchUp {
		p.start = p.start.Add(late - maxCatchUp)
	}
	if elapsed := now.Sub(p.start); elapsed >= 0 {
		due = max(int64(elapsed.Seconds()*p.rate)+1-p.taken, 0)
	}
	p.taken += due
	return due, p.at(p.taken)
}

// at is when message k is due.
func (p *pacer) at(k int64) time.Time {
	return p.start.Add(time.Duration(float64(k) / p.rate * float64(time.Second)))
}
