package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/api"
)

const (
	// importChunk lines go to the node in one call: enough for its lanes to stay
	// full, few enough that a run that is cut short repeats little.
	importChunk = 4000
	// importChunkBytes bounds the same in bytes.
	importChunkBytes = 8 << 20
	// maxImportErrors are printed; the rest is counted.
	maxImportErrors = 20
)

func newDeviceImportCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Carry out lines of JSON, as export or Azure's export job writes them",
		Long: "Carry out import records, one JSON a line: devices with their keys and twins. Lines are independent of\n" +
			"each other; those that are refused are told with line number and error, and make the exit code 1.\n" +
			"A device that is there exactly as its line says is no error, so a run that was cut short can be repeated,\n" +
			"or go on with --from-line.",
		Args: cobra.MaximumNArgs(1),
	}
	f := addAdminFlags(a, cmd)
	im := &deviceImport{complaints: a.stderr}
	cmd.Flags().BoolVar(&im.update, "update", false, "overwrite devices that exist; without it they are errors")
	cmd.Flags().IntVar(&im.from, "from-line", 1, "leave out the lines before this one")
	report := cmd.Flags().String("refused", "", "new file for all refused lines, one JSON a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if im.from < 1 {
			return usagef("device import: --from-line: \"%d\" is not allowed; allowed: 1 or more", im.from)
		}
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
			im.client = c.patient()
			defer im.client.Close()
			err := im.runReporting(ctx, in, *report)
			if f.json {
				if e := f.printJSON(&im.total); err == nil {
					err = e
				}
			} else if _, e := fmt.Fprintf(a.stdout, "imported %d devices, %d unchanged, %d failed\n", im.total.Imported, im.total.Unchanged, im.total.Failed); err == nil {
				err = e
			}
			if err == nil && im.total.Failed > 0 {
				err = fmt.Errorf("device import: %d devices failed", im.total.Failed)
			}
			return err
		})
	}
	return cmd
}

// importResult is the node's answer to a chunk, and the sum of all.
type importResult struct {
	Imported  int               `json:"imported"`
	Unchanged int               `json:"unchanged"`
	Failed    int               `json:"failed"`
	Refused   []json.RawMessage `json:"refused,omitempty"`
	Next      int               `json:"next"` // the line to go on with
}

// deviceImport sends lines to the node, chunk by chunk: a later chunk may hold
// the same device again.
type deviceImport struct {
	client     *adminClient
	update     bool
	from       int
	complaints io.Writer
	refused    io.Writer // nil: none
	total      importResult
}

func (im *deviceImport) runReporting(ctx context.Context, in io.Reader, report string) error {
	if report == "" {
		return im.run(ctx, in)
	}
	file, err := os.OpenFile(report, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usagef("device import: --refused: %v; name a new file", err)
	}
	im.refused = file
	return errors.Join(im.run(ctx, in), file.Close())
}

func (im *deviceImport) run(ctx context.Context, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), api.MaxImportLine)
	im.total.Next = im.from
	var chunk bytes.Buffer
	number, held := 0, 0
	for lines.Scan() {
		if number++; number < im.from {
			continue
		}
		chunk.Write(lines.Bytes())
		chunk.WriteByte('\n')
		if held++; held < importChunk && chunk.Len() < importChunkBytes {
			continue
		}
		if err := im.send(ctx, chunk.Bytes()); err != nil {
			return im.stopped(err)
		}
		chunk.Reset()
		held = 0
	}
	if held > 0 {
		if err := im.send(ctx, chunk.Bytes()); err != nil {
			return im.stopped(err)
		}
	}
	if err := lines.Err(); err != nil {
		return im.stopped(err)
	}
	return nil
}

func (im *deviceImport) stopped(err error) error {
	return fmt.Errorf("device import: %w; all lines before %d are decided: go on with --from-line %d", err, im.total.Next, im.total.Next)
}

func (im *deviceImport) send(ctx context.Context, chunk []byte) error {
	q := url.Values{"line": {strconv.Itoa(im.total.Next)}}
	if im.update {
		q.Set("mode", "createOrUpdate")
	}
	resp, err := im.client.request(ctx, "POST", "/import", q, nil, chunk)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var r importResult
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return fmt.Errorf("answer of the node: %w", err)
	}
	for _, line := range r.Refused {
		if err := im.complain(line); err != nil {
			return err
		}
	}
	im.total.Imported += r.Imported
	im.total.Unchanged += r.Unchanged
	im.total.Failed += r.Failed
	im.total.Next = r.Next
	return nil
}

func (im *deviceImport) complain(line json.RawMessage) error {
	if im.refused != nil {
		if _, err := im.refused.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("--refused: %w", err)
		}
	}
	var r struct {
		Line                    int
		DeviceID, Code, Message string
		Number                  int
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("answer of the node: %w", err)
	}
	switch len(im.total.Refused) {
	case maxImportErrors:
		return nil
	case maxImportErrors - 1:
		fmt.Fprintln(im.complaints, "more lines were refused; --refused FILE tells all")
	default:
		fmt.Fprintf(im.complaints, "line %d: %s: %s (%d %s)\n", r.Line, quoteValue(r.DeviceID), r.Message, r.Number, r.Code)
	}
	im.total.Refused = append(im.total.Refused, line)
	return nil
}
