package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func newTwinCmd(a *app) *cobra.Command {
	return commandGroup("twin", "Read and change device twins", newTwinGetCmd(a), newTwinPatchCmd(a), newTwinLogCmd(a), newTwinDiffCmd(a))
}

func newTwinGetCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "get ID", Short: "Print a twin as JSON, as it is or as it was", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	f.addPositionFlags(cmd)
	at := cmd.Flags().String("at", "", "as it was at this time, like 2026-01-02T03:04:05Z")
	version := cmd.Flags().Int64("at-version", 0, "as it was when its version was this")
	module := addModuleFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var twin json.RawMessage
			q := url.Values{}
			if *at != "" {
				q.Set("at", *at)
			}
			if *version != 0 {
				q.Set("version", strconv.FormatInt(*version, 10))
			}
			if err := c.call(ctx, "GET", twinPath(args[0])+modulePath(*module), q, nil, nil, &twin); err != nil {
				return err
			}
			return f.printRaw(twin)
		})
	}
	return cmd
}

func newTwinPatchCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "patch ID [JSON | @FILE | -]",
		Short:   "Merge a JSON patch into a twin's tags and desired properties",
		Example: `  gemello twin patch d1 '{"tags":{"site":"a"},"properties":{"desired":{"rate":5}}}'` + "\n  gemello twin patch d1 --desired '{\"rate\":5}'",
		Args:    cobra.RangeArgs(1, 2),
	}
	f := addAdminFlags(a, cmd)
	module := addModuleFlag(cmd)
	f.addPositionFlags(cmd)
	desired := cmd.Flags().String("desired", "", "patch of desired properties, as JSON")
	tags := cmd.Flags().String("tags", "", "patch of tags, as JSON")
	etag := cmd.Flags().String("if-match", "", "change the twin only while it has this etag")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		patch, err := twinPatch(a.stdin, args[1:], *desired, *tags)
		if err != nil {
			return err
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var header http.Header
			if *etag != "" {
				header = http.Header{"If-Match": {`"` + *etag + `"`}}
			}
			var twin json.RawMessage
			if err := c.call(ctx, "PATCH", twinPath(args[0])+modulePath(*module), nil, header, patch, &twin); err != nil {
				return err
			}
			return f.printRaw(twin)
		})
	}
	return cmd
}

// twinPatch builds the patch from the argument, or from the two flags.
func twinPatch(stdin io.Reader, arg []string, desired, tags string) (json.RawMessage, error) {
	if (len(arg) == 1) == (desired != "" || tags != "") {
		return nil, usagef("twin patch: give either a JSON patch or --desired and --tags")
	}
	if len(arg) == 1 {
		return jsonObject("twin patch", stdin, arg[0])
	}
	var patch struct {
		Tags       json.RawMessage `json:"tags,omitempty"`
		Properties *struct {
			Desired json.RawMessage `json:"desired"`
		} `json:"properties,omitempty"`
	}
	var err error
	if tags != "" {
		if patch.Tags, err = jsonObject("twin patch: --tags", stdin, tags); err != nil {
			return nil, err
		}
	}
	if desired != "" {
		patch.Properties = &struct {
			Desired json.RawMessage `json:"desired"`
		}{}
		if patch.Properties.Desired, err = jsonObject("twin patch: --desired", stdin, desired); err != nil {
			return nil, err
		}
	}
	return json.Marshal(patch)
}

// jsonObject reads a JSON object given as text, as @FILE or as - for stdin.
func jsonObject(what string, stdin io.Reader, text string) (json.RawMessage, error) {
	b := []byte(text)
	var err error
	switch file, isFile := strings.CutPrefix(text, "@"); {
	case isFile:
		b, err = readSmallFile(file)
	case text == "-":
		b, err = io.ReadAll(io.LimitReader(stdin, maxConfigBytes))
	}
	if err != nil {
		return nil, usagef("%s: %v", what, err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil || members == nil {
		return nil, usagef("%s: %s is not allowed; allowed: a JSON object, @FILE or - for standard input", what, quoteValue(text))
	}
	return b, nil
}

func twinPath(id string) string { return "/twins/" + url.PathEscape(id) }
