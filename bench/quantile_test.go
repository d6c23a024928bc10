package bench

import (
	"testing"
	"time"
)

func TestQuantilesAreWithinABucketOfTheTruth(t *testing.T) {
	var l latencies
	for i := range 10_000 {
		l.add(time.Duration(i+1) * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 5 * time.Millisecond, 0.99: 9900 * time.Microsecond, 0.001: 11 * time.Microsecond} {
		got := l.quantile(q)
		if d := float64(got-want) / float64(want); d > 0.04 || d < -0.04 {
			t.Errorf("quantile %v is %s, want %s", q, got, want)
		}
	}
	if got := (&latencies{}).quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing is %s", got)
	}
}

func TestBucketsCoverAllDurations(t *testing.T) {
	last := -1
	for _, d := range []time.Duration{-1, 0, 31, 32, 63, 64, 65, time.Second, time.Hour, 1<<63 - 1} {
		b := bucketOf(d)
		if b < last {
			t.Errorf("bucket of %d is %d, below %d", d, b, last)
		}
		last = b
	}
	if last >= len((&latencies{}).counts) {
		t.Errorf("bucket %d is outside", last)
	}
}
