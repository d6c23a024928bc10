package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/bench"
)

func (a *app) newBenchTwinCmd() *cobra.Command {
	o := bench.TwinOptions{}
	cmd := &cobra.Command{Use: "twin", Short: "Reported patches over MQTT, in turn with telemetry and with twins read over REST"}
	bulk := 0
	var logArgs []string
	onNode(cmd, nodeOptions{&o.Binary, &o.Dir, &o.Host, &o.ServeArgs}, func(ctx context.Context) error {
		if bulk > 0 {
			return bench.TwinBulk(ctx, bench.TwinBulkOptions{
				Binary: o.Binary, Dir: o.Dir, Host: o.Host, Devices: o.Connections, Patches: bulk, Patch: o.Patch,
				Rounds: o.Rounds, ServeArgs: o.ServeArgs, LogArgs: logArgs,
			}, a.stdout)
		}
		return bench.Twin(ctx, o, a.stdout)
	})
	f := cmd.Flags()
	f.IntVar(&bulk, "bulk", 0, "instead append so many patches to the device log itself, a round")
	f.StringArrayVar(&logArgs, "log-arg", nil, "with --bulk: further argument of gemello log")
	f.IntVar(&o.Connections, "devices", 1000, "devices, each with a connection")
	f.IntVar(&o.Window, "window", 8, "patches or messages in flight a client, at most the 10 that a node lets it have")
	f.IntVar(&o.Patch, "patch", 200, "bytes of a patch")
	f.IntVar(&o.Payload, "payload", 110, "bytes of a message of telemetry")
	f.IntVar(&o.Readers, "readers", 32, "connections that read twins")
	f.Float64Var(&o.Rate, "rate", 0, "patches and reads a second of the paced rounds at the end; 0: half of what was seen")
	f.IntVar(&o.Rounds, "rounds", 2, "rounds of each kind, in turn")
	f.DurationVar(&o.Warm, "warm", 0, "part of a round that is not measured; 0: 2s")
	f.DurationVar(&o.Measured, "duration", 0, "part of a round that is measured; 0: 8s")
	return cmd
}

func (a *app) newBenchMethodsCmd() *cobra.Command {
	o := bench.MethodsOptions{}
	cmd := &cobra.Command{Use: "methods", Short: "Direct methods from callers over REST to connected devices and back"}
	onNode(cmd, nodeOptions{&o.Binary, &o.Dir, &o.Host, &o.ServeArgs}, func(ctx context.Context) error {
		return bench.Methods(ctx, o, a.stdout)
	})
	f := cmd.Flags()
	f.IntVar(&o.Connections, "devices", 1000, "devices, each with a connection")
	f.IntVar(&o.Callers, "callers", 64, "connections of callers, each with one call at a time")
	f.IntVar(&o.Payload, "payload", 64, "bytes of a request and of its answer")
	f.IntVar(&o.Rounds, "rounds", 2, "rounds")
	f.DurationVar(&o.Warm, "warm", 0, "part of a round that is not measured; 0: 2s")
	f.DurationVar(&o.Measured, "duration", 0, "part of a round that is measured; 0: 8s")
	return cmd
}

func (a *app) newBenchRegistryCmd() *cobra.Command {
	o := bench.RegistryOptions{}
	cmd := &cobra.Command{Use: "registry", Short: "Memory, start after a kill and reads of a node with a million devices and their twins"}
	onNode(cmd, nodeOptions{&o.Binary, &o.Dir, &o.Host, &o.ServeArgs}, func(ctx context.Context) error {
		return bench.Registry(ctx, o, a.stdout)
	})
	f := cmd.Flags()
	f.IntVar(&o.Devices, "devices", 1_000_000, "devices with keys and a twin")
	f.IntVar(&o.Twin, "twin", 500, "bytes of tags and properties of a twin")
	f.DurationVar(&o.Settle, "settle", 0, "wait before the size is read; 0: 30s")
	return cmd
}
