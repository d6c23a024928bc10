package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/sinks/webhook"
)

// routingAdapter is the hub's routing as the admin API needs it.
type routingAdapter struct {
	node    *actors.Node
	sealer  *credential.Sealer
	private bool // webhooks may lie on private addresses
}

var _ api.Routing = routingAdapter{}

func routingError(err error) error {
	if errors.Is(err, partition.ErrRouting) {
		return fmt.Errorf("%w: %w", device.ErrArgument, err)
	}
	return apiError(err)
}

// Apply makes one change of all that c holds.
func (a routingAdapter) Apply(ctx context.Context, c api.RoutingChange, by device.Audit) error {
	return routingError(a.node.ChangeRouting(ctx, "put", objectsOf(&c), by, func(r *partition.Routing) error {
		if c.Fallback != nil {
			r.NoFallback = !*c.Fallback
		}
		for i := range c.Routes {
			x := routeOf(&c.Routes[i])
			put(&r.Routes, x, func(o *partition.Route) bool { return strings.EqualFold(o.Name, x.Name) })
		}
		for _, e := range c.Enrichments {
			x := partition.Enrichment{Key: e.Key, Value: e.Value, Endpoints: e.Endpoints}
			put(&r.Enrichments, x, func(o *partition.Enrichment) bool { return strings.EqualFold(o.Key, x.Key) })
		}
		for i := range c.Webhooks {
			if err := a.putWebhook(r, &c.Webhooks[i]); err != nil {
				return err
			}
		}
		return nil
	}))
}

func put[T any](list *[]T, x T, same func(*T) bool) {
	for i := range *list {
		if same(&(*list)[i]) {
			(*list)[i] = x
			return
		}
	}
	*list = append(*list, x)
}

// objectsOf names what a change is of, for the audit trail.
func objectsOf(c *api.RoutingChange) string {
	var names []string
	if c.Fallback != nil {
		names = append(names, "fallback")
	}
	for i := range c.Routes {
		names = append(names, "routes/"+c.Routes[i].Name)
	}
	for i := range c.Enrichments {
		names = append(names, "enrichments/"+c.Enrichments[i].Key)
	}
	for i := range c.Webhooks {
		names = append(names, "webhooks/"+c.Webhooks[i].Name)
	}
	text := strings.Join(names, " ")
	return text[:min(len(text), 1<<10)]
}

func routeOf(r *api.Route) partition.Route {
	x := partition.Route{Name: r.Name, Source: r.Source, Condition: r.Condition, Endpoints: r.Endpoints}
	x.Disabled = r.Enabled != nil && !*r.Enabled
	if x.Source == "" {
		x.Source = partition.SourceTelemetry
	}
	return x
}

// putWebhook keeps the authorization of a webhook whose URL stays: it must not be
// sent to another address because somebody changed that.
func (a routingAdapter) putWebhook(r *partition.Routing, w *api.Webhook) error {
	if err := checkWebhookURL(w.URL, a.private); err != nil {
		return fmt.Errorf("%w: webhook %.70q: %w", partition.ErrRouting, w.Name, err)
	}
	x := partition.Webhook{Name: w.Name, URL: w.URL}
	i := slices.IndexFunc(r.Webhooks, func(o partition.Webhook) bool { return o.Name == w.Name })
	switch {
	case w.Authorization == nil:
		if i >= 0 && r.Webhooks[i].URL == w.URL {
			x.Authorization = r.Webhooks[i].Authorization
		}
	case strings.ContainsAny(*w.Authorization, "\r\n") || len(*w.Authorization) > 8<<10:
		return fmt.Errorf("%w: webhook %.70q: the authorization is one line of at most 8 KiB", partition.ErrRouting, w.Name)
	case *w.Authorization != "":
		if old, err := a.authorization(r, i); err == nil && i >= 0 && r.Webhooks[i].URL == w.URL && old == *w.Authorization {
			x.Authorization = r.Webhooks[i].Authorization // sealing again would be another setting
			break
		}
		var err error
		if x.Authorization, err = a.sealer.Seal([]byte(*w.Authorization), webhookScope(w.Name)); err != nil {
			return err
		}
	}
	put(&r.Webhooks, x, func(o *partition.Webhook) bool { return o.Name == w.Name })
	return nil
}

func (a routingAdapter) authorization(r *partition.Routing, i int) (string, error) {
	if i < 0 || r.Webhooks[i].Authorization == nil {
		return "", nil
	}
	b, err := a.sealer.Open(r.Webhooks[i].Authorization, webhookScope(r.Webhooks[i].Name))
	return string(b), err
}

func webhookScope(name string) string { return "webhooks/" + name + "/authorization" }

// checkWebhookURL refuses what no message may be posted to. What a name stands
// for is looked at when it is dialled.
func checkWebhookURL(text string, private bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || len(text) > 2048:
		return fmt.Errorf("url %.70q, want https://host/path", text)
	case u.User != nil:
		return errors.New("url holds credentials; give them as authorization")
	case u.Fragment != "":
		return errors.New("url holds a fragment")
	case u.Scheme != "https" && !(u.Scheme == "http" && private):
		return errors.New("url must be https; http is for private addresses that routing.private_webhooks allows")
	}
	if addr, err := netip.ParseAddr(strings.Trim(u.Hostname(), "[]")); err == nil && !private && !webhook.Public(addr) {
		return fmt.Errorf("url has the private address %s; routing.private_webhooks allows it", addr)
	}
	return nil
}

// Delete removes a route, enrichment or webhook.
func (a routingAdapter) Delete(ctx context.Context, kind, name string, by device.Audit) error {
	return routingError(a.node.ChangeRouting(ctx, "delete", kind+"/"+name, by, func(r *partition.Routing) error {
		n := len(r.Routes) + len(r.Enrichments) + len(r.Webhooks)
		switch kind {
		case "routes":
			r.Routes = slices.DeleteFunc(r.Routes, func(x partition.Route) bool { return strings.EqualFold(x.Name, name) })
		case "enrichments":
			r.Enrichments = slices.DeleteFunc(r.Enrichments, func(x partition.Enrichment) bool { return strings.EqualFold(x.Key, name) })
		case "webhooks":
			r.Webhooks = slices.DeleteFunc(r.Webhooks, func(x partition.Webhook) bool { return x.Name == name })
		}
		if n == len(r.Routes)+len(r.Enrichments)+len(r.Webhooks) {
			return fmt.Errorf("%w: %s %.70q", api.ErrNoObject, strings.TrimSuffix(kind, "s"), name)
		}
		return nil
	}))
}

// Status returns the routing with its figures.
func (a routingAdapter) Status(ctx context.Context) (api.RoutingStatus, error) {
	s, err := a.node.RoutingStatus(ctx)
	if err != nil {
		return api.RoutingStatus{}, apiError(err)
	}
	out := api.RoutingStatus{
		Fallback: !s.Routing.NoFallback, Routes: []api.Route{}, Enrichments: []api.Enrichment{}, Webhooks: []api.Webhook{}, Endpoints: []api.RoutingEndpoint{},
		Messages: map[string]int64{
			"routed": s.Figures.Routed, "fallback": s.Figures.Fallback, "unmatched": s.Figures.Unmatched,
			"tooLarge": s.Figures.TooLarge, "suspended": s.Figures.Suspended,
		},
	}
	for i := range s.Routing.Routes {
		r := &s.Routing.Routes[i]
		enabled := !r.Disabled
		out.Routes = append(out.Routes, api.Route{
			Name: r.Name, Source: r.Source, Condition: r.Condition, Endpoints: r.Endpoints, Enabled: &enabled, Matched: countOf(s.Figures.Routes, r.Name),
		})
	}
	for _, e := range s.Routing.Enrichments {
		out.Enrichments = append(out.Enrichments, api.Enrichment{Key: e.Key, Value: e.Value, Endpoints: e.Endpoints})
	}
	for _, w := range s.Routing.Webhooks {
		x := api.Webhook{Name: w.Name, URL: w.URL, Authorized: w.Authorization != nil}
		for _, st := range s.Webhooks {
			if st.Name == w.Name {
				x.State, x.Cause, x.Lag, x.Delivered, x.DeadLetters = st.State, st.Cause, st.Lag, st.Delivered, st.DeadLetters
			}
		}
		out.Webhooks = append(out.Webhooks, x)
	}
	for _, e := range s.Figures.Endpoints {
		cause, suspended := s.Suspended[e.Name]
		out.Endpoints = append(out.Endpoints, api.RoutingEndpoint{Name: e.Name, Copies: e.Count, Suspended: suspended, Cause: cause})
	}
	return out, nil
}

func countOf(list []partition.EndpointFigures, name string) int64 {
	for _, f := range list {
		if f.Name == name {
			return f.Count
		}
	}
	return 0
}

// Test says where a message would go.
func (a routingAdapter) Test(ctx context.Context, t api.RoutingTest) (api.RoutingVerdict, error) {
	m := &partition.TrialMessage{Source: t.Source, DeviceID: t.DeviceID, ModuleID: t.ModuleID, Body: []byte(t.Body)}
	for _, p := range []struct {
		values map[string]string
		system bool
	}{{t.SystemProperties, true}, {t.Properties, false}} {
		for _, name := range sortedPaths(p.values) {
			m.Properties = append(m.Properties, partition.TrialProperty{Name: name, Value: p.values[name], System: p.system})
		}
	}
	var with *partition.Routing
	if t.Route != nil {
		now, err := a.node.Routing()
		if err != nil {
			return api.RoutingVerdict{}, err
		}
		with = &now
		with.Routes = []partition.Route{routeOf(t.Route)}
	}
	got, err := a.node.TryRouting(ctx, with, m)
	if err != nil {
		return api.RoutingVerdict{}, routingError(err)
	}
	v := api.RoutingVerdict{Result: got.Reason, Routes: []api.RouteVerdict{}, Copies: []api.RoutedCopy{}}
	for _, r := range got.Routes {
		v.Routes = append(v.Routes, api.RouteVerdict{Name: r.Name, Matched: r.Matched, Reason: r.Reason, Endpoints: r.Endpoints})
	}
	for _, c := range got.Copies {
		x := api.RoutedCopy{Topic: c.Topic, Headers: map[string]string{}}
		for _, h := range c.Headers {
			x.Headers[h.Key] = string(h.Value)
		}
		v.Copies = append(v.Copies, x)
	}
	return v, nil
}
