package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/api"
)

func newRouteCmd(a *app) *cobra.Command {
	return commandGroup("route", "Say where messages of devices go",
		newRouteApplyCmd(a), newRouteListCmd(a), newRouteDeleteCmd(a), newRouteFallbackCmd(a), newRouteTestCmd(a))
}

func newRouteApplyCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply (NAME --endpoint E [--condition C] | -f FILE.yaml)",
		Short: "Create or change routes, enrichments and webhooks",
		Long: "Create or change one route from flags, or all that a YAML file holds in the sections routes,\n" +
			"enrichments and webhooks, in the form of the configuration; -f - reads standard input. All of a\n" +
			"file is applied at once or not at all.",
		Args: cobra.MaximumNArgs(1),
	}
	f := addAdminFlags(a, cmd)
	file := cmd.Flags().StringP("file", "f", "", "YAML file of routes, enrichments and webhooks")
	r := routeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var change api.RoutingChange
		switch {
		case (len(args) == 0) == (*file == ""):
			return usagef("route apply: give NAME with --endpoint, or -f FILE")
		case *file != "":
			var err error
			if change, err = a.readRouting(*file); err != nil {
				return err
			}
		default:
			route := r.route(args[0])
			if len(route.Endpoints) == 0 {
				return usagef("route apply: --endpoint is needed; allowed: events, topic:NAME, webhook:NAME")
			}
			change.Routes = []api.Route{*route}
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var raw json.RawMessage
			if err := c.call(ctx, "PATCH", "/routing", nil, nil, change, &raw); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(raw)
			}
			_, err := fmt.Fprintf(a.stdout, "applied %s\n", strings.ReplaceAll(objectsOf(&change), " ", ", "))
			return err
		})
	}
	return cmd
}

// routeSettings are the flags of one route.
type routeSettings struct {
	source, condition *string
	endpoints         *[]string
	disabled          *bool
}

func routeFlags(cmd *cobra.Command) routeSettings {
	return routeSettings{
		source:    cmd.Flags().String("source", partition.SourceTelemetry, "what messages: DeviceMessages, TwinChangeEvents, DeviceLifecycleEvents, DeviceConnectionStateEvents, …"),
		condition: cmd.Flags().String("condition", "", "which of them; empty: all"),
		endpoints: cmd.Flags().StringSlice("endpoint", nil, "events, topic:NAME or webhook:NAME; may be repeated"),
		disabled:  cmd.Flags().Bool("disabled", false, "keep the route and don't use it"),
	}
}

func (r routeSettings) route(name string) *api.Route {
	enabled := !*r.disabled
	return &api.Route{Name: name, Source: *r.source, Condition: *r.condition, Endpoints: *r.endpoints, Enabled: &enabled}
}

// readRouting reads the sections of a configuration that are about routing.
func (a *app) readRouting(file string) (change api.RoutingChange, err error) {
	var text []byte
	if file == "-" {
		file = "standard input"
		text, err = io.ReadAll(io.LimitReader(a.stdin, maxConfigBytes))
	} else {
		text, err = readSmallFile(file)
	}
	if err != nil {
		return change, usagef("route apply: -f: %v; name a readable file", err)
	}
	root, err := parseYAML(file, text)
	if err != nil {
		return change, err
	}
	var document struct {
		Routes      []RouteConfig      `yaml:"routes"`
		Enrichments []EnrichmentConfig `yaml:"enrichments"`
		Webhooks    []WebhookConfig    `yaml:"webhooks"`
	}
	c := &Config{origin: make(map[string]string)}
	if root != nil {
		if err := decodeNode(file, "", root, reflect.ValueOf(&document).Elem(), c.origin); err != nil {
			return change, err
		}
	}
	c.Routes, c.Enrichments, c.Webhooks = document.Routes, document.Enrichments, document.Webhooks
	if len(c.Routes)+len(c.Enrichments)+len(c.Webhooks) == 0 {
		return change, usagef("%s: no routes, enrichments or webhooks in it", file)
	}
	return c.routing()
}

func newRouteListCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List routes, enrichments and endpoints with what they took", Args: cobra.NoArgs}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var raw json.RawMessage
			if err := c.call(ctx, "GET", "/routing", nil, nil, nil, &raw); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(raw)
			}
			var s api.RoutingStatus
			if err := json.Unmarshal(raw, &s); err != nil {
				return fmt.Errorf("read routing: %w", err)
			}
			return printRouting(a.stdout, &s)
		})
	}
	return cmd
}

func printRouting(out io.Writer, s *api.RoutingStatus) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ROUTE\tENABLED\tSOURCE\tENDPOINTS\tMATCHED\tCONDITION")
	for _, r := range s.Routes {
		condition := r.Condition
		if condition == "" {
			condition = "true"
		}
		fmt.Fprintf(w, "%s\t%v\t%s\t%s\t%d\t%s\n", r.Name, r.Enabled == nil || *r.Enabled, r.Source, strings.Join(r.Endpoints, ","), r.Matched, oneLine(condition))
	}
	fmt.Fprintf(w, "$fallback\t%v\t%s\tevents\t%d\t\n", s.Fallback, partition.SourceTelemetry, s.Messages["fallback"])
	if len(s.Enrichments) > 0 {
		fmt.Fprintln(w, "\nENRICHMENT\tVALUE\tENDPOINTS")
		for _, e := range s.Enrichments {
			fmt.Fprintf(w, "%s\t%s\t%s\n", e.Key, oneLine(e.Value), strings.Join(e.Endpoints, ","))
		}
	}
	if len(s.Webhooks) > 0 {
		fmt.Fprintln(w, "\nWEBHOOK\tSTATE\tWAITING\tDELIVERED\tDEAD\tURL\tCAUSE")
		for _, h := range s.Webhooks {
			state := h.State
			if state == "" {
				state = "unused"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", h.Name, state, h.Lag, h.Delivered, h.DeadLetters, h.URL, oneLine(h.Cause))
		}
	}
	fmt.Fprintln(w, "\nENDPOINT\tCOPIES\tSUSPENDED")
	for _, e := range s.Endpoints {
		fmt.Fprintf(w, "%s\t%d\t%s\n", e.Name, e.Copies, oneLine(e.Cause))
	}
	return w.Flush()
}

func newRouteDeleteCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Short: "Delete a route, or with a flag an enrichment or webhook; topics stay", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	enrichment := cmd.Flags().Bool("enrichment", false, "NAME is the key of an enrichment")
	hook := cmd.Flags().Bool("webhook", false, "NAME is a webhook")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		kind := "routes"
		switch {
		case *enrichment && *hook:
			return usagef("route delete: --enrichment and --webhook exclude each other")
		case *enrichment:
			kind = "enrichments"
		case *hook:
			kind = "webhooks"
		}
		return f.deleteNamed(cmd, "/routing/"+kind+"/"+url.PathEscape(args[0]), args[0])
	}
	return cmd
}

func newRouteFallbackCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "fallback on|off", Short: "Send telemetry that no route matches to events, or drop it",
		Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), ValidArgs: []string{"on", "off"},
	}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		on := args[0] == "on"
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var raw json.RawMessage
			if err := c.call(ctx, "PATCH", "/routing", nil, nil, api.RoutingChange{Fallback: &on}, &raw); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(raw)
			}
			_, err := fmt.Fprintf(a.stdout, "the fallback is %s\n", args[0])
			return err
		})
	}
	return cmd
}

func newRouteTestCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test --device ID [--body TEXT] [--property K=V] [--system K=V]",
		Short: "Say which routes would take a message, and why; nothing is sent",
		Long: "Say which routes would take a message, and why. The device's twin counts as it is now. With\n" +
			"--endpoint and --condition, a route that was not applied yet is tried alone.",
		Args: cobra.NoArgs,
	}
	f := addAdminFlags(a, cmd)
	r := routeFlags(cmd)
	id := cmd.Flags().String("device", "", "id of the device")
	module := cmd.Flags().String("module", "", "id of the module")
	body := cmd.Flags().String("body", "", "the message's body; - reads standard input")
	properties := cmd.Flags().StringToString("property", nil, "application property NAME=VALUE; may be repeated")
	system := cmd.Flags().StringToString("system", map[string]string{"contentType": "application/json", "contentEncoding": "utf-8"}, "system property NAME=VALUE; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *id == "" {
			return usagef("route test: --device is needed: conditions and enrichments may look at its twin")
		}
		t := api.RoutingTest{DeviceID: *id, ModuleID: *module, Source: *r.source, Properties: *properties, SystemProperties: *system, Body: *body}
		if *body == "-" {
			b, err := io.ReadAll(io.LimitReader(a.stdin, partition.MaxMessage+1))
			if err != nil {
				return fmt.Errorf("read the body: %w", err)
			}
			t.Body = string(b)
		}
		if len(*r.endpoints) > 0 {
			t.Route = r.route("new")
		} else if *r.condition != "" {
			return usagef("route test: --condition needs --endpoint; both are of a route that is tried alone")
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var raw json.RawMessage
			if err := c.call(ctx, "POST", "/routing/test", nil, nil, t, &raw); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(raw)
			}
			var v api.RoutingVerdict
			if err := json.Unmarshal(raw, &v); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			return printVerdict(a.stdout, &v)
		})
	}
	return cmd
}

func printVerdict(out io.Writer, v *api.RoutingVerdict) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ROUTE\tMATCHED\tENDPOINTS\tWHY")
	for _, r := range v.Routes {
		fmt.Fprintf(w, "%s\t%v\t%s\t%s\n", r.Name, r.Matched, strings.Join(r.Endpoints, ","), oneLine(r.Reason))
	}
	fmt.Fprintf(w, "\n%s\n", v.Result)
	for _, c := range v.Copies {
		fmt.Fprintf(w, "\ncopy to %s\n", c.Topic)
		for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
			fmt.Fprintf(w, "  %s\t%s\n", name, oneLine(c.Headers[name]))
		}
	}
	return w.Flush()
}
