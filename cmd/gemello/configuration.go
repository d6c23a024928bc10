package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newConfigurationCmd(a *app) *cobra.Command {
	cmd := commandGroup("configuration", "Keep desired properties of many devices as a condition says",
		newConfigurationPutCmd(a, "create", "Create a configuration"), newConfigurationListCmd(a), newConfigurationShowCmd(a),
		newConfigurationPutCmd(a, "update", "Change a configuration: what no flag says stays"), newConfigurationDeleteCmd(a), newConfigurationTestCmd(a))
	cmd.Aliases = []string{"configurations"}
	return cmd
}

func configurationPath(id string) string { return "/configurations/" + url.PathEscape(id) }

// configurationFlags say what a configuration is to be.
type configurationFlags struct {
	target, file             string
	priority                 int
	desired, module, content string
	metrics, labels          []string
}

func addConfigurationFlags(cmd *cobra.Command) *configurationFlags {
	c := &configurationFlags{}
	fs := cmd.Flags()
	fs.StringVar(&c.target, "target", "", "condition that picks the devices; * is all, FROM devices.modules WHERE … picks modules, empty none")
	fs.IntVar(&c.priority, "priority", 0, "of two configurations that say a property, the one with the higher priority decides, the newer at a tie")
	fs.StringVar(&c.desired, "desired", "", "desired properties of the devices: JSON, @FILE or - for standard input")
	fs.StringVar(&c.module, "module-desired", "", "desired properties of the modules that --target picks, in the same forms")
	fs.StringVar(&c.content, "content", "", "the whole content, with deviceContent, moduleContent or modulesContent, in the same forms")
	fs.StringArrayVar(&c.metrics, "metric", nil, "custom metric, as NAME=QUERY, whose rows are counted; may be given five times")
	fs.StringArrayVar(&c.labels, "label", nil, "label, as NAME=VALUE; may be given more than once")
	fs.StringVarP(&c.file, "file", "f", "", "JSON document of a configuration, - for standard input; flags change what it says")
	cmd.MarkFlagsMutuallyExclusive("desired", "module-desired", "content")
	return c
}

// change puts what the flags say into a document.
func (c *configurationFlags) change(a *app, cmd *cobra.Command, doc map[string]any) error {
	if c.file != "" {
		from := c.file
		if from != "-" {
			from = "@" + from
		}
		raw, err := a.jsonArgument(cmd, "file", from)
		if err != nil {
			return err
		}
		if json.Unmarshal(raw, &doc) != nil {
			return usagef("%s: --file: it holds no JSON object; write one such as configuration show --json prints", cmd.CommandPath())
		}
	}
	set := cmd.Flags().Changed
	if set("target") {
		doc["targetCondition"] = c.target
	}
	if set("priority") {
		doc["priority"] = c.priority
	}
	for _, f := range [...]struct{ flag, value, kind string }{
		{"desired", c.desired, "deviceContent"}, {"module-desired", c.module, "moduleContent"}, {"content", c.content, ""},
	} {
		if !set(f.flag) {
			continue
		}
		raw, err := a.jsonArgument(cmd, f.flag, f.value)
		if err != nil {
			return err
		}
		if doc["content"] = any(raw); f.kind != "" {
			doc["content"] = map[string]any{f.kind: map[string]any{"properties.desired": raw}}
		}
	}
	if set("metric") {
		queries, err := pairs(cmd, "metric", c.metrics)
		if err != nil {
			return err
		}
		doc["metrics"] = map[string]any{"queries": queries}
	}
	if set("label") {
		labels, err := pairs(cmd, "label", c.labels)
		if err != nil {
			return err
		}
		doc["labels"] = labels
	}
	return nil
}

// jsonArgument reads a flag that is JSON, @FILE or - for standard input.
func (a *app) jsonArgument(cmd *cobra.Command, flag, value string) (json.RawMessage, error) {
	raw := []byte(value)
	var err error
	switch file, isFile := strings.CutPrefix(value, "@"); {
	case isFile:
		raw, err = readSmallFile(file)
	case value == "-":
		raw, err = io.ReadAll(io.LimitReader(a.stdin, maxConfigBytes))
	}
	if err != nil {
		return nil, usagef("%s: --%s: %v", cmd.CommandPath(), flag, err)
	}
	if !json.Valid(raw) {
		return nil, usagef("%s: --%s: %s is not allowed; allowed: JSON, @FILE or - for standard input", cmd.CommandPath(), flag, quoteValue(value))
	}
	return raw, nil
}

// pairs reads flags of the form NAME=VALUE.
func pairs(cmd *cobra.Command, flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, one := range list {
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" {
			return nil, usagef("%s: --%s: %s is not allowed; allowed: NAME=VALUE", cmd.CommandPath(), flag, quoteValue(one))
		}
		out[name] = value
	}
	return out, nil
}

func newConfigurationPutCmd(a *app, name, short string) *cobra.Command {
	cmd := &cobra.Command{Use: name + " ID", Short: short, Args: cobra.ExactArgs(1)}
	cmd.Example = `  gemello configuration create net-a --target "tags.site = 'a'" --priority 10 --desired '{"net":{"rate":5}}' --metric "slow=SELECT deviceId FROM devices WHERE properties.reported.net.rate < 5"`
	if name == "update" {
		cmd.Example = "  gemello configuration update net-a --priority 20"
		cmd.ValidArgsFunction = a.completeIDs("/configurations", "id")
	}
	f, c := addAdminFlags(a, cmd), addConfigurationFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		doc := map[string]any{}
		if err := c.change(a, cmd, doc); err != nil {
			return err
		}
		return f.withClient(cmd, func(ctx context.Context, client *adminClient) error {
			header := http.Header{}
			if name == "update" {
				var now map[string]any
				if err := client.call(ctx, "GET", configurationPath(args[0]), nil, nil, nil, &now); err != nil {
					return err
				}
				// Only what was read is changed, not what somebody else makes of it meanwhile.
				header.Set("If-Match", fmt.Sprintf("%q", now["etag"]))
				maps.Copy(now, doc)
				doc = now
			}
			var made json.RawMessage
			if err := client.call(ctx, "PUT", configurationPath(args[0]), nil, header, doc, &made); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(made)
			}
			_, err := fmt.Fprintf(a.stdout, "%sd %s; what it reaches: gemello configuration show %s\n", name, args[0], shellQuote(args[0]))
			return err
		})
	}
	return cmd
}

// configurationSummary is what is shown of a configuration without --json.
type configurationSummary struct {
	ID       string
	Target   string `json:"targetCondition"`
	Priority int
	Created  string `json:"createdTimeUtc"`
	Updated  string `json:"lastUpdatedTimeUtc"`
	Labels   map[string]string
	Content  json.RawMessage
	System   configurationFigures `json:"systemMetrics"`
	Metrics  configurationFigures
}

type configurationFigures struct {
	Results map[string]int64
	Queries map[string]string
}

func newConfigurationListCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List configurations and how many devices or modules each reaches", Args: cobra.NoArgs}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var raw json.RawMessage
			if err := c.call(ctx, "GET", "/configurations", nil, nil, nil, &raw); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(raw)
			}
			var all []configurationSummary
			if err := json.Unmarshal(raw, &all); err != nil {
				return fmt.Errorf("read configurations: %w", err)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "CONFIGURATION\tPRIORITY\tTARGETED\tAPPLIED\tTARGET")
			for i := range all {
				v := &all[i]
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", v.ID, v.Priority, v.System.Results["targetedCount"], v.System.Results["appliedCount"], oneLine(v.Target))
			}
			return w.Flush()
		})
	}
	return cmd
}

func newConfigurationShowCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Print a configuration and its metrics", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeIDs("/configurations", "id"),
	}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var raw json.RawMessage
			if err := c.call(ctx, "GET", configurationPath(args[0]), nil, nil, nil, &raw); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(raw)
			}
			var v configurationSummary
			if err := json.Unmarshal(raw, &v); err != nil {
				return fmt.Errorf("read configuration %s: %w", args[0], err)
			}
			return v.print(a.stdout)
		})
	}
	return cmd
}

func (v *configurationSummary) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	target := oneLine(v.Target)
	if target == "" {
		target = "none"
	}
	for _, row := range [][2]string{
		{"configuration", v.ID}, {"target", target}, {"priority", fmt.Sprint(v.Priority)}, {"created", v.Created}, {"updated", v.Updated},
	} {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	for _, name := range slices.Sorted(maps.Keys(v.Labels)) {
		fmt.Fprintf(w, "label %s\t%s\n", name, oneLine(v.Labels[name]))
	}
	fmt.Fprintf(w, "targeted\t%d\napplied\t%d\n", v.System.Results["targetedCount"], v.System.Results["appliedCount"])
	for _, name := range slices.Sorted(maps.Keys(v.Metrics.Queries)) {
		fmt.Fprintf(w, "metric %s\t%d\t%s\n", name, v.Metrics.Results[name], oneLine(v.Metrics.Queries[name]))
	}
	fmt.Fprintf(w, "content\t%s\n", v.Content)
	return w.Flush()
}

func newConfigurationDeleteCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Delete a configuration; what it has set goes from the twins", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeIDs("/configurations", "id"),
	}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.deleteNamed(cmd, configurationPath(args[0]), args[0])
	}
	return cmd
}

func newConfigurationTestCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "test", Short: "Say what is wrong with a target condition and the queries of metrics", Args: cobra.NoArgs,
		Long:    "Say what is wrong with a target condition and the queries of metrics, without a configuration.\nThe exit code is 1 when something is.",
		Example: `  gemello configuration test --target "tags.site = 'a'" --metric "all=SELECT deviceId FROM devices"`,
	}
	f := addAdminFlags(a, cmd)
	target := cmd.Flags().String("target", "", "condition that picks the devices")
	metrics := cmd.Flags().StringArray("metric", nil, "custom metric, as NAME=QUERY; may be given more than once")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		queries, err := pairs(cmd, "metric", *metrics)
		if err != nil {
			return err
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var raw json.RawMessage
			body := map[string]any{"targetCondition": *target, "customMetricQueries": queries}
			if err := c.call(ctx, "POST", "/configurations/testQueries", nil, nil, body, &raw); err != nil {
				return err
			}
			var found struct {
				Target  string            `json:"targetConditionError"`
				Queries map[string]string `json:"customMetricQueryErrors"`
			}
			if err := json.Unmarshal(raw, &found); err != nil {
				return fmt.Errorf("read what is wrong: %w", err)
			}
			if f.json {
				if err := f.printRaw(raw); err != nil {
					return err
				}
			}
			wrong := []string{}
			if found.Target != "" {
				wrong = append(wrong, "target: "+found.Target)
			}
			for _, name := range slices.Sorted(maps.Keys(found.Queries)) {
				wrong = append(wrong, "metric "+name+": "+found.Queries[name])
			}
			if len(wrong) > 0 {
				return fmt.Errorf("%s", oneLine(strings.Join(wrong, "; ")))
			}
			if f.json {
				return nil
			}
			_, err := fmt.Fprintln(a.stdout, "all can be read")
			return err
		})
	}
	return cmd
}
