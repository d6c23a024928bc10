package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/bench"
)

// newBenchCmd runs a workload of package bench; each prints Go benchmark lines.
func newBenchCmd(a *app) *cobra.Command {
	return commandGroup("bench", "Measure this machine: workloads that print Go benchmark lines",
		a.newBenchHoppingCmd(), a.newBenchMQTTCmd(), a.newBenchIdleCmd(), a.newBenchLogCmd(), a.newBenchLogSizeCmd(),
		a.newBenchOverlapCmd(), a.newBenchMemoryCmd(), a.newBenchIsolationCmd(), a.newBenchTwinCmd(), a.newBenchMethodsCmd(),
		a.newBenchRegistryCmd(), a.newBenchFloodCmd(), a.newBenchQueryCmd())
}

func (a *app) newBenchHoppingCmd() *cobra.Command {
	o := bench.HoppingOptions{}
	var profile, heap string
	limit := defaultConfig().Limits.Memory
	cmd := &cobra.Command{
		Use:   "hopping",
		Short: "Per-device statistics over hopping windows from a Kafka topic to another, exactly once",
		Args:  cobra.NoArgs,
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
			if heap != "" {
				o.AtHalf = func() {
					f, err := os.Create(heap)
					if err == nil {
						err = errors.Join(pprof.WriteHeapProfile(f), f.Close())
					}
					if err != nil {
						fmt.Fprintf(a.stderr, "--heap-profile: %v\n", err)
					}
				}
			}
			limitMemory(ctx, int64(limit))
			o.Logger = newLogger(LoggingConfig{Level: "warn", Format: "text"}, a.stderr)
			return bench.Hopping(ctx, o, a.stdout)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Seeds, "kafka", nil, "seed brokers host:port")
	f.StringVar(&o.In, "in", "telemetry", "input topic")
	f.StringVar(&o.Out, "out", "out-ours", "output topic, made if missing")
	f.DurationVar(&o.Size, "size", time.Minute, "size of a window")
	f.DurationVar(&o.Hop, "hop", 5*time.Second, "hop of the windows")
	f.DurationVar(&o.Late, "grace", 4*time.Second, "out-of-order tolerance")
	f.StringVar(&o.Data, "data", "", "directory of the stores; empty: a temporary one")
	f.StringVar(&o.Hub, "hub", "", "prefix of the run's own topics; empty: a new one")
	f.BoolVar(&o.Keep, "keep", false, "leave the temporary directory")
	f.Int64Var(&o.Budget, "window-memory", 0, "bytes of window state in memory; 0: the default")
	f.DurationVar(&o.Limit, "limit", 0, "longest run; 0: 20m")
	f.StringVar(&profile, "profile", "", "file for a CPU profile")
	f.TextVar(&limit, "memory", limit, "soft limit of the heap, as limits.memory of a node")
	f.StringVar(&heap, "heap-profile", "", "file for a heap profile at half of the input")
	cobra.CheckErr(cmd.MarkFlagRequired("kafka"))
	return cmd
}

// startCPUProfile profiles the process into a file until end is called.
func startCPUProfile(file string) (end func(), err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}
