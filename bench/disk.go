package bench

import (
	"fmt"
	"io"
	"os"
	"time"
)

// diskSync prints what it takes to append size bytes to a file in dir and make
// them durable, one at a time: the least that an acknowledgement which survives
// a power failure can take. It returns the median.
func diskSync(dir string, size int, out io.Writer) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var lat latencies
	b := make([]byte, size)
	const syncs = 2000
	for range syncs {
		start := time.Now()
		if _, err := f.Write(b); err != nil {
			return 0, fmt.Errorf("measure the disk: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("measure the disk: %w", err)
		}
		lat.add(time.Since(start))
	}
	report(out, "DiskSync", syncs, micros(lat.quantile(0.5)), "p50-µs", micros(lat.quantile(0.99)), "p99-µs")
	return lat.quantile(0.5), nil
}
