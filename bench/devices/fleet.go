package devices

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/device/credential"
)

// maxDue is how many messages a device may be behind.
const maxDue = 16

// Run creates the devices where it may, connects them and sends readings until
// ctx ends; that end is not an error. It returns the last figures.
func Run(ctx context.Context, o Options) (Stats, error) {
	if err := o.ensureDefaults(); err != nil {
		return Stats{}, err
	}
	f := &fleet{o: &o}
	if err := f.prepare(ctx); err != nil {
		return Stats{}, endOr(ctx, err)
	}
	return f.run(ctx)
}

// fleet is one Run.
type fleet struct {
	o       *Options
	devices []*simulated
	started time.Time

	connected                         atomic.Int64
	acked, failed, behind, reconnects atomic.Int64
	answered                          atomic.Int64 // direct methods
}

func (f *fleet) stats(now time.Time) Stats {
	s := Stats{
		Connected: int(f.connected.Load()), Acked: f.acked.Load(), Failed: f.failed.Load(),
		Behind: f.behind.Load(), Reconnect: f.reconnects.Load(), Methods: f.answered.Load(),
	}
	if !f.started.IsZero() {
		s.Elapsed = now.Sub(f.started)
	}
	return s
}

// prepare settles the identity and key of every device.
func (f *fleet) prepare(ctx context.Context) error {
	c := f.o.Connection
	if c.DeviceID != "" {
		f.devices = []*simulated{newSimulated(f, 0, c.DeviceID, c.Key, "")}
		return nil
	}
	ids := make([]string, f.o.Devices)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%04d", f.o.Prefix, i+1)
	}
	r := newRegistry(f.o)
	defer r.close()
	keys, err := r.ensure(ctx, ids)
	policy := ""
	if errors.Is(err, errNoRight) {
		// A policy for devices signs for them; whether they exist shows when
		// they connect.
		policy = c.KeyName
		keys = make([]credential.Key, len(ids))
		for i := range keys {
			keys[i] = c.Key
		}
		err = nil
	}
	if err != nil {
		return err
	}
	for i, id := range ids {
		f.devices = append(f.devices, newSimulated(f, i, id, keys[i], policy))
	}
	return nil
}

// run connects all devices, then paces them until ctx ends. A device whose first
// connection is refused ends the run; later losses are repaired.
func (f *fleet) run(ctx context.Context) (Stats, error) {
	connect, connectCtx := errgroup.WithContext(ctx)
	connect.SetLimit(parallel)
	for _, d := range f.devices {
		connect.Go(func() error { return d.connect(connectCtx) })
	}
	err := connect.Wait()
	f.started = f.o.Now()
	var senders sync.WaitGroup
	if err == nil {
		for _, d := range f.devices {
			senders.Go(func() { d.send(ctx) })
		}
		f.pace(ctx)
		senders.Wait()
	}
	last := f.stats(f.o.Now())
	var closing sync.WaitGroup
	for _, d := range f.devices {
		closing.Go(d.close)
	}
	closing.Wait()
	return last, endOr(ctx, err)
}

// pace hands out what is due until ctx ends.
func (f *fleet) pace(ctx context.Context) {
	p := &pacer{start: f.o.Now(), rate: f.o.Rate}
	report := time.NewTicker(f.o.ReportEvery)
	defer report.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for next := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-report.C:
			if f.o.Report != nil {
				f.o.Report(f.stats(f.o.Now()))
			}
		case <-timer.C:
			due, at := p.take(f.o.Now())
			for range due {
				select {
				case f.devices[next].due <- struct{}{}:
				default:
					f.behind.Add(1)
				}
				next = (next + 1) % len(f.devices)
			}
			// At high rates one wake-up hands out several: timers are not finer.
			timer.Reset(max(at.Sub(f.o.Now()), time.Millisecond))
		}
	}
}

// endOr leaves errors that are only the end of ctx out.
func endOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
