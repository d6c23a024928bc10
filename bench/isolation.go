package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/broker"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

// IsolationOptions describe a run of twin patches beside a pipeline that can't
// keep up.
type IsolationOptions struct {
	Dir       string  // of logs and stores; empty: the system's temporary directory
	Devices   int     // 0: 200
	Telemetry float64 // messages a second of all devices; 0: 2000
	Patchers  int     // devices that patch one after the other at a time; 0: 8
	Slow      float64 // records a second that the slowed pipeline takes; 0: 100
	Rounds    int     // of each kind, in turn; 0: 4
	Warm      time.Duration
	Measured  time.Duration // of a round; 0: 8 s
	Logger    *slog.Logger
}

// isolationPartitions is the default of a node.
const isolationPartitions = 8

// Isolation prints the time from a reported patch to its answer with a pipeline
// that keeps up and with the same pipeline slowed down, in turn.
func Isolation(ctx context.Context, o IsolationOptions, out io.Writer) error {
	orDefault(&o.Devices, 200)
	orDefault(&o.Telemetry, 2000)
	orDefault(&o.Patchers, 8)
	orDefault(&o.Slow, 100)
	orDefault(&o.Rounds, 4)
	orDefault(&o.Warm, 3*time.Second)
	orDefault(&o.Measured, 8*time.Second)
	dir, err := os.MkdirTemp(o.Dir, "gemello-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var all [2]latencies
	var p99 [2][]float64
	for round := range o.Rounds {
		for i, name := range []string{"free", "slow"} {
			r := &isolationRound{IsolationOptions: o}
			if name == "slow" {
				r.delay = time.Duration(isolationPartitions / o.Slow * float64(time.Second))
			}
			if err := r.run(ctx, filepath.Join(dir, fmt.Sprintf("%s-%d", name, round))); err != nil {
				return fmt.Errorf("round %d, pipeline %s: %w", round, name, err)
			}
			all[i].merge(&r.lat)
			p99[i] = append(p99[i], micros(r.lat.quantile(0.99)))
			report(out, "Isolation/pipeline="+name, r.lat.n,
				o.Measured.Seconds()/float64(r.lat.n)*1e9, "ns/op",
				micros(r.lat.quantile(0.5)), "p50-µs", micros(r.lat.quantile(0.99)), "p99-µs",
				float64(r.sent)/(o.Warm+o.Measured).Seconds(), "telemetry/s", float64(r.lag), "pipeline-lag")
		}
	}
	free, slow := micros(all[0].quantile(0.99)), micros(all[1].quantile(0.99))
	fmt.Fprintf(out, "REPORT\tp99_free_us=%.0f\tp99_slow_us=%.0f\tratio=%.3f\tratio_of_medians=%.3f\n",
		free, slow, slow/free, median(p99[1])/median(p99[0]))
	return nil
}

// isolationRound is a node of its own under load.
type isolationRound struct {
	IsolationOptions
	delay time.Duration
	node  *actors.Node
	ids   []string
	lat   latencies
	sent  int64
	lag   int64 // of the pipeline at the end, records
}

func (r *isolationRound) run(ctx context.Context, dir string) (err error) {
	server, err := broker.Start(ctx, broker.Options{Dir: filepath.Join(dir, "log"), SyncWrites: true, Logger: r.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close(), os.RemoveAll(dir)) }()
	log, err := eventlog.Open(ctx, eventlog.Options{Seeds: []string{server.Addr()}, Logger: r.Logger})
	if err != nil {
		return err
	}
	defer log.Close()
	data := filepath.Join(dir, "node")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	r.node, err = actors.Start(ctx, actors.Options{
		Log: log, Cluster: joinCluster, Hub: "bench", Data: data, Partitions: isolationPartitions,
		CommitEvery: 200 * time.Millisecond, PipelineDelay: r.delay, Logger: r.Logger,
	}, true)
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, r.node.Stop(stop))
	}()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	return r.load(ctx)
}

// prepare makes the devices and the pipeline.
func (r *isolationRound) prepare(ctx context.Context) error {
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := range r.Devices {
		id := fmt.Sprintf("device-%05d", i)
		r.ids = append(r.ids, id)
		g.Go(func() error {
			_, err := r.node.PutIdentity(each, device.Change{Wanted: device.Identity{
				DeviceID: id, Status: device.Enabled, Auth: device.Auth{Type: device.AuthCA},
			}})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	err := r.node.ApplyPipeline(ctx, partition.Definition{
		Name: "load", Early: partition.DefaultEarly, Late: windows.Second,
		Query: `SELECT deviceId, COUNT(*) AS n, AVG(temperature) AS t INTO load FROM devices GROUP BY deviceId, HoppingWindow(second, 10, 1)`,
	}, device.Audit{})
	if err != nil {
		return err
	}
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		if s, _, err := r.node.Pipeline(ctx, "load"); err != nil {
			return err
		} else if s.State == "running" && len(s.Partitions) == isolationPartitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// load sends telemetry and patches until time is up.
func (r *isolationRound) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.Warm+r.Measured)
	defer cancel()
	start := time.Now()
	var g errgroup.Group
	var sent, failed atomic.Int64
	g.Go(func() error {
		t := time.NewTicker(5 * time.Millisecond)
		defer t.Stop()
		body := payload(110)
		for n := 0; ; {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
			}
			for due := int(time.Since(start).Seconds() * r.Telemetry); n < due; n++ {
				r.node.Publish(ctx, actors.Telemetry{DeviceID: r.ids[n%len(r.ids)], Auth: "device;sas", Body: body}, func(err error) {
					if err != nil {
						failed.Add(1)
					}
					sent.Add(1)
				})
			}
		}
	})
	var mu sync.Mutex // guards r.lat
	for p := range r.Patchers {
		g.Go(func() error {
			for n := p; ctx.Err() == nil; n += r.Patchers {
				began := time.Now()
				done := make(chan error, 1)
				r.node.PatchReported(ctx, device.Ref{Device: r.ids[n%len(r.ids)]}, fmt.Appendf(nil, `{"n":%d}`, n), device.Audit{}, func(_ int64, err error) { done <- err })
				if err := <-done; err != nil && ctx.Err() == nil {
					return err
				}
				if began.Sub(start) > r.Warm && ctx.Err() == nil {
					mu.Lock()
					r.lat.add(time.Since(began))
					mu.Unlock()
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, s := range r.node.Statuses() {
		if s.Kind == "pipelines" {
			r.lag += s.Lag
		}
	}
	r.sent = sent.Load()
	if failed.Load() > 0 {
		return fmt.Errorf("%d of %d messages failed", failed.Load(), r.sent)
	}
	return nil
}
