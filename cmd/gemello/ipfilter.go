package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/ipfilter"
)

// ipFilters are the rules in force: those of the node's configuration, then
// those of the hub's settings.
type ipFilters struct {
	node       *actors.Node
	logger     *slog.Logger
	configured ipfilter.Filter

	mu     sync.RWMutex // guards the following
	hub    ipfilter.Filter
	all    ipfilter.Filter
	stored []byte // what hub was read from
}

var _ api.IPFilters = (*ipFilters)(nil)

func openIPFilters(node *actors.Node, configured ipfilter.Filter, logger *slog.Logger) (*ipFilters, error) {
	f := &ipFilters{node: node, logger: logger, configured: configured, all: configured}
	return f, f.reload()
}

func (f *ipFilters) reload() error {
	stored := f.node.Setting(actors.SettingIPFilter)
	f.mu.Lock()
	defer f.mu.Unlock()
	if bytes.Equal(stored, f.stored) {
		return nil
	}
	var texts []string
	if len(stored) > 0 {
		if err := json.Unmarshal(stored, &texts); err != nil {
			return fmt.Errorf("read the IP filter of the settings: %w", err)
		}
	}
	hub, err := ipfilter.Parse(texts)
	if err != nil {
		return fmt.Errorf("read the IP filter of the settings: %w", err)
	}
	f.hub, f.stored = hub, stored
	f.all = append(append(ipfilter.Filter{}, f.configured...), hub...)
	return nil
}

// follow takes over changes of this and other nodes until ctx ends.
func (f *ipFilters) follow(ctx context.Context) {
	for {
		moved := f.node.SettingsMoved()
		if err := f.reload(); err != nil {
			f.logger.Error("the hub's IP filter stays as it was", "err", err)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// accepts returns the check for a target.
func (f *ipFilters) accepts(t ipfilter.Target) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		f.mu.RLock()
		defer f.mu.RUnlock()
		return f.all.Accepts(t, a)
	}
}

// Rules are those of the configuration and of the hub.
func (f *ipFilters) Rules() (configured, rules ipfilter.Filter) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.configured, f.hub
}

// Replace makes the hub's rules these.
func (f *ipFilters) Replace(ctx context.Context, next ipfilter.Filter, a device.Audit) error {
	c := actors.SettingChange{
		Setting: actors.SettingIPFilter, Action: "replace", Object: "ipfilter: " + strings.Join(next.Texts(), ", "), Audit: a,
	}
	err := f.node.ChangeSetting(ctx, c, func([]byte) ([]byte, error) { return json.Marshal(next.Texts()) })
	if err != nil {
		return apiError(err)
	}
	return f.reload()
}

func newIPFilterCmd(a *app) *cobra.Command {
	return commandGroup("ipfilter", "Show and set which addresses may reach the hub", newIPFilterListCmd(a), newIPFilterSetCmd(a))
}

func newIPFilterListCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the rules in their order", Args: cobra.NoArgs}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			return f.printRules(ctx, c, "GET", nil, nil)
		})
	}
	return cmd
}

func newIPFilterSetCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "set [RULE ...]", Short: "Replace the hub's rules; none accepts everybody",
		Long: "Replace the hub's rules. A rule is 'accept|reject CIDR [devices|service]', the first that fits\n" +
			"decides, and who fits none is accepted:\n\n    gemello ipfilter set 'accept 10.0.0.0/8' 'accept 127.0.0.1 service' 'reject 0.0.0.0/0' 'reject ::/0'",
	}
	f := addAdminFlags(a, cmd)
	force := cmd.Flags().Bool("force", false, "set rules that shut out this address, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := ipfilter.Parse(args); err != nil {
			return usagef("ipfilter set: %v", err)
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			q := url.Values{}
			if *force {
				q.Set("force", "true")
			}
			return f.printRules(ctx, c, "PUT", q, map[string][]string{"rules": append([]string{}, args...)})
		})
	}
	return cmd
}

func (f *adminFlags) printRules(ctx context.Context, c *adminClient, method string, q url.Values, body any) error {
	var out struct{ Configured, Rules []string }
	if err := c.call(ctx, method, "/ip-filter", q, nil, body, &out); err != nil {
		return err
	}
	if f.json {
		return f.printJSON(map[string][]string{"configured": out.Configured, "rules": out.Rules})
	}
	for _, part := range []struct {
		rules []string
		note  string
	}{{out.Configured, "  (configuration)"}, {out.Rules, ""}} {
		for _, r := range part.rules {
			if _, err := fmt.Fprintf(f.app.stdout, "%s%s\n", r, part.note); err != nil {
				return err
			}
		}
	}
	return nil
}
