package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/cluster"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

// HoppingOptions describe a run of per-device statistics over hopping windows
// from one topic to another, exactly once with durable state: the job of the
// yardsticks.
type HoppingOptions struct {
	Seeds     []string
	In, Out   string
	Size, Hop time.Duration
	Late      time.Duration // out-of-order tolerance; late tolerance is a second more
	Data      string        // directory of the stores; empty: a temporary one
	Hub       string        // prefix of the run's own topics; empty: one of this run's
	Keep      bool          // leave the data directory
	Budget    int64         // bytes of window state in memory; 0: the default
	Limit     time.Duration // longest run; 0: 20 minutes
	AtHalf    func()        // called once when half of the input is committed
	Logger    *slog.Logger
}

// Hopping runs until all of In that was there at the start is committed, then
// stops in order and prints its figures.
func Hopping(ctx context.Context, o HoppingOptions, out io.Writer) (err error) {
	if o.Limit == 0 {
		o.Limit = 20 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	if o.Hub == "" {
		o.Hub = fmt.Sprintf("bench-%d", time.Now().Unix())
	}
	if o.Data == "" {
		if o.Data, err = os.MkdirTemp("", "gemello-bench-"); err != nil {
			return err
		}
		if !o.Keep {
			defer os.RemoveAll(o.Data)
		}
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return err
	}
	start := usageNow()
	log, err := eventlog.Open(ctx, eventlog.Options{Seeds: o.Seeds, ClientID: "gemello-bench", Logger: o.Logger})
	if err != nil {
		return err
	}
	defer log.Close()
	ends, err := log.Offsets(ctx, o.In)
	if err != nil {
		return err
	}
	var records int64
	for _, r := range ends {
		records += r.Stable - r.Start
	}
	node, err := actors.Start(ctx, actors.Options{
		Log: log, Cluster: joinCluster, Hub: o.Hub, Data: o.Data, Partitions: 1, StateBudget: o.Budget, Logger: o.Logger,
	}, true)
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if e := node.Stop(stop); err == nil {
			err = e
		}
	}()
	err = node.ApplyPipeline(ctx, partition.Definition{
		Name: "hopping", Query: o.query(), Early: partition.DefaultEarly,
		OutOfOrder: windows.Tick(o.Late / 100), Late: windows.Tick((o.Late + time.Second) / 100),
	}, device.Audit{})
	if err != nil {
		return err
	}
	var early, late sample
	atHalf := o.AtHalf
	err = awaitCommitted(ctx, node, ends, func(done float64) {
		switch {
		case done >= 0.9:
			late.add(residentNow())
		case done > 0 && done <= 0.1:
			early.add(residentNow())
		}
		if done > 0.5 && atHalf != nil {
			atHalf()
			atHalf = nil
		}
	})
	if err != nil {
		return err
	}
	wall, cpu := time.Since(start.at), processCPU()-start.cpu
	million := float64(records) / 1e6
	report(out, fmt.Sprintf("Hopping/size=%s/hop=%s", o.Size, o.Hop), records,
		float64(wall.Nanoseconds())/float64(records), "ns/op",
		float64(records)/wall.Seconds(), "records/s",
		cpu.Seconds()/million, "cpu-s/M",
		float64(peakRSS())/(1<<20), "peak-MB")
	fmt.Fprintf(out, "REPORT\tengine=gemello\trecords=%d\twall_s=%.3f\tactive_s=%.3f\trps=%.0f\tcpu_s=%.2f\tcpu_s_per_m=%.3f\thwm_mb=%d\trss_first_tenth_mb=%d\trss_last_tenth_mb=%d\n",
		records, wall.Seconds(), wall.Seconds(), float64(records)/wall.Seconds(), cpu.Seconds(), cpu.Seconds()/million, peakRSS()>>20, early.mean()>>20, late.mean()>>20)
	return nil
}

func (o *HoppingOptions) query() string {
	ms := o.Size.Milliseconds()
	window := fmt.Sprintf("HoppingWindow(millisecond, %d, %d)", ms, o.Hop.Milliseconds())
	if o.Hop == o.Size {
		window = fmt.Sprintf("TumblingWindow(millisecond, %d)", ms)
	}
	const end = "DATEDIFF(millisecond, '1970-01-01T00:00:00Z', System.Timestamp())"
	return fmt.Sprintf(`SELECT deviceId, %s - %d AS windowStart, %s AS windowEnd,
		COUNT(*) AS count, SUM(temperature) AS sum, MIN(temperature) AS min, MAX(temperature) AS max
		INTO [%s] FROM [%s] TIMESTAMP BY DATEADD(millisecond, ts, '1970-01-01T00:00:00Z')
		GROUP BY deviceId, %s`, end, ms, end, o.Out, o.In, window)
}

// sample is a mean in the making.
type sample struct{ sum, n int64 }

func (s *sample) add(v int64) { s.sum, s.n = s.sum+v, s.n+1 }

func (s *sample) mean() int64 { return s.sum / max(1, s.n) }

// awaitCommitted waits until every partition's core has committed up to the
// given ends, and tells meanwhile which part of it is done.
func awaitCommitted(ctx context.Context, node *actors.Node, ends map[int32]eventlog.Range, progress func(done float64)) error {
	var all int64
	for _, r := range ends {
		all += r.Stable - r.Start
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, committed := 0, int64(0)
		for _, s := range node.Statuses() {
			if s.Kind != "pipelines" {
				continue
			}
			committed += max(0, s.Committed-ends[s.Partition].Start)
			if s.Committed >= ends[s.Partition].Stable {
				done++
			}
		}
		if done == len(ends) {
			return nil
		}
		progress(float64(committed) / float64(max(1, all)))
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d partitions are done: %w", done, len(ends), ctx.Err())
		case <-tick.C:
		}
	}
}

// joinCluster makes this node the only member of its cluster.
func joinCluster(n actors.ClusterNeeds) (actors.Cluster, error) {
	return cluster.Start(cluster.Options{
		Node: n.Node, Partitions: n.Partitions, DeviceProps: n.DeviceProps,
		Now: n.Now, Logger: n.Logger, Registerer: n.Registerer,
	})
}
