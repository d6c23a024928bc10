package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newJobCmd(a *app) *cobra.Command {
	return commandGroup("job", "Change twins and call methods of many devices",
		newJobCreateTwinCmd(a), newJobCreateMethodCmd(a), newJobShowCmd(a), newJobListCmd(a), newJobCancelCmd(a), newJobRowsCmd(a))
}

// jobFlags are what both kinds of jobs have.
type jobFlags struct {
	condition, start string
	limit            time.Duration
	rate, halt       int
}

func addJobFlags(cmd *cobra.Command) *jobFlags {
	f := &jobFlags{}
	fs := cmd.Flags()
	fs.StringVar(&f.condition, "where", "*", "condition that picks the devices; * is all, FROM devices.modules WHERE … picks modules")
	fs.StringVar(&f.start, "start", "", "when to begin, such as 2026-01-02T03:04:05Z; empty: now")
	fs.DurationVar(&f.limit, "max-time", time.Hour, "how long devices are tried, from the start on")
	fs.IntVar(&f.rate, "rate", 0, "devices begun in a second at most; 0: no limit")
	fs.IntVar(&f.halt, "halt-above", 0, "end the job when more than so many percent of the devices done have failed; 0: never")
	return f
}

func (f *jobFlags) document(kind string) map[string]any {
	doc := map[string]any{
		"type": kind, "queryCondition": f.condition, "maxExecutionTimeInSeconds": int(f.limit / time.Second),
		"maxDevicesPerSecond": f.rate, "haltAboveFailedPercent": f.halt,
	}
	if f.start != "" {
		doc["startTime"] = f.start
	}
	return doc
}

func newJobCreateTwinCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create-twin ID [JSON | @FILE | -]",
		Short:   "Merge a JSON patch into the twins of many devices",
		Example: `  gemello job create-twin j1 '{"tags":{"ring":1}}' --where "tags.site = 'a'"` + "\n  gemello job create-twin j2 --desired '{\"rate\":5}' --rate 100 --halt-above 10",
		Args:    cobra.RangeArgs(1, 2),
	}
	f, j := addAdminFlags(a, cmd), addJobFlags(cmd)
	f.addPositionFlags(cmd)
	desired := cmd.Flags().String("desired", "", "patch of desired properties, as JSON")
	tags := cmd.Flags().String("tags", "", "patch of tags, as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		patch, err := twinPatch(a.stdin, args[1:], *desired, *tags)
		if err != nil {
			return err
		}
		doc := j.document("scheduleUpdateTwin")
		doc["updateTwin"] = patch
		return f.createJob(cmd, args[0], doc)
	}
	return cmd
}

func newJobCreateMethodCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create-method ID NAME",
		Short:   "Call a method of many devices; those that are offline are waited for",
		Example: `  gemello job create-method j1 reboot --payload '{"delay":5}' --where "tags.site = 'a'" --max-time 12h`,
		Args:    cobra.ExactArgs(2),
	}
	f, j := addAdminFlags(a, cmd), addJobFlags(cmd)
	f.addPositionFlags(cmd)
	payload := cmd.Flags().String("payload", "null", "JSON for the devices, @FILE or - for standard input")
	timeout := cmd.Flags().Duration("timeout", 30*time.Second, "how long to wait for a device's answer, 5s to 5m")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw := []byte(*payload)
		var err error
		switch file, isFile := strings.CutPrefix(*payload, "@"); {
		case isFile:
			raw, err = readSmallFile(file)
		case *payload == "-":
			raw, err = io.ReadAll(io.LimitReader(a.stdin, maxConfigBytes))
		}
		if err != nil {
			return usagef("job create-method: --payload: %v", err)
		}
		if !json.Valid(raw) {
			return usagef("job create-method: --payload: %s is not allowed; allowed: JSON, @FILE or - for standard input", quoteValue(*payload))
		}
		doc := j.document("scheduleDeviceMethod")
		doc["cloudToDeviceMethod"] = map[string]any{
			"methodName": args[1], "payload": json.RawMessage(raw), "responseTimeoutInSeconds": int(*timeout / time.Second),
		}
		return f.createJob(cmd, args[0], doc)
	}
	return cmd
}

func (f *adminFlags) createJob(cmd *cobra.Command, id string, doc map[string]any) error {
	return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
		var made json.RawMessage
		if err := c.call(ctx, "PUT", jobPath(id), nil, nil, doc, &made); err != nil {
			return err
		}
		if f.json {
			return f.printRaw(made)
		}
		_, err := fmt.Fprintf(f.app.stdout, "created job %s; how it goes: gemello job show %s\n", id, shellQuote(id))
		return err
	})
}

func jobPath(id string) string { return "/jobs/" + url.PathEscape(id) }

// jobSummary is what is shown of a job without --json.
type jobSummary struct {
	JobID          string `json:"jobId"`
	Type           string `json:"type"`
	Status         string `json:"status"`
	QueryCondition string `json:"queryCondition"`
	CreatedTime    string `json:"createdTime"`
	StartTime      string `json:"startTime"`
	EndTime        string `json:"endTime"`
	FailureReason  string `json:"failureReason"`
	Counts         struct {
		Device    int64 `json:"deviceCount"`
		Failed    int64 `json:"failedCount"`
		Succeeded int64 `json:"succeededCount"`
		Running   int64 `json:"runningCount"`
		Pending   int64 `json:"pendingCount"`
		Cancelled int64 `json:"cancelledCount"`
	} `json:"deviceJobStatistics"`
}

func (j *jobSummary) devices() string {
	s := fmt.Sprintf("%d: %d succeeded, %d failed, %d running, %d pending", j.Counts.Device, j.Counts.Succeeded, j.Counts.Failed, j.Counts.Running, j.Counts.Pending)
	if j.Counts.Cancelled > 0 {
		s += fmt.Sprintf(", %d cancelled", j.Counts.Cancelled)
	}
	return s
}

func newJobShowCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Print a job and how many of its devices are done", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeIDs("/jobs", "jobId")}
	return printJob(a, cmd, "GET", "")
}

func newJobCancelCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "cancel ID", Short: "End a job; devices that it has not begun with stay as they are", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeIDs("/jobs", "jobId")}
	return printJob(a, cmd, "POST", "/cancel")
}

func printJob(a *app, cmd *cobra.Command, method, suffix string) *cobra.Command {
	f := addAdminFlags(a, cmd)
	f.addPositionFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var raw json.RawMessage
			if err := c.call(ctx, method, jobPath(args[0])+suffix, nil, nil, nil, &raw); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(raw)
			}
			var j jobSummary
			if err := json.Unmarshal(raw, &j); err != nil {
				return fmt.Errorf("read job %s: %w", args[0], err)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			for _, row := range [][2]string{
				{"job", j.JobID}, {"type", j.Type}, {"status", j.Status}, {"condition", j.QueryCondition}, {"created", j.CreatedTime},
				{"start", j.StartTime}, {"end", j.EndTime}, {"failure", j.FailureReason}, {"devices", j.devices()},
			} {
				if row[1] != "" {
					fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
				}
			}
			return w.Flush()
		})
	}
	return cmd
}

func newJobListCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List jobs", Args: cobra.NoArgs}
	f := addAdminFlags(a, cmd)
	f.addPositionFlags(cmd)
	kind := cmd.Flags().String("type", "", "only scheduleUpdateTwin or scheduleDeviceMethod")
	status := cmd.Flags().String("status", "", "only queued, scheduled, running, completed, failed or cancelled")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			q := url.Values{}
			for name, v := range map[string]string{"jobType": *kind, "jobStatus": *status} {
				if v != "" {
					q.Set(name, v)
				}
			}
			all := []json.RawMessage{}
			for {
				page, next, err := c.jobs(ctx, q)
				if err != nil {
					return err
				}
				all = append(all, page...)
				if next == "" {
					break
				}
				q.Set("continuationToken", next)
			}
			if f.json {
				return f.printJSON(all)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "JOB\tTYPE\tSTATUS\tCREATED\tDEVICES")
			for _, raw := range all {
				var j jobSummary
				if err := json.Unmarshal(raw, &j); err != nil {
					return fmt.Errorf("read a job: %w", err)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", j.JobID, j.Type, j.Status, j.CreatedTime, j.devices())
			}
			return w.Flush()
		})
	}
	return cmd
}

// jobs returns a page of jobs and how to ask for the next one.
func (c *adminClient) jobs(ctx context.Context, q url.Values) (page []json.RawMessage, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	resp, err := c.request(ctx, http.MethodGet, "/jobs", q, nil, nil)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminBytes))
	if err != nil {
		return nil, "", fmt.Errorf("read jobs: %w", err)
	}
	if err := json.Unmarshal(b, &page); err != nil {
		return nil, "", fmt.Errorf("a page of jobs is not the JSON expected: %w", err)
	}
	return page, resp.Header.Get("x-ms-continuation"), nil
}

func newJobRowsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rows ID", Short: "Print the devices of a job with their outcomes: one JSON row a line",
		Example: `  gemello job rows j1 --status failed`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeIDs("/jobs", "jobId"),
	}
	f := addAdminFlags(a, cmd)
	f.addPositionFlags(cmd)
	status := cmd.Flags().String("status", "", "only scheduled, running, completed, failed or cancelled")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text := "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = " + queryString(args[0])
		if *status != "" {
			text += " AND devices.jobs.status = " + queryString(*status)
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			all := []json.RawMessage{}
			err := c.query(ctx, text, 1000, http.Header{}, nil, func(row json.RawMessage) error {
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

// queryString writes a string constant of the query language.
func queryString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
