package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
)

// indexesAdapter is the node's indexes as the admin API sees them.
type indexesAdapter struct{ node *actors.Node }

var _ api.Indexes = indexesAdapter{}

func (a indexesAdapter) List(ctx context.Context) ([]api.Index, error) {
	list, err := a.node.Indexes(ctx)
	out := make([]api.Index, len(list))
	for i, v := range list {
		out[i] = api.Index(v)
	}
	return out, apiError(err)
}

func (a indexesAdapter) Create(ctx context.Context, path string, by device.Audit) (string, bool, error) {
	text, created, err := a.node.CreateIndex(ctx, path, by)
	return text, created, apiError(err)
}

func (a indexesAdapter) Drop(ctx context.Context, path string, by device.Audit) error {
	err := a.node.DropIndex(ctx, path, by)
	if errors.Is(err, actors.ErrNoIndex) {
		return fmt.Errorf("%w: %w", api.ErrNoObject, err)
	}
	return apiError(err)
}

func newIndexCmd(a *app) *cobra.Command {
	return commandGroup("index", "List, create and drop the indexes of queries", newIndexListCmd(a), newIndexCreateCmd(a), newIndexDropCmd(a))
}

func (c *adminClient) indexes(ctx context.Context) ([]api.Index, error) {
	var out struct{ Indexes []api.Index }
	err := c.call(ctx, "GET", "/indexes", nil, nil, nil, &out)
	return out.Indexes, err
}

func newIndexListCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List indexes, what they are there for and whether they are built", Args: cobra.NoArgs}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			list, err := c.indexes(ctx)
			if err != nil {
				return err
			}
			if f.json {
				return f.printJSON(list)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "PATH\tBY\tSTATE")
			for _, x := range list {
				state := "ready"
				if !x.Ready {
					state = fmt.Sprintf("building, used in %d partitions", x.Partitions)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", x.Path, strings.Join(x.By, ", "), state)
			}
			return w.Flush()
		})
	}
	return cmd
}

// indexPoll is how often a waiting create asks whether the index is built.
const indexPoll = 200 * time.Millisecond

func newIndexCreateCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "create PATH", Short: "Make an index over a path of twins, such as tags.site",
		Example: "  gemello index create tags.site\n  gemello index create properties.reported.fw.version --wait",
		Args:    cobra.ExactArgs(1),
	}
	f := addAdminFlags(a, cmd)
	wait := cmd.Flags().Bool("wait", false, "return when it is built")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var out struct{ Path string }
			if err := c.call(ctx, "PUT", "/indexes/"+url.PathEscape(args[0]), nil, nil, nil, &out); err != nil {
				return err
			}
			ready := false
			if *wait {
				if err := c.awaitIndex(ctx, out.Path); err != nil {
					return err
				}
				ready = true
			}
			if f.json {
				return f.printJSON(map[string]any{"path": out.Path, "ready": ready})
			}
			note := "queries use it when it is built"
			if ready {
				note = "it is built"
			}
			_, err := fmt.Fprintf(a.stdout, "created %s; %s\n", out.Path, note)
			return err
		})
	}
	return cmd
}

// awaitIndex returns when the index is built.
func (c *adminClient) awaitIndex(ctx context.Context, path string) error {
	for {
		list, err := c.indexes(ctx)
		if err != nil {
			return err
		}
		there := false
		for _, x := range list {
			there = there || x.Path == path
			if x.Path == path && x.Ready {
				return nil
			}
		}
		if !there {
			return fmt.Errorf("the index on %s was dropped meanwhile", path)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(indexPoll):
		}
	}
}

func newIndexDropCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "drop PATH", Short: "Drop an index; queries scan instead", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.deleteNamed(cmd, "/indexes/"+url.PathEscape(args[0]), args[0])
	}
	return cmd
}
