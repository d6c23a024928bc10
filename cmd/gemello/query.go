package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"
)

func newQueryCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "query 'SELECT …'",
		Short: "Query device twins: one JSON row a line",
		Example: `  gemello query "SELECT deviceId, tags.site FROM devices WHERE properties.reported.rate > 5"` + "\n" +
			`  gemello query "SELECT status, COUNT() AS n FROM devices GROUP BY status"` + "\n" +
			`  gemello query --live "SELECT deviceId, connectionState FROM devices"`,
		Args: cobra.ExactArgs(1),
	}
	f := addAdminFlags(a, cmd)
	page := cmd.Flags().Int("page-size", 100, "rows of one request, 1 to 1000")
	explain := cmd.Flags().Bool("explain", false, "answer the query and print how instead of the rows")
	f.addPositionFlags(cmd)
	live := cmd.Flags().Bool("live", false, "go on: print what comes into the answer, changes in it and leaves it, one JSON event a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *live {
			return f.followLive(cmd, args[0])
		}
		if *page < 1 || *page > 1000 {
			return usagef("query: --page-size: \"%d\" is not allowed; allowed: 1 to 1000", *page)
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			if *explain {
				return f.explainQuery(ctx, c, args[0], *page)
			}
			all := []json.RawMessage{}
			err := c.query(ctx, args[0], *page, http.Header{}, nil, func(row json.RawMessage) error {
				if f.json {
					all = append(all, row)
					return nil
				}
				_, err := fmt.Fprintf(a.stdout, "%s\n", row)
				return err
			})
			if err != nil || !f.json {
				return err
			}
			return f.printJSON(all)
		})
	}
	return cmd
}

// query visits all rows, page by page. The header goes with each request, and
// what they were answered with goes to answered, unless that is nil.
func (c *adminClient) query(ctx context.Context, text string, page int, header http.Header, answered func(http.Header) error, visit func(json.RawMessage) error) error {
	body, err := json.Marshal(map[string]string{"query": text})
	if err != nil {
		return err
	}
	header.Set("x-ms-max-item-count", strconv.Itoa(page))
	for {
		rows, got, err := c.queryPage(ctx, header, body)
		if err != nil {
			return err
		}
		if answered != nil {
			if err := answered(got); err != nil {
				return err
			}
		}
		for _, row := range rows {
			if err := visit(row); err != nil {
				return err
			}
		}
		next := got.Get("x-ms-continuation")
		if next == "" {
			return nil
		}
		header.Set("x-ms-continuation", next)
	}
}

func (c *adminClient) queryPage(ctx context.Context, header http.Header, body []byte) (rows []json.RawMessage, answered http.Header, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	resp, err := c.request(ctx, "POST", "/query", nil, header, body)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read a page of the query: %w", err)
	}
	if len(b) > maxAdminBytes {
		return nil, nil, fmt.Errorf("a page of the query is larger than %s; use a smaller --page-size", Size(maxAdminBytes))
	}
	if err := json.Unmarshal(b, &rows); err != nil {
		return nil, nil, fmt.Errorf("a page of the query is not the JSON expected: %w", err)
	}
	return rows, resp.Header, nil
}
