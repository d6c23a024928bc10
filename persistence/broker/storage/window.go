package storage

import "time"

// window decides how long a build waits for more requests. When a commit has
// answered many callers at once they come back within a moment, and a sync for
// the first of them alone would make the others wait for two. A request that
// finds the log idle is never held up.
type window struct {
	until    time.Time // no build waits longer
	expected int       // requests that make waiting pointless

	held    bool // a build was held up since the last commit
	skip    int  // commits for which nothing is held up: it did not pay
	penalty int
}

const (
	// windowShare is the part of a sync that a build may wait.
	windowShare = 8
	maxWindow   = 2 * time.Millisecond
	// minWindow is not worth a timer.
	minWindow  = 20 * time.Microsecond
	maxPenalty = 64
)

// committed tells of a commit that ended just now, while waiting requests were
// in the next build already.
func (w *window) committed(r result, waiting int) {
	if w.held {
		w.held = false
		if r.ops*4 < w.expected*3 {
			w.penalty = min(max(2*w.penalty, 1), maxPenalty)
			w.skip = w.penalty
		} else {
			w.penalty = 0
		}
	}
	w.expected = 0
	d := min(r.took/windowShare, maxWindow)
	if r.err != nil || r.ops < 2 || d < minWindow {
		return
	}
	if w.skip > 0 {
		w.skip--
		return
	}
	w.expected = r.ops + waiting
	w.until = r.end.Add(d)
}

// wait returns how long a build of n requests should wait at most.
func (w *window) wait(n int, now time.Time) time.Duration {
	if w.expected == 0 || n >= w.expected {
		return 0
	}
	d := w.until.Sub(now)
	if d > 0 {
		w.held = true
	}
	return d
}
