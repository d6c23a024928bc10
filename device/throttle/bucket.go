package throttle

import (
	"sync/atomic"
	"time"
)

// Bucket holds what was taken from a rate: the time, in Unix nanoseconds, at
// which all of it is made up for (the generic cell rate algorithm). The zero
// Bucket is full.
type Bucket struct{ until atomic.Int64 }

// Take takes n, at most the rate's N, and returns 0; or it takes nothing and
// returns how long to wait until n can be taken.
func (b *Bucket) Take(r Rate, now time.Time, n int) time.Duration { return b.take(r, now, n, false) }

// Reserve takes n in any case and returns how long to wait before the event may
// happen: those who wait go one after the other.
func (b *Bucket) Reserve(r Rate, now time.Time, n int) time.Duration { return b.take(r, now, n, true) }

func (b *Bucket) take(r Rate, now time.Time, n int, always bool) time.Duration {
	if r.N == 0 || n <= 0 {
		return 0
	}
	at := now.UnixNano()
	cost := int64(r.each()) * int64(min(n, r.N))
	for {
		old := b.until.Load()
		until := max(old, at) + cost
		wait := time.Duration(until - at - int64(r.each())*int64(r.N))
		if wait > 0 && !always {
			return wait
		}
		if b.until.CompareAndSwap(old, until) {
			return max(wait, 0)
		}
	}
}

// full reports whether nothing is left to make up for.
func (b *Bucket) full(now time.Time) bool { return b.until.Load() <= now.UnixNano() }
