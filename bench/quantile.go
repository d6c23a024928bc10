package bench

import (
	"math/bits"
	"slices"
	"time"
)

// latencies counts durations in buckets that are 1/32 of their value wide, in a
// fixed space.
type latencies struct {
	counts [64 * 32]int64
	n      int64
}

func (l *latencies) add(d time.Duration) {
	l.counts[bucketOf(d)]++
	l.n++
}

func bucketOf(d time.Duration) int {
	v := uint64(max(0, d))
	if v < 32 {
		return int(v)
	}
	e := bits.Len64(v) - 6 // v>>e has six bits
	return (e+1)*32 + int(v>>e&31)
}

// quantile returns the middle of the bucket that the q-th part falls into, 0
// without measurements.
func (l *latencies) quantile(q float64) time.Duration {
	rank := int64(q * float64(l.n))
	for i, c := range l.counts {
		if rank -= c; rank < 0 && c > 0 {
			if i < 32 {
				return time.Duration(i)
			}
			e := i/32 - 1
			return time.Duration(uint64(32+i%32)<<e + 1<<e/2)
		}
	}
	return 0
}

func (l *latencies) merge(o *latencies) {
	for i, c := range o.counts {
		l.counts[i] += c
	}
	l.n += o.n
}

// median returns the middle value, the upper of two.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
