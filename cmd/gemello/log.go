package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newLogCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log --data DIR --listen ADDR [--auth FILE]",
		Short: "Run the embedded log alone, for several nodes on one machine",
		Args:  cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return errors.New("pending")
	}
	return cmd
}
