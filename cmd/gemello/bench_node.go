package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
)

// nodeOptions are what workloads that start nodes of this binary have in common.
type nodeOptions struct {
	binary, dir, host *string
	serveArgs         *[]string
}

// onNode makes cmd run such a workload and adds the flags of the node.
func onNode(cmd *cobra.Command, o nodeOptions, run func(context.Context) error) {
	var profile string
	f := cmd.Flags()
	f.StringVar(o.dir, "dir", "", "directory for the node's data; empty: the system's temporary one")
	f.StringVar(o.host, "host", "127.0.0.1", "loopback address of the node")
	f.StringVar(&profile, "profile", "", "file for a CPU profile of the node")
	f.StringArrayVar(o.serveArgs, "serve-arg", nil, "further argument of gemello serve, such as --serve-arg=--log.partitions=4")
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		if *o.binary, err = os.Executable(); err != nil {
			return err
		}
		if profile != "" {
			*o.serveArgs = append(*o.serveArgs, "--cpuprofile", profile)
		}
		return run(ctx)
	}
}
