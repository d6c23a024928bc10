package main

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the collector run less often than Go's default while the heap
// is far below its soft limit: most of what a node allocates is short-lived
// batches of records, and collecting them early is a tenth of its CPU time.
const gcPercent = 200

// limitMemory sets the soft limit that the collector keeps the heap under by
// running more often. What a user set in GOGC and GOMEMLIMIT stands.
func limitMemory(bytes int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" && bytes > 0 {
		debug.SetMemoryLimit(bytes)
	}
}
