package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/persistence/store"
	"github.com/gemello/gemello/windows"
)

// MemoryOptions describe a long run of windows over many devices.
type MemoryOptions struct {
	Dir        string // of the stores; empty: the system's temporary directory
	Records    int64  // 0: 50 M
	Devices    int    // 0: 100,000
	Every      time.Duration
	Size, Hop  time.Duration
	Partitions int // 0: 8
	Workers    int // goroutines that share the partitions; 0: 2
}

// Memory prints the size of the process after the first window and at the end
// of a long run, and what is left when all windows have expired.
func Memory(ctx context.Context, o MemoryOptions, out io.Writer) (err error) {
	orDefault(&o.Records, 50_000_000)
	orDefault(&o.Devices, 100_000)
	orDefault(&o.Every, 20*time.Minute)
	orDefault(&o.Size, time.Hour)
	orDefault(&o.Hop, 30*time.Minute)
	orDefault(&o.Partitions, 8)
	orDefault(&o.Workers, 2)
	dir, err := os.MkdirTemp(o.Dir, "gemello-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := &memoryRun{MemoryOptions: o, of: make([]uint8, o.Devices), cache: store.NewCache(32 << 20)}
	defer m.cache.Close()
	if err := m.open(dir); err != nil {
		return err
	}
	defer func() {
		for _, c := range m.cores {
			if e := c.close(); err == nil {
				err = e
			}
		}
	}()
	return m.run(ctx, out)
}

type memoryRun struct {
	MemoryOptions
	cores   []*coreRun
	sensors []*sensor // one a worker
	of      []uint8   // partition of a device
	cache   *store.Cache
	peak    atomic.Int64 // largest resident size since it was last taken
}

func (m *memoryRun) open(dir string) error {
	h := HoppingOptions{In: "telemetry", Out: "rows", Size: m.Size, Hop: m.Hop}
	budget, effects := windows.NewBudget(benchBudget), newEffectsPool()
	for p := range m.Partitions {
		c, err := newCoreRun(coreOptions{
			dir: dir, partition: int32(p), query: h.query(), budget: budget, cache: m.cache, effects: effects, late: 5 * windows.Second,
		})
		if err != nil {
			return err
		}
		m.cores = append(m.cores, c)
	}
	s := newSensor()
	for d := range m.of {
		s.set(d, benchStart)
		m.of[d] = uint8(eventlog.Partition(s.key(), int32(m.Partitions)))
	}
	for range m.Workers {
		m.sensors = append(m.sensors, newSensor())
	}
	return nil
}

func (m *memoryRun) run(ctx context.Context, out io.Writer) error {
	for _, c := range m.cores {
		if err := c.save(); err != nil {
			return err
		}
	}
	stateBefore, storeBefore := m.held()
	stop := m.watch()
	defer stop()
	sweeps := int(m.Records / int64(m.Devices))
	firstFull := int(m.Size/m.Every) + 1 // the sweep that has closed the first full window
	var afterWindow, afterFlush int64
	var tenth []int64 // peaks of the last sweeps
	var liveFirst, liveLast float64
	start := usageNow()
	for sweep := range sweeps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.sweep(sweep); err != nil {
			return err
		}
		peak := m.peak.Swap(0)
		if sweep == firstFull {
			afterWindow, liveFirst = peak, liveHeap()
		}
		if afterFlush == 0 && int64(sweep)*int64(m.Devices)/int64(m.Partitions) > flushEvery*11/10 {
			afterFlush = peak
		}
		if sweep >= sweeps*9/10 {
			tenth = append(tenth, peak)
		}
		if sweep%max(1, sweeps/10) == 0 {
			state, disk := m.held()
			fmt.Fprintf(out, "# sweep %d: RSS %d MB, state %d KB, stores %d KB\n", sweep, peak>>20, state>>10, disk>>10)
		}
	}
	wall, cpu := time.Since(start.at), processCPU()-start.cpu
	liveLast = liveHeap()
	slices.Sort(tenth)
	last := tenth[len(tenth)/2]
	end := benchStart + int64(sweeps)*m.Every.Milliseconds() + 2*m.Size.Milliseconds()
	for _, c := range m.cores {
		if err := c.expire(end); err != nil {
			return err
		}
	}
	stateAfter, storeAfter := m.settled(storeBefore)
	var rows int64
	for _, c := range m.cores {
		rows += c.rows
	}
	n := float64(sweeps) * float64(m.Devices)
	mb := func(b int64) float64 { return float64(b) / (1 << 20) }
	report(out, fmt.Sprintf("Memory/size=%s/hop=%s/devices=%d", m.Size, m.Hop, m.Devices), int64(n),
		float64(wall.Nanoseconds())/n, "ns/op", cpu.Seconds()/n*1e6, "cpu-s/M", float64(rows)/n, "rows/op",
		mb(afterWindow), "rss-window-MB", mb(afterFlush), "rss-flush-MB", mb(last), "rss-end-MB")
	fmt.Fprintf(out, "REPORT\trss_first_window_mb=%.1f\trss_first_flush_mb=%.1f\trss_last_tenth_mb=%.1f\tratio=%.3f\tratio_to_first_flush=%.3f\tlive_heap_first_window_mb=%.1f\tlive_heap_end_mb=%.1f\tstate_bytes_before=%d\tstate_bytes_after=%d\tstore_bytes_before=%d\tstore_bytes_after=%d\n",
		mb(afterWindow), mb(afterFlush), mb(last), float64(last)/float64(afterWindow), float64(last)/float64(afterFlush), liveFirst, liveLast,
		stateBefore, stateAfter, storeBefore, storeAfter)
	return nil
}

// sweep lets every device send once.
func (m *memoryRun) sweep(sweep int) error {
	from, every := benchStart+int64(sweep)*m.Every.Milliseconds(), m.Every.Milliseconds()
	var g errgroup.Group
	for w, s := range m.sensors {
		g.Go(func() error {
			for d, p := range m.of {
				if int(p)%m.Workers != w {
					continue
				}
				ms := from + 1 + int64(d)*(every-1)/int64(m.Devices)
				s.set(d, ms)
				if err := m.cores[p].apply(s.key(), s.buf, ms); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// held returns the bytes of window state and of the stores.
func (m *memoryRun) held() (state, disk int64) {
	for _, c := range m.cores {
		state += c.figures().StateBytes
		disk += c.store.Bytes()
	}
	return state, disk
}

// settled waits until compaction has brought the stores down, for at most 20 s.
func (m *memoryRun) settled(want int64) (state, disk int64) {
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		if state, disk = m.held(); disk <= want*11/10 {
			return state, disk
		}
		select {
		case <-deadline.C:
			return state, disk
		case <-t.C:
		}
	}
}

// watch keeps peak up to date until stop is called.
func (m *memoryRun) watch() (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(10 * time.Millisecond)
		defer t.Stop()
		for {
			now := residentNow()
			for old := m.peak.Load(); now > old && !m.peak.CompareAndSwap(old, now); old = m.peak.Load() {
			}
			select {
			case <-done:
				return
			case <-t.C:
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// liveHeap collects garbage and returns what is left in MiB.
func liveHeap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}
