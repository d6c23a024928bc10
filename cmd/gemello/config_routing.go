package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
)

func (r *RoutingConfig) limits() partition.RoutingLimits {
	return partition.RoutingLimits{Routes: r.MaxRoutes, Endpoints: r.MaxEndpoints, Enrichments: r.MaxEnrichments}
}

// maxRoutes keeps the setting that holds all routes within one record.
const maxRoutes = 200

// validateRouting checks what can be checked without the routes that were
// applied by hand and stay.
func (c *Config) validateRouting() error {
	r := &c.Routing
	if r.Fallback != "" && r.Fallback != "on" && r.Fallback != "off" {
		return c.bad("routing.fallback", r.Fallback, "on, off or empty", "")
	}
	for _, n := range []struct {
		key         string
		value, most int
	}{
		{"routing.max_routes", r.MaxRoutes, maxRoutes},
		{"routing.max_endpoints", r.MaxEndpoints, partition.MaxRoutingEndpoints},
		{"routing.max_enrichments", r.MaxEnrichments, maxRoutes},
	} {
		if n.value < 1 || n.value > n.most {
			return c.bad(n.key, strconv.Itoa(n.value), fmt.Sprintf("1 to %d", n.most), "")
		}
	}
	for i := range c.Webhooks {
		key := "webhooks[" + strconv.Itoa(i) + "]."
		w := &c.Webhooks[i]
		if err := checkWebhookURL(w.URL, r.PrivateWebhooks); err != nil {
			return c.bad(key+"url", w.URL, "https://host/path", err.Error())
		}
		if w.AuthorizationFile != "" {
			if err := c.readable(key+"authorization_file", w.AuthorizationFile); err != nil {
				return err
			}
		}
	}
	return nil
}

// routing is what the configuration says of routing, as a change of what is in
// force. The error is that of a file.
func (c *Config) routing() (api.RoutingChange, error) {
	var change api.RoutingChange
	if c.Routing.Fallback != "" {
		on := c.Routing.Fallback == "on"
		change.Fallback = &on
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		change.Routes = append(change.Routes, api.Route{Name: r.Name, Source: r.Source, Condition: r.Condition, Endpoints: r.Endpoints, Enabled: &r.Enabled})
	}
	for _, e := range c.Enrichments {
		change.Enrichments = append(change.Enrichments, apiEnrichment(e))
	}
	for _, w := range c.Webhooks {
		x := api.Webhook{Name: w.Name, URL: w.URL}
		if w.AuthorizationFile != "" {
			b, err := readSmallFile(w.AuthorizationFile)
			if err != nil {
				return change, usagef("webhooks: authorization_file of %s: %v", w.Name, err)
			}
			text := strings.TrimRight(string(b), "\r\n")
			x.Authorization = &text
		}
		change.Webhooks = append(change.Webhooks, x)
	}
	return change, nil
}

func apiEnrichment(e EnrichmentConfig) api.Enrichment {
	return api.Enrichment{Key: e.Key, Value: e.Value, Endpoints: e.Endpoints}
}

// applyRouting applies the configured routing at a start; what was applied by
// hand stays.
func applyRouting(ctx context.Context, a routingAdapter, c *Config) error {
	change, err := c.routing()
	if err != nil {
		return err
	}
	if change.Fallback == nil && len(change.Routes)+len(change.Enrichments)+len(change.Webhooks) == 0 {
		return nil
	}
	by := device.Audit{Actor: "node", Credential: "configuration", Address: "local", RequestID: "start"}
	err = a.Apply(ctx, change, by)
	if errors.Is(err, device.ErrArgument) {
		return usagef("routes: %v", err)
	}
	return err
}
