package bench

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// Flood sends reported patches at a rate from well-behaved devices, and measures
// the time until their answers in turn without and with a device that misbehaves.
// The REPORT of a kind has the medians of both and their ratio.
func Flood(ctx context.Context, o FloodOptions, out io.Writer) error {
	o = o.ensureDefaults()
	if err := knownKinds(o.Kinds); err != nil {
		return err
	}
	node, _, end, err := freshNode(ctx, o.Binary, o.Dir, o.Host, o.ServeArgs...)
	if err != nil {
		return err
	}
	defer end()
	clients, err := node.createDevices(ctx, "bench", o.Connections)
	if err != nil {
		return err
	}
	bad, err := node.createDevices(ctx, "bad", 1)
	if err != nil {
		return err
	}
	twin := TwinOptions{Connections: o.Connections, Warm: o.Warm, Measured: o.Measured}.ensureDefaults()
	load := newPatchLoad(&twin, len(clients))
	for _, kind := range o.Kinds {
		var quiet, beside []float64
		acts := int64(0)
		for range o.Rounds {
			if err := ctx.Err(); err != nil {
				return err
			}
			alone, err := load.round(ctx, node, clients, o.Rate, out)
			if err != nil {
				return fmt.Errorf("alone: %w", err)
			}
			b := &badDevice{node: node, client: &bad[0], victim: &clients[0]}
			misbehaving, stop := context.WithCancel(ctx)
			var wg sync.WaitGroup
			wg.Go(func() { b.run(misbehaving, kind) })
			both, err := load.round(ctx, node, clients, o.Rate, out)
			stop()
			wg.Wait()
			if err != nil {
				return fmt.Errorf("beside a device of kind %s: %w", kind, err)
			}
			quiet, beside = append(quiet, micros(alone.lat.quantile(0.99))/1e3), append(beside, micros(both.lat.quantile(0.99))/1e3)
			acts += b.acts.Load()
		}
		fmt.Fprintf(out, "REPORT\tkind=%s\tacts=%d\tp99_ms=%.2f\tp99_beside_ms=%.2f\tratio=%.3f\n",
			kind, acts, median(quiet), median(beside), median(beside)/median(quiet))
	}
	return nil
}
