package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/bench"
)

func (a *app) newBenchTwinCmd() *cobra.Command {
	o := bench.TwinOptions{}
	var profile string
	cmd := &cobra.Command{
		Use:   "twin",
		Short: "Reported patches over MQTT, in turn with telemetry and with twins read over REST",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			if profile != "" {
				o.ServeArgs = append(o.ServeArgs, "--cpuprofile", profile)
			}
			return bench.Twin(ctx, o, a.stdout)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "directory for the node's data; empty: the system's temporary one")
	f.StringVar(&o.Host, "host", "127.0.0.1", "loopback address of the node")
	f.IntVar(&o.Connections, "devices", 1000, "devices, each with a connection")
	f.IntVar(&o.Window, "window", 4, "patches or messages in flight a client")
	f.IntVar(&o.Patch, "patch", 200, "bytes of a patch")
	f.IntVar(&o.Payload, "payload", 110, "bytes of a message of telemetry")
	f.IntVar(&o.Readers, "readers", 32, "connections that read twins")
	f.IntVar(&o.Rounds, "rounds", 2, "rounds of each kind, in turn")
	f.DurationVar(&o.Warm, "warm", 0, "part of a round that is not measured; 0: 2s")
	f.DurationVar(&o.Measured, "duration", 0, "part of a round that is measured; 0: 8s")
	f.StringVar(&profile, "profile", "", "file for a CPU profile of the node")
	f.StringArrayVar(&o.ServeArgs, "serve-arg", nil, "further argument of gemello serve, such as --serve-arg=--log.partitions=4")
	return cmd
}

func (a *app) newBenchMethodsCmd() *cobra.Command {
	o := bench.MethodsOptions{}
	var profile string
	cmd := &cobra.Command{
		Use:   "methods",
		Short: "Direct methods from callers over REST to connected devices and back",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			if profile != "" {
				o.ServeArgs = append(o.ServeArgs, "--cpuprofile", profile)
			}
			return bench.Methods(ctx, o, a.stdout)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "directory for the node's data; empty: the system's temporary one")
	f.StringVar(&o.Host, "host", "127.0.0.1", "loopback address of the node")
	f.IntVar(&o.Connections, "devices", 1000, "devices, each with a connection")
	f.IntVar(&o.Callers, "callers", 64, "connections of callers, each with one call at a time")
	f.IntVar(&o.Payload, "payload", 64, "bytes of a request and of its answer")
	f.IntVar(&o.Rounds, "rounds", 2, "rounds")
	f.DurationVar(&o.Warm, "warm", 0, "part of a round that is not measured; 0: 2s")
	f.DurationVar(&o.Measured, "duration", 0, "part of a round that is measured; 0: 8s")
	f.StringVar(&profile, "profile", "", "file for a CPU profile of the node")
	f.StringArrayVar(&o.ServeArgs, "serve-arg", nil, "further argument of gemello serve, such as --serve-arg=--log.partitions=4")
	return cmd
}
