package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

const (
	// importWorkers hides the log's round trip without being a burst.
	importWorkers = 16
	// maxImportLine bounds one device: its twin may have 72 KiB.
	maxImportLine = 1 << 20
	// maxImportErrors are printed; the rest is counted.
	maxImportErrors = 20
)

func newDeviceExportCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write all devices, keys included, one JSON a line",
		Args:  cobra.MaximumNArgs(1),
	}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			out, finish := a.stdout, func() error { return nil }
			if len(args) == 1 && args[0] != "-" {
				// Keys are in it.
				file, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return usagef("device export: %v; name a new file", err)
				}
				out, finish = file, file.Close
			}
			w := bufio.NewWriter(out)
			n := 0
			err := c.devices(ctx, "", 0, func(raw json.RawMessage) error {
				n++
				var line bytes.Buffer
				if err := json.Compact(&line, raw); err != nil {
					return err
				}
				line.WriteByte('\n')
				_, err := w.Write(line.Bytes())
				return err
			})
			if e := w.Flush(); err == nil {
				err = e
			}
			if e := finish(); err == nil {
				err = e
			}
			if err == nil && out != a.stdout {
				_, err = fmt.Fprintf(a.stdout, "exported %d devices\n", n)
			}
			return err
		})
	}
	return cmd
}

func newDeviceImportCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Create devices from lines of JSON, as export or Azure's export job writes them",
		Args:  cobra.MaximumNArgs(1),
	}
	f := addAdminFlags(a, cmd)
	update := cmd.Flags().Bool("update", false, "overwrite devices that exist; without it they are errors")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := a.stdin
		if len(args) == 1 && args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return usagef("device import: %v; name a readable file, or - for standard input", err)
			}
			defer file.Close()
			in = file
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			im := &deviceImport{client: c, update: *update, complaints: a.stderr}
			if err := im.run(ctx, in); err != nil {
				return err
			}
			if f.json {
				if err := f.printJSON(map[string]int{"imported": im.imported, "failed": im.failed}); err != nil {
					return err
				}
			} else if _, err := fmt.Fprintf(a.stdout, "imported %d devices, %d failed\n", im.imported, im.failed); err != nil {
				return err
			}
			if im.failed > 0 {
				return fmt.Errorf("device import: %d devices failed", im.failed)
			}
			return nil
		})
	}
	return cmd
}

// deviceImport creates devices with a few calls at a time; lines are
// independent of each other.
type deviceImport struct {
	client     *adminClient
	update     bool
	complaints io.Writer

	mu               sync.Mutex // guards the counts and complaints
	imported, failed int
}

func (im *deviceImport) run(ctx context.Context, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxImportLine)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(importWorkers)
	for n := 1; ctx.Err() == nil && lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		line = bytes.Clone(line)
		g.Go(func() error {
			err := im.one(ctx, line)
			im.mu.Lock()
			defer im.mu.Unlock()
			if err == nil {
				im.imported++
				return nil
			}
			im.failed++
			if im.failed <= maxImportErrors {
				fmt.Fprintf(im.complaints, "line %d: %v\n", n, err)
			}
			// A node that is gone fails every line; one refusal is that line's.
			if refused := (*adminError)(nil); !errors.As(err, &refused) && !errors.Is(err, errBadLine) {
				return err
			}
			return nil
		})
	}
	err := g.Wait()
	if e := lines.Err(); err == nil && e != nil {
		err = fmt.Errorf("device import: %w", e)
	}
	return err
}

var errBadLine = errors.New("not a device")

// one creates the device of a line, and its tags and desired properties when
// the line has them.
func (im *deviceImport) one(ctx context.Context, line []byte) error {
	members := make(map[string]json.RawMessage)
	if err := json.Unmarshal(line, &members); err != nil {
		return fmt.Errorf("%w: %v", errBadLine, err)
	}
	// Azure's export calls it id, everything else deviceId.
	if _, ok := members["deviceId"]; !ok && members["id"] != nil {
		members["deviceId"] = members["id"]
	}
	delete(members, "id")
	var id string
	if err := json.Unmarshal(members["deviceId"], &id); err != nil || id == "" {
		return fmt.Errorf("%w: no deviceId", errBadLine)
	}
	patch := make(map[string]json.RawMessage)
	for _, name := range []string{"tags", "properties"} {
		if v := members[name]; v != nil && string(v) != "null" {
			patch[name] = v
		}
		delete(members, name)
	}
	header := createOnly()
	if im.update {
		header = http.Header{"If-Match": {"*"}}
	}
	err := im.client.call(ctx, "PUT", devicePath(id), nil, header, members, nil)
	if refused := (*adminError)(nil); im.update && errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		err = im.client.call(ctx, "PUT", devicePath(id), nil, createOnly(), members, nil)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	if len(patch) > 0 {
		if err := im.client.call(ctx, "PATCH", twinPath(id), nil, nil, patch, nil); err != nil {
			return fmt.Errorf("%s: twin: %w", id, err)
		}
	}
	return nil
}
