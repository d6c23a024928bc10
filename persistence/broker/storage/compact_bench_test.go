package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// BenchmarkCompaction runs a pass over 32 MiB of a compacted topic on disk in
// which nine of ten records have a newer one, while appends to another topic go
// on. It reports what an append waited at most and in the middle.
func BenchmarkCompaction(b *testing.B) {
	b.ReportAllocs()
	const batches, perBatch = 1024, 100
	value := strings.Repeat("v", 300)
	for b.Loop() {
		b.StopTimer()
		o := newClock().options(vfs.Default)
		o.Dir = b.TempDir()
		l := open(b, o)
		mustCreate(b, l, "t", 1, "cleanup.policy", "compact")
		mustCreate(b, l, "other", 1)
		for i := range batches {
			records := make([]kv, perBatch)
			for j := range records {
				records[j] = kv{key: fmt.Sprint((i*perBatch + j) % (batches * perBatch / 10)), value: value}
			}
			put(b, l, at("t", 0), keyed{}, "", records...)
		}
		stop, done := make(chan struct{}), make(chan []time.Duration)
		go func() {
			var waits []time.Duration
			for {
				select {
				case <-stop:
					done <- waits
					return
				default:
				}
				start := time.Now()
				put(b, l, at("other", 0), keyed{}, "", kv{key: "k", value: value})
				waits = append(waits, time.Since(start))
			}
		}()
		b.StartTimer()
		mustKeepUp(b, l)
		b.StopTimer()
		close(stop)
		waits := <-done
		reportWaits(b, waits)
		b.SetBytes(batches * perBatch * int64(len(value)))
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func reportWaits(b *testing.B, waits []time.Duration) {
	slices.Sort(waits)
	if n := len(waits); n > 0 {
		b.ReportMetric(float64(waits[n/2].Microseconds())/1000, "p50-ms/append")
		b.ReportMetric(float64(waits[n*99/100].Microseconds())/1000, "p99-ms/append")
		b.ReportMetric(float64(waits[n-1].Microseconds())/1000, "max-ms/append")
	}
}
