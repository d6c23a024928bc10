package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/bench"
)

func (a *app) newBenchLogCmd() *cobra.Command {
	o := bench.LogOptions{}
	cmd := a.benchCommand("log", "Producing to and consuming from a log of its own, in turn with others, on this machine",
		func(ctx context.Context, out io.Writer) (err error) {
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			return bench.Log(ctx, o, out)
		})
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "directory for the log's data; empty: the system's temporary one")
	f.StringSliceVar(&o.Kafka, "kafka", nil, "also measure a Kafka, durable (flush.messages=1) and as it is: seed brokers host:port")
	f.StringArrayVar(&o.Peers, "peer", nil, "also measure the log of another build: NAME=PATH of a gemello")
	f.DurationVar(&o.SyncDelay, "sync-delay", 0, "measure the started logs again with syncs that take at least so long")
	f.IntVar(&o.Payload, "payload", 150, "bytes of a record")
	f.Int32Var(&o.Partitions, "partitions", 8, "of a topic")
	f.IntSliceVar(&o.Producers, "producers", nil, "numbers of producers; empty: 1,8")
	f.IntSliceVar(&o.Consumers, "consumers", nil, "numbers of consumers; empty: 1,8")
	f.DurationVar(&o.Linger, "linger", 0, "how long a record waits for company in its batch; 0: 5ms")
	f.Int32Var(&o.BatchBytes, "batch-bytes", 0, "how large that gets; 0: 16KiB")
	f.Int64Var(&o.Records, "records", 2_000_000, "records that are consumed")
	f.IntVar(&o.Rounds, "rounds", 3, "rounds of each log, in turn")
	f.DurationVar(&o.Warm, "warm", 0, "part of a round that is not measured; 0: 1s")
	f.DurationVar(&o.Measured, "duration", 0, "part of a round that is measured; 0: 5s")
	return cmd
}

func (a *app) newBenchLogSizeCmd() *cobra.Command {
	o := bench.LogSizeOptions{}
	sizes, extrapolate := []string{"2GiB", "10GiB"}, Size(100<<30)
	cmd := a.benchCommand("logsize", "Memory, start after a kill, and writing of a log of some size",
		func(ctx context.Context, out io.Writer) (err error) {
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			for _, text := range sizes {
				var s Size
				if err := s.UnmarshalText([]byte(text)); err != nil {
					return &configError{Key: "--sizes", Value: text, Allowed: err.Error()}
				}
				if n := len(o.Sizes); s <= 0 || n > 0 && int64(s) <= o.Sizes[n-1] {
					return &configError{Key: "--sizes", Value: text, Allowed: "sizes above 0 that rise"}
				}
				o.Sizes = append(o.Sizes, int64(s))
			}
			o.Extrapolate = int64(extrapolate)
			return bench.LogSize(ctx, o, out)
		})
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "directory for the log's data; empty: the system's temporary one")
	f.StringSliceVar(&sizes, "sizes", sizes, "bytes of records at which the log is looked at")
	f.TextVar(&extrapolate, "extrapolate", extrapolate, "size that the last two are carried on to")
	f.IntVar(&o.Payload, "payload", 150, "bytes of a record")
	f.Int32Var(&o.Partitions, "partitions", 8, "of the topic")
	f.DurationVar(&o.Settle, "settle", 0, "wait before the size is read; 0: 10s")
	f.StringArrayVar(&o.LogArgs, "log-arg", nil, "further argument of gemello log, such as --log-arg=--sync-delay=5ms")
	return cmd
}
