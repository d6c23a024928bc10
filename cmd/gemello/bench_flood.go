package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/bench"
)

func (a *app) newBenchFloodCmd() *cobra.Command {
	o := bench.FloodOptions{}
	cmd := &cobra.Command{Use: "flood", Short: "What devices see beside one that floods, lies about its topic, answers uncalled methods or reconnects"}
	onNode(cmd, nodeOptions{&o.Binary, &o.Dir, &o.Host, &o.ServeArgs}, func(ctx context.Context) error {
		return bench.Flood(ctx, o, a.stdout)
	})
	f := cmd.Flags()
	f.IntVar(&o.Connections, "devices", 200, "devices that behave, each with a connection")
	f.Float64Var(&o.Rate, "rate", 500, "reported patches a second of all of them")
	f.IntVar(&o.Rounds, "rounds", 3, "rounds of each kind, each after a quiet one")
	f.StringSliceVar(&o.Kinds, "kind", nil, "kinds of bad behaviour, of "+strings.Join(bench.FloodKinds(), ", ")+"; empty: all")
	f.DurationVar(&o.Warm, "warm", 0, "part of a round that is not measured; 0: 1s")
	f.DurationVar(&o.Measured, "duration", 0, "part of a round that is measured; 0: 5s")
	return cmd
}
