package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/bench"
)

// benchCommand makes a workload without arguments, interruptible, with a node's
// settings of the garbage collector, and with a CPU profile on request.
func (a *app) benchCommand(use, short string, run func(context.Context, io.Writer) error) *cobra.Command {
	var profile string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if profile != "" {
				end, err := startCPUProfile(profile)
				if err != nil {
					return usagef("--profile: %v", err)
				}
				defer end()
			}
			limitMemory(ctx, int64(defaultConfig().Limits.Memory))
			return run(ctx, a.stdout)
		},
	}
	cmd.Flags().StringVar(&profile, "profile", "", "file for a CPU profile")
	return cmd
}

func (a *app) newBenchOverlapCmd() *cobra.Command {
	o := bench.OverlapOptions{}
	cmd := a.benchCommand("overlap", "Cost of a record in windows that overlap more and more",
		func(ctx context.Context, out io.Writer) error { return bench.Overlap(ctx, o, out) })
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "directory of the stores; empty: the system's temporary one")
	f.IntVar(&o.Devices, "devices", 1000, "devices, each sending once a hop")
	f.DurationVar(&o.Hop, "hop", 0, "hop of the windows; 0: 5s")
	f.DurationSliceVar(&o.Sizes, "sizes", nil, "sizes of the windows; empty: 5s,1m,5m,50m")
	f.Int64Var(&o.Records, "records", 1_000_000, "records measured a round and size")
	f.IntVar(&o.Rounds, "rounds", 5, "rounds, with all sizes in turn in each")
	return cmd
}

func (a *app) newBenchMemoryCmd() *cobra.Command {
	o := bench.MemoryOptions{}
	cmd := a.benchCommand("memory", "Memory and state of windows over a long run",
		func(ctx context.Context, out io.Writer) error { return bench.Memory(ctx, o, out) })
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "directory of the stores; empty: the system's temporary one")
	f.Int64Var(&o.Records, "records", 50_000_000, "records")
	f.IntVar(&o.Devices, "devices", 100_000, "devices")
	f.DurationVar(&o.Every, "every", 0, "event time between two records of a device; 0: 20m")
	f.DurationVar(&o.Size, "size", 0, "size of a window; 0: 1h")
	f.DurationVar(&o.Hop, "hop", 0, "hop of the windows; 0: 30m")
	f.IntVar(&o.Partitions, "partitions", 8, "cores")
	f.IntVar(&o.Workers, "workers", 2, "goroutines")
	return cmd
}

func (a *app) newBenchIsolationCmd() *cobra.Command {
	o := bench.IsolationOptions{}
	cmd := a.benchCommand("isolation", "Answers to twin patches beside a pipeline that can't keep up",
		func(ctx context.Context, out io.Writer) error {
			o.Logger = newLogger(LoggingConfig{Level: "error", Format: "text"}, a.stderr)
			return bench.Isolation(ctx, o, out)
		})
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "directory of logs and stores; empty: the system's temporary one")
	f.IntVar(&o.Devices, "devices", 200, "devices")
	f.Float64Var(&o.Telemetry, "telemetry", 2000, "messages a second of all devices")
	f.IntVar(&o.Patchers, "patchers", 8, "patches under way at a time")
	f.Float64Var(&o.Slow, "slow", 100, "records a second that the slowed pipeline takes")
	f.IntVar(&o.Rounds, "rounds", 4, "rounds of each kind, in turn")
	f.DurationVar(&o.Measured, "duration", 0, "part of a round that is measured; 0: 8s")
	return cmd
}
