package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
)

// historyAdapter gives the node's history the names that the API knows.
type historyAdapter struct{ node *actors.Node }

var _ api.Histories = historyAdapter{}

func (h historyAdapter) TwinHistory(ctx context.Context, id string, visit func(*api.TwinChange) error) (bool, error) {
	whole, err := h.node.TwinHistory(ctx, id, func(s *actors.TwinStep) error {
		c := api.TwinChange(*s)
		return visit(&c)
	})
	if errors.Is(err, actors.ErrNoHistory) {
		return false, fmt.Errorf("%w: %w", api.ErrNoHistory, err)
	}
	return whole, apiError(err)
}

func newTwinLogCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "log ID", Short: "Print who changed a device and its twin, and what, one JSON a line", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	from := cmd.Flags().String("from", "", "first time that counts, like 2026-01-02T03:04:05Z")
	to := cmd.Flags().String("to", "", "last time that counts")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			c = c.patient()
			defer c.Close()
			_, err := c.lines(ctx, twinPath(args[0])+"/history", times(*from, *to), a.stdout)
			return err
		})
	}
	return cmd
}

func newTwinDiffCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "diff ID", Short: "Print what differs of a twin between two times", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	from := cmd.Flags().String("from", "", "the earlier time, like 2026-01-02T03:04:05Z")
	to := cmd.Flags().String("to", "", "the later time; empty: now")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *from == "" {
			return usagef("twin diff: --from is needed: a time like 2026-01-02T03:04:05Z")
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var out json.RawMessage
			if err := c.call(ctx, "GET", twinPath(args[0])+"/diff", times(*from, *to), nil, nil, &out); err != nil {
				return err
			}
			return f.printRaw(out)
		})
	}
	return cmd
}

func times(from, to string) url.Values {
	q := url.Values{}
	if from != "" {
		q.Set("from", from)
	}
	if to != "" {
		q.Set("to", to)
	}
	return q
}
