package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/ipfilter"
)

// IPFilters keeps the rules for the addresses of clients.
type IPFilters interface {
	// Rules are those of the node's configuration, which come first and can't be
	// changed here, and those of the hub.
	Rules() (configured, rules ipfilter.Filter)
	// Replace makes the hub's rules these. They are in force on return.
	Replace(ctx context.Context, f ipfilter.Filter, a device.Audit) error
}

// maxFilterBody holds as many rules as there may be.
const maxFilterBody = 64 << 10

type filterJSON struct {
	Configured []string `json:"configured"`
	Rules      []string `json:"rules"`
}

func (a *Admin) getIPFilter(_ context.Context, c *call) error {
	configured, rules := a.o.IPFilters.Rules()
	return c.reply(http.StatusOK, marshal(filterJSON{configured.Texts(), rules.Texts()}))
}

// putIPFilter replaces the hub's rules. Rules that shut out the address that
// they come from are refused unless force=true.
func (a *Admin) putIPFilter(ctx context.Context, c *call) error {
	var in filterJSON
	if err := c.decode(maxFilterBody, &in); err != nil {
		return err
	}
	next, err := ipfilter.Parse(in.Rules)
	if err != nil {
		return fmt.Errorf("%w: %w", device.ErrArgument, err)
	}
	configured, _ := a.o.IPFilters.Rules()
	all := append(append(ipfilter.Filter{}, configured...), next...)
	if from := c.remote(); c.r.URL.Query().Get("force") != "true" && !all.Accepts(ipfilter.Service, from) {
		return fmt.Errorf("%w: these rules shut out %s, where they come from; put \"accept %s service\" first, or repeat with force=true", ErrConflict, from, from)
	}
	if err := a.o.IPFilters.Replace(ctx, next, c.audit); err != nil {
		return err
	}
	return a.getIPFilter(ctx, c)
}
