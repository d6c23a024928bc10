package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/bench"
)

func (a *app) newBenchQueryCmd() *cobra.Command {
	o := bench.QueryOptions{}
	cmd := &cobra.Command{Use: "query", Short: "Queries over REST: scans by a nested condition, and single devices by an index and by id"}
	onNode(cmd, nodeOptions{&o.Binary, &o.Dir, &o.Host, &o.ServeArgs}, func(ctx context.Context) error {
		return bench.Query(ctx, o, a.stdout)
	})
	f := cmd.Flags()
	f.IntVar(&o.Devices, "devices", 100_000, "devices with keys and a twin")
	f.IntVar(&o.Scans, "scans", 10, "full scans of each kind")
	f.IntVar(&o.Queries, "queries", 2000, "queries of each kind that few rows answer")
	return cmd
}
