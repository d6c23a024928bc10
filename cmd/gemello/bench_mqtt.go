package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/bench"
)

func (a *app) newBenchMQTTCmd() *cobra.Command {
	o := bench.MQTTOptions{}
	var syncDelay time.Duration
	cmd := &cobra.Command{Use: "mqtt", Short: "QoS 1 telemetry into a node of its own, in turn with mosquitto, on this machine"}
	onNode(cmd, nodeOptions{&o.Binary, &o.Dir, &o.Host, &o.ServeArgs}, func(ctx context.Context) error {
		if syncDelay > 0 {
			o.ServeArgs = append(o.ServeArgs, "--sync-delay", syncDelay.String())
		}
		return bench.MQTT(ctx, o, a.stdout)
	})
	f := cmd.Flags()
	f.IntVar(&o.Connections, "devices", 200, "devices, each with a connection")
	f.DurationVar(&syncDelay, "sync-delay", 0, "let syncs of the node's log take at least so long")
	f.IntVar(&o.Window, "window", 20, "messages in flight a client")
	f.IntVar(&o.Payload, "payload", 110, "bytes of a message")
	f.IntVar(&o.Rounds, "rounds", 3, "rounds of each server, in turn")
	f.DurationVar(&o.Warm, "warm", 0, "part of a round that is not measured; 0: 2s")
	f.DurationVar(&o.Measured, "duration", 0, "part of a round that is measured; 0: 10s")
	f.BoolVar(&o.Peer, "peer", true, "also measure mosquitto")
	f.BoolVar(&o.Floor, "floor", false, "only the generator, against a server that acknowledges at once")
	return cmd
}

func (a *app) newBenchIdleCmd() *cobra.Command {
	o := bench.IdleOptions{}
	cmd := &cobra.Command{
		Use:   "idle",
		Short: "Memory of idle MQTT connections with their subscriptions, plain and with TLS",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			return bench.Idle(ctx, o, a.stdout)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "directory for the node's data; empty: the system's temporary one")
	f.StringVar(&o.Host, "host", "127.0.0.1", "loopback address of the node")
	f.IntVar(&o.Connections, "connections", 10_000, "clients")
	f.BoolVar(&o.Twins, "twins", false, "with subscriptions to twins and methods, too; without only to commands")
	f.DurationVar(&o.Settle, "settle", 0, "wait before the size is read; 0: 135s")
	return cmd
}
