package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// gcPercent lets the collector run less often than Go's default while the heap
// is far below its soft limit: most of what a node allocates is short-lived
// batches of records, and collecting them early is a tenth of its CPU time.
const gcPercent = 200

// limitMemory sets the soft limit that the collector keeps the heap under by
// running more often. Where what is in use needs more than the limit leaves
// room for, the limit follows it until ctx ends: a collector that runs all the
// time would free nothing. What a user set in GOGC and GOMEMLIMIT stands.
func limitMemory(ctx context.Context, bytes int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" || bytes <= 0 {
		return
	}
	debug.SetMemoryLimit(bytes)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		last := bytes
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			metrics.Read(live)
			if want := memoryLimit(bytes, int64(live[0].Value.Uint64())); want != last {
				debug.SetMemoryLimit(want)
				last = want
			}
		}
	}()
}

// memoryLimit leaves the heap half of what is in use as room for garbage, in
// steps so that it does not change all the time.
func memoryLimit(least, live int64) int64 {
	const step = 16 << 20
	return max(least, (live+live/2+step-1)/step*step)
}
