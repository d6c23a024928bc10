package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func newAuditCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit [--device ID] [--since TIME] [--actor A]", Short: "Print who asked for which change, from the device log", Args: cobra.NoArgs,
	}
	f := addAdminFlags(a, cmd)
	device := cmd.Flags().String("device", "", "only changes of this device")
	actor := cmd.Flags().String("actor", "", "only what this actor asked for, such as admin or policy:service")
	since := cmd.Flags().String("since", "24h", "only from this time on, such as 2026-01-02T03:04:05Z, or this long ago, such as 2h; start: as far as the log reaches")
	limit := cmd.Flags().Int("limit", 0, "print this many changes at most, the oldest; 0: all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *limit < 0 {
			return usagef("audit: --limit: %d is not allowed; allowed: 0 or more", *limit)
		}
		q := url.Values{}
		if d, err := parseDuration(*since); err == nil {
			*since = time.Now().Add(-d).UTC().Format(time.RFC3339Nano)
		}
		for name, v := range map[string]string{"device": *device, "actor": *actor, "since": *since} {
			if v != "" {
				q.Set(name, v)
			}
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			return c.auditTrail(ctx, q, *limit, func(line []byte) error {
				if f.json {
					_, err := fmt.Fprintf(a.stdout, "%s\n", line)
					return err
				}
				var l struct{ Time, Kind, Object, Actor, Credential, Address string }
				if err := json.Unmarshal(line, &l); err != nil {
					return fmt.Errorf("read the audit trail: %w", err)
				}
				_, err := fmt.Fprintf(a.stdout, "%s  %-12s  %s  by %s (%s) from %s\n", l.Time, l.Kind, l.Object, l.Actor, l.Credential, l.Address)
				return err
			})
		})
	}
	return cmd
}

// auditPage is how many changes are asked for at a time.
const auditPage = 1000

// auditTrail reads the trail page by page; limit 0 is none.
func (c *adminClient) auditTrail(ctx context.Context, q url.Values, limit int, visit func(line []byte) error) error {
	for n := 0; ; {
		page := auditPage
		if limit > 0 {
			page = min(page, limit-n)
		}
		q.Set("limit", strconv.Itoa(page))
		var more struct{ Next, Since string }
		err := c.follow(ctx, "/audit", q, func(line []byte) error {
			if bytes.HasPrefix(line, []byte(`{"next":`)) {
				return json.Unmarshal(line, &more)
			}
			n++
			return visit(line)
		})
		if err != nil || more.Next == "" || limit > 0 && n >= limit {
			return err
		}
		q.Set("after", more.Next)
		q.Set("since", more.Since)
	}
}
