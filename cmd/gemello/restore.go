package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/persistence/backup"
	"github.com/gemello/gemello/persistence/broker"
	"github.com/gemello/gemello/persistence/eventlog"
)

func newRestoreCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data directory of a backup, for a node with a log of its own",
		Long: "Check a backup and write it into an empty data directory, from which gemello serve then runs the hub.\n" +
			"A directory whose restore was cut short is refused by serve; remove it and restore again.",
		Args: cobra.ExactArgs(1),
	}
	dir := cmd.Flags().String("data", "", "directory to make; it must be empty or not there")
	keyFile := cmd.Flags().String("key-file", "", "the hub's key, for a backup that was made without --with-key; it is copied into the directory")
	asJSON := cmd.Flags().Bool("json", false, "print as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *dir == "" {
			return usagef("restore: --data is needed: the directory to make")
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		r, err := verifyBackup(args[0])
		if err != nil {
			return err
		}
		target := &restoreTarget{dir: *dir}
		if err := target.prepare(*keyFile, r.Header.WithKey); err != nil {
			return err
		}
		done, err := target.restore(ctx, args[0])
		if err != nil {
			return err
		}
		if err := printBackup((&adminFlags{app: a}).printJSON, *asJSON, a.stdout, args[0], done); err != nil || *asJSON {
			return err
		}
		h := &done.Header
		flags := fmt.Sprintf("--data %s --hub %s --log.partitions %d", shellQuote(*dir), shellQuote(h.Hub), h.Partitions)
		if _, err := os.Stat(filepath.Join(*dir, hubKeyFile)); err != nil {
			flags += " --secrets.key_file KEY"
		}
		_, err = fmt.Fprintf(a.stdout, "restored; start it: gemello serve %s\n", flags)
		return err
	}
	return cmd
}

// restoreTarget is a data directory in the making. It has no format stamp until
// all is there, so that serve refuses it before.
type restoreTarget struct{ dir string }

func (t *restoreTarget) prepare(keyFile string, withKey bool) error {
	if keyFile != "" && withKey {
		return usagef("restore: --key-file: the backup has its key; leave the flag out")
	}
	var key []byte
	if keyFile != "" {
		b, err := readSmallFile(keyFile)
		if err == nil {
			key, err = parseHubKey(b)
		}
		if err != nil {
			return usagef("restore: --key-file: %v; name the file of the hub's key", err)
		}
	}
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return usagef("restore: %v; choose another directory with --data", err)
	}
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return usagef("restore: %v; choose another directory with --data", err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return usagef("restore: %q is not empty; choose an empty or a new directory with --data", t.dir)
		}
	}
	if key == nil {
		return nil
	}
	return writeFileAtomic(filepath.Join(t.dir, hubKeyFile), key, 0o600)
}

// restore starts a log in the directory and fills it.
func (t *restoreTarget) restore(ctx context.Context, name string) (done *backup.Reader, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	in, err := backup.NewReader(file)
	if err != nil {
		return nil, err
	}
	private, readOnly := embeddedAccess(in.Header.Hub)
	server, err := broker.Start(ctx, broker.Options{
		Dir: filepath.Join(t.dir, "log"), Listen: "127.0.0.1:0", SyncWrites: true,
		Private: private, ReadOnly: readOnly, PrivatePrefix: in.Header.Hub + ".",
	})
	if err != nil {
		return nil, err
	}
	open := true
	defer func() {
		if open {
			server.Close()
		}
	}()
	c := server.Credentials()
	log, err := eventlog.Open(ctx, eventlog.Options{Seeds: []string{server.Addr()}, ClientID: "gemello-restore",
		SASL: eventlog.SASL{Mechanism: c.Mechanism, User: c.User, Password: c.Password}})
	if err != nil {
		return nil, err
	}
	_, err = actors.Restore(ctx, in, actors.RestoreOptions{Log: log, Begin: server.Begin, File: t.file, Now: time.Now()})
	log.Close()
	open = false
	if e := server.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if err := writeFileAtomic(filepath.Join(t.dir, "hub.id"), []byte(in.Header.HubID+"\n"), 0o600); err != nil {
		return nil, err
	}
	return in, writeFileAtomic(filepath.Join(t.dir, formatFile), []byte(strconv.Itoa(dataFormat)+"\n"), 0o600)
}

// file writes a file of the backup; a name may not lead out of the directory.
func (t *restoreTarget) file(name string, value []byte) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%w: the name of file %q", backup.ErrCorrupt, name)
	}
	to := filepath.Join(t.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return writeFileAtomic(to, value, 0o600)
}
