package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// maxTailLine bounds one record as JSON: a megabyte of value, escaped.
const maxTailLine = 8 << 20

func newTailCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail TOPIC",
		Short: "Print the records of a topic, one JSON a line",
		Args:  cobra.ExactArgs(1),
	}
	f := addAdminFlags(a, cmd)
	from := cmd.Flags().String("from", "end", "start or end: where to begin")
	follow := cmd.Flags().Bool("follow", true, "wait for new records; false: stop at the end")
	limit := cmd.Flags().Int("limit", 0, "stop after this many records; 0: never")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *from != "start" && *from != "end" {
			return usagef("tail: --from: %q is not allowed; allowed: start, end", *from)
		}
		if *limit < 0 {
			return usagef("tail: --limit: \"%d\" is not allowed; allowed: 0 (no limit) or more", *limit)
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			n := 0
			err := c.tail(ctx, args[0], tailOptions{from: *from, follow: *follow, limit: *limit}, func(line []byte) error {
				n++
				if _, err := fmt.Fprintf(a.stdout, "%s\n", line); err != nil {
					return err
				}
				if *limit > 0 && n >= *limit {
					return errTailDone
				}
				return nil
			})
			if errors.Is(err, context.Canceled) {
				return nil // interrupted, which is how tail ends
			}
			return err
		})
	}
	return cmd
}

// errTailDone is what a visitor returns to end a tail without an error.
var errTailDone = errors.New("done")

type tailOptions struct {
	from   string // "start" or "end"
	follow bool
	limit  int // 0: none
}

// tail calls visit for each line of a topic's records; the line is valid during
// the call.
func (c *adminClient) tail(ctx context.Context, topic string, o tailOptions, visit func(line []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := url.Values{"from": {o.from}, "follow": {strconv.FormatBool(o.follow)}}
	if o.limit > 0 {
		q.Set("limit", strconv.Itoa(o.limit))
	}
	err := c.follow(ctx, "/topics/"+url.PathEscape(topic)+"/records", q, visit)
	if errors.Is(err, errTailDone) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.follow && o.limit == 0 && ctx.Err() == nil {
		return fmt.Errorf("the node ended the records of %s; it has stopped, or look at its log", topic)
	}
	return nil
}

// follow calls visit for each line of an answer, until its first error.
func (c *adminClient) follow(ctx context.Context, path string, q url.Values, visit func(line []byte) error) error {
	resp, err := c.request(ctx, "GET", path, q, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxTailLine)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue // a sign of life from a quiet topic
		}
		if bytes.HasPrefix(lines.Bytes(), []byte(`{"error":`)) {
			return parseAdminError(http.StatusOK, lines.Bytes())
		}
		if err := visit(lines.Bytes()); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
