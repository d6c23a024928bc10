package bench

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/gemello/gemello/persistence/store"
	"github.com/gemello/gemello/windows"
)

// OverlapOptions describe a run of windows that overlap more and more.
type OverlapOptions struct {
	Dir     string // of the stores; empty: the system's temporary directory
	Devices int    // 0: 1000, each sending once a hop
	Hop     time.Duration
	Sizes   []time.Duration
	Records int64 // measured a run, after the first full window; 0: 1 M
	Rounds  int   // 0: 5, sizes in turn
}

// Overlap prints what a record costs when it falls into ever more windows. Each
// device sends once a hop, so that every size makes as many rows as records. It
// does so for the core alone and for the core with flushes of its state, of
// which longer windows have more: those of the size of a few seconds are gone
// before a flush comes.
func Overlap(ctx context.Context, o OverlapOptions, out io.Writer) error {
	orDefault(&o.Devices, 1000)
	orDefault(&o.Hop, 5*time.Second)
	orDefault(&o.Records, 1_000_000)
	orDefault(&o.Rounds, 5)
	if len(o.Sizes) == 0 {
		o.Sizes = []time.Duration{5 * time.Second, time.Minute, 5 * time.Minute, 50 * time.Minute}
	}
	dir, err := os.MkdirTemp(o.Dir, "gemello-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	warm := int64(slices.Max(o.Sizes)/o.Hop+2) * int64(o.Devices) // the same for all
	for _, durable := range []bool{false, true} {
		if err := o.measure(ctx, dir, durable, warm, out); err != nil {
			return err
		}
	}
	return nil
}

// measure runs all rounds with or without flushes.
func (o *OverlapOptions) measure(ctx context.Context, dir string, durable bool, warm int64, out io.Writer) error {
	costs := make([][]float64, len(o.Sizes))
	for round := range o.Rounds {
		for i, size := range o.Sizes {
			if err := ctx.Err(); err != nil {
				return err
			}
			c, err := o.once(filepath.Join(dir, fmt.Sprintf("%d-%d", round, i)), size, durable, warm)
			if err != nil {
				return fmt.Errorf("size %s: %w", size, err)
			}
			costs[i] = append(costs[i], c.cpu)
			report(out, fmt.Sprintf("Overlap/size=%s/hop=%s/flushed=%t", size, o.Hop, durable), o.Records,
				c.wall, "ns/op", c.cpu, "cpu-s/M", c.heap, "heap-MB", c.rows, "rows/op")
		}
	}
	var medians []float64
	for i, size := range o.Sizes {
		medians = append(medians, median(costs[i]))
		fmt.Fprintf(out, "REPORT\tflushed=%t\tsize_s=%.0f\twindows=%d\tcpu_s_per_m=%.3f\n", durable, size.Seconds(), size/o.Hop, medians[i])
	}
	fmt.Fprintf(out, "REPORT\tflushed=%t\tmax_over_min=%.3f\n", durable, slices.Max(medians)/slices.Min(medians))
	return nil
}

type overlapCost struct{ cpu, wall, heap, rows float64 }

// once measures one size with a core of its own.
func (o *OverlapOptions) once(dir string, size time.Duration, durable bool, warm int64) (c overlapCost, err error) {
	cache := store.NewCache(32 << 20)
	defer cache.Close()
	h := HoppingOptions{In: "telemetry", Out: "rows", Size: size, Hop: o.Hop}
	r, err := newCoreRun(coreOptions{dir: dir, query: h.query(), budget: windows.NewBudget(benchBudget), cache: cache, effects: newEffectsPool(), late: windows.Second})
	if err != nil {
		return c, err
	}
	defer func() {
		if e := r.close(); err == nil {
			err = e
		}
		os.RemoveAll(dir)
	}()
	if !durable {
		r.flush = math.MaxInt64
	}
	s, hop := newSensor(), o.Hop.Milliseconds()
	now := int64(benchStart)
	feed := func(records int64) error {
		for range records / int64(o.Devices) {
			for d := range o.Devices {
				ms := now + 1 + int64(d)*(hop-1)/int64(o.Devices)
				s.set(d, ms)
				if err := r.apply(s.key(), s.buf, ms); err != nil {
					return err
				}
			}
			now += hop
		}
		return nil
	}
	if err := feed(warm); err != nil {
		return c, err
	}
	r.take()
	runtime.GC()
	rows, start := r.rows, usageNow()
	if err := feed(o.Records); err != nil {
		return c, err
	}
	wall, cpu := time.Since(start.at), processCPU()-start.cpu
	r.take()
	n := float64(o.Records)
	c = overlapCost{cpu: cpu.Seconds() / n * 1e6, wall: float64(wall.Nanoseconds()) / n, rows: float64(r.rows-rows) / n}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.heap = float64(m.HeapInuse) / (1 << 20)
	return c, checkRows("measured part", r.rows-rows, o.Records)
}
