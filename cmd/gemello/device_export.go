package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"
)

func newDeviceExportCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write all devices and modules with keys and twins, one JSON a line, in the form of Azure's export job",
		Args:  cobra.MaximumNArgs(1),
	}
	f := addAdminFlags(a, cmd)
	noKeys := cmd.Flags().Bool("no-keys", false, "leave symmetric keys out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			if len(args) == 0 || args[0] == "-" {
				_, err := c.export(ctx, !*noKeys, a.stdout)
				return err
			}
			n := 0
			err := writeNewFile("device export", args[0], func(w io.Writer) (err error) {
				n, err = c.export(ctx, !*noKeys, w)
				return err
			})
			if err != nil {
				return err
			}
			if f.json {
				return f.printJSON(map[string]any{"exported": n, "file": args[0]})
			}
			_, err = fmt.Fprintf(a.stdout, "exported %d devices and modules\n", n)
			return err
		})
	}
	return cmd
}

// export copies the node's export and counts its lines.
func (c *adminClient) export(ctx context.Context, keys bool, out io.Writer) (int, error) {
	q := url.Values{}
	if !keys {
		q.Set("keys", "false")
	}
	return c.lines(ctx, "/export", q, out)
}

// lines copies an answer line by line and counts them. The node tells an error
// that comes late in a last line.
func (c *adminClient) lines(ctx context.Context, path string, q url.Values, out io.Writer) (int, error) {
	resp, err := c.request(ctx, "GET", path, q, nil, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	in := bufio.NewReaderSize(resp.Body, 256<<10)
	n := 0
	for {
		line, err := in.ReadBytes('\n')
		if bytes.HasPrefix(line, []byte(`{"error":`)) {
			return n, parseAdminError(resp.StatusCode, line)
		}
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("%s: broke off after %d lines: %w", path[1:], n, err)
		}
		if _, err := out.Write(line); err != nil {
			return n, fmt.Errorf("write: %w", err)
		}
		n++
	}
}
