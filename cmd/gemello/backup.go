package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/persistence/backup"
)

func newBackupCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE|-",
		Short: "Write a backup of the hub while it runs",
		Long: "Write identities, twins, queues and settings of the hub as they are at one position of each partition.\n" +
			"Keys in it are sealed; --with-key adds the key that opens them and the node's TLS files, for a\n" +
			"restore on another machine. Telemetry, results and open windows are not in it.",
		Args: cobra.ExactArgs(1),
	}
	f := addAdminFlags(a, cmd)
	withKey := cmd.Flags().Bool("with-key", false, "add the hub's key and TLS files: whoever has the file has the hub")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			if args[0] == "-" {
				_, err := c.backup(ctx, a.stdout, *withKey)
				return err
			}
			var r *backup.Reader
			err := writeNewFile("backup", args[0], func(w io.Writer) (err error) {
				r, err = c.backup(ctx, w, *withKey)
				return err
			})
			if err != nil {
				return err
			}
			return printBackup(f.printJSON, f.json, a.stdout, args[0], r)
		})
	}
	cmd.AddCommand(newBackupVerifyCmd(a))
	return cmd
}

func newBackupVerifyCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "verify FILE", Short: "Check that a backup is whole and undamaged", Args: cobra.ExactArgs(1)}
	asJSON := cmd.Flags().Bool("json", false, "print as JSON")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		r, err := verifyBackup(args[0])
		if err != nil {
			return err
		}
		return printBackup((&adminFlags{app: a}).printJSON, *asJSON, a.stdout, args[0], r)
	}
	return cmd
}

func printBackup(asJSON func(any) error, json bool, out io.Writer, name string, r *backup.Reader) error {
	s := r.Summary()
	if json {
		return asJSON(struct {
			File string `json:"file"`
			backup.Header
			backup.Summary
		}{name, r.Header, s})
	}
	key := "without key"
	if r.Header.WithKey {
		key = "with key"
	}
	_, err := fmt.Fprintf(out, "%s: hub %s of %s, %s: %d records of devices, %d settings, %d files\n",
		name, r.Header.Hub, r.Header.Created.Format("2006-01-02T15:04:05Z"), key, s.States, s.Settings, s.Files)
	return err
}

// verifyBackup reads a whole backup.
func verifyBackup(name string) (*backup.Reader, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, usagef("backup: %v; name a readable file", err)
	}
	defer file.Close()
	r, err := backup.NewReader(file)
	if err == nil {
		err = drain(r)
	}
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", name, err)
	}
	return r, nil
}

func drain(r *backup.Reader) error {
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// backup copies a backup from the node and checks it on the way.
func (c *adminClient) backup(ctx context.Context, w io.Writer, withKey bool) (*backup.Reader, error) {
	c = c.patient()
	defer c.Close()
	q := url.Values{}
	if withKey {
		q.Set("key", "true")
	}
	resp, err := c.request(ctx, "GET", "/backup", q, nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r, err := backup.NewReader(io.TeeReader(resp.Body, w))
	if err == nil {
		err = drain(r)
	}
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return r, nil
}
