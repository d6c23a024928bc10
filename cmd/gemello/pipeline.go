package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/gemello/gemello/api"
)

func newPipelineCmd(a *app) *cobra.Command {
	return commandGroup("pipeline", "Run, list and explain queries over streams",
		newPipelineApplyCmd(a), newPipelineListCmd(a), newPipelineDeleteCmd(a),
		newPipelineExplainCmd(a), newPipelineWhyCmd(a))
}

func newPipelineApplyCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply (NAME [-f QUERY.sql | --query TEXT] | -f PIPELINES.yaml)",
		Short: "Create or change pipelines",
		Long: "Create or change one pipeline from SQL text, or all pipelines of a YAML file that has\n" +
			"the form of the configuration's pipelines section. Without -f and --query, or with\n-f -, standard input is read.",
		Args: cobra.MaximumNArgs(1),
	}
	f := addAdminFlags(a, cmd)
	file := cmd.Flags().StringP("file", "f", "", "file of the query, or of pipelines as YAML")
	query := cmd.Flags().String("query", "", "the query itself")
	p := defaultPipeline()
	settings := pipelineFlags(cmd, &p)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pipelines, err := f.readPipelines(cmd, args, *file, *query, &p, settings)
		if err != nil {
			return err
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			applied := []json.RawMessage{}
			for i := range pipelines {
				var out json.RawMessage
				if err := c.call(ctx, "PUT", pipelinePath(pipelines[i].Name), nil, nil, pipelines[i].spec(), &out); err != nil {
					return fmt.Errorf("apply %s: %w", pipelines[i].Name, err)
				}
				applied = append(applied, out)
				if !f.json {
					if _, err := fmt.Fprintf(a.stdout, "applied %s\n", pipelines[i].Name); err != nil {
						return err
					}
				}
			}
			if f.json {
				return f.printJSON(applied)
			}
			return nil
		})
	}
	return cmd
}

// spec is the pipeline as the admin API takes it.
func (p *PipelineConfig) spec() *api.PipelineSpec {
	text := func(d Duration) string { return time.Duration(d).String() }
	return &api.PipelineSpec{
		Name: p.Name, Query: p.Query, Late: text(p.Late), OutOfOrder: text(p.OutOfOrder), Early: text(p.Early),
		OnLate: p.OnLate, OnOutOfOrder: p.OnOutOfOrder, OnEarly: p.OnEarly, Key: p.Key, Arrival: p.Arrival,
	}
}

// pipelineFlags declares a flag for every setting of a pipeline but its name and
// query.
func pipelineFlags(cmd *cobra.Command, p *PipelineConfig) map[string]*keyFlag {
	flags := make(map[string]*keyFlag)
	for name, usage := range map[string]string{
		"late":            "how late a record may be",
		"out_of_order":    "how far records may be out of order",
		"early":           "how far ahead of its arrival a record's time may be",
		"on_late":         "adjust, drop, side_output or accept",
		"on_out_of_order": "adjust, drop, side_output or accept",
		"on_early":        "side_output, drop or clamp",
		"key":             "column that the topic is partitioned by",
		"arrival":         "record (its timestamp) or read (when it was first read)",
	} {
		field, _, _ := fieldNamed(reflect.ValueOf(p).Elem(), name)
		flags[name] = &keyFlag{kind: flagKind(field), shown: leafText(field)}
		cmd.Flags().Var(flags[name], name, usage)
	}
	return flags
}

// readPipelines reads one pipeline from flags, or several from YAML.
func (f *adminFlags) readPipelines(cmd *cobra.Command, args []string, file, query string, p *PipelineConfig, settings map[string]*keyFlag) ([]PipelineConfig, error) {
	for _, name := range sortedPaths(settings) {
		if s := settings[name]; s.texts != nil {
			field, _, _ := fieldNamed(reflect.ValueOf(p).Elem(), name)
			text := s.texts[len(s.texts)-1]
			if allowed, ok := setText(field, text); !ok {
				return nil, &configError{Origin: "--" + name, Key: name, Value: text, Allowed: allowed}
			}
			if len(args) == 0 {
				return nil, usagef("pipeline apply: --%s needs NAME; in a YAML file each pipeline has its own", name)
			}
		}
	}
	if query != "" && (file != "" || len(args) == 0) {
		return nil, usagef("pipeline apply: --query needs NAME and excludes -f")
	}
	text := []byte(query)
	if query == "" {
		var err error
		if file == "" || file == "-" {
			file = "standard input"
			text, err = io.ReadAll(io.LimitReader(f.app.stdin, maxConfigBytes))
		} else {
			text, err = readSmallFile(file)
		}
		if err != nil {
			return nil, usagef("pipeline apply: -f: %v; name a readable file", err)
		}
	}
	if len(args) == 1 {
		p.Name, p.Query = args[0], strings.TrimSpace(string(text))
		if e := p.validate(); e != nil {
			return nil, e
		}
		return []PipelineConfig{*p}, nil
	}
	return parsePipelines(file, text)
}

// parsePipelines reads a configuration file's pipelines section, a bare list or
// a single pipeline.
func parsePipelines(file string, text []byte) ([]PipelineConfig, error) {
	root, err := parseYAML(file, text)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, usagef("%s: no pipelines in it", file)
	}
	c := &Config{origin: make(map[string]string)}
	var document struct {
		Pipelines []PipelineConfig `yaml:"pipelines"`
	}
	switch {
	case root.Kind == yaml.MappingNode && hasKey(root, "query"):
		root = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{root}, Line: root.Line}
		fallthrough
	case root.Kind == yaml.SequenceNode:
		err = decodeLeafOrStruct(file, "pipelines", root, reflect.ValueOf(&document.Pipelines).Elem(), c.origin)
	default:
		err = decodeNode(file, "", root, reflect.ValueOf(&document).Elem(), c.origin)
	}
	if err != nil {
		return nil, err
	}
	if c.Pipelines = document.Pipelines; len(c.Pipelines) == 0 {
		return nil, usagef("%s: no pipelines in it", file)
	}
	return c.Pipelines, c.validatePipelines()
}

func hasKey(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

func newPipelineListCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List pipelines and where they stand", Args: cobra.NoArgs}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var out struct{ Pipelines []json.RawMessage }
			if err := c.call(ctx, "GET", "/pipelines", nil, nil, nil, &out); err != nil {
				return err
			}
			if f.json {
				return f.printJSON(out.Pipelines)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "PIPELINE\tSTATE\tFROM\tINTO\tLAG\tWATERMARK\tCAUSE")
			for _, raw := range out.Pipelines {
				var p pipelineSummary
				if err := json.Unmarshal(raw, &p); err != nil {
					return fmt.Errorf("read pipelines: %w", err)
				}
				lag, watermark := p.progress()
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", p.Name, p.State, p.Source, strings.Join(p.Into, ","), lag, watermark, oneLine(p.Cause))
			}
			return w.Flush()
		})
	}
	return cmd
}

// pipelineSummary is what list shows of a pipeline.
type pipelineSummary struct {
	Name, State, Source, Cause string
	Into                       []string
	Partitions                 []struct {
		Lag       int64
		Watermark time.Time
	}
}

// progress is the sum of lags and the oldest watermark: what waits for the
// slowest partition.
func (p *pipelineSummary) progress() (lag int64, watermark string) {
	var oldest time.Time
	for i, part := range p.Partitions {
		lag += part.Lag
		if i == 0 || part.Watermark.Before(oldest) {
			oldest = part.Watermark
		}
	}
	if oldest.IsZero() {
		return lag, "-"
	}
	return lag, oldest.UTC().Format("2006-01-02T15:04:05.000Z")
}

func newPipelineDeleteCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Short: "Stop a pipeline and forget its state; its result topics stay", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.deleteNamed(cmd, pipelinePath(args[0]), args[0])
	}
	return cmd
}

func newPipelineExplainCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "explain NAME", Short: "Say how a pipeline is computed and where it stands", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.printExplanation(cmd, pipelinePath(args[0])+"/explain", nil)
	}
	return cmd
}

func newPipelineWhyCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why NAME --key KEY --end TIME",
		Short: "Say how a result row came about, or why there is none yet",
		Args:  cobra.ExactArgs(1),
	}
	f := addAdminFlags(a, cmd)
	key := cmd.Flags().String("key", "", "the row's group key, such as a device id")
	end := cmd.Flags().String("end", "", "the window's end, such as 2026-01-02T03:04:05Z")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *key == "" || *end == "" {
			return usagef("pipeline why: --key and --end are needed: they name one row of the results")
		}
		t, err := time.Parse(time.RFC3339Nano, *end)
		if err != nil {
			return usagef("pipeline why: --end: %s is not allowed; allowed: a UTC time such as 2026-01-02T03:04:05Z", quoteValue(*end))
		}
		q := url.Values{"key": {*key}, "end": {t.UTC().Format(time.RFC3339Nano)}}
		return f.printExplanation(cmd, pipelinePath(args[0])+"/why", q)
	}
	return cmd
}

// printExplanation prints the text of an answer, or all of it as JSON.
func (f *adminFlags) printExplanation(cmd *cobra.Command, path string, q url.Values) error {
	return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
		var raw json.RawMessage
		if err := c.call(ctx, "GET", path, q, nil, nil, &raw); err != nil {
			return err
		}
		if f.json {
			return f.printRaw(raw)
		}
		var out struct{ Text string }
		if err := json.Unmarshal(raw, &out); err != nil {
			return fmt.Errorf("read explanation: %w", err)
		}
		_, err := fmt.Fprintln(f.app.stdout, strings.TrimRight(out.Text, "\n"))
		return err
	})
}

func pipelinePath(name string) string { return "/pipelines/" + url.PathEscape(name) }
