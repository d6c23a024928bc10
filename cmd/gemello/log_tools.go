package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// newLogToolCmds returns the commands that look at a log which nothing has open.
func newLogToolCmds(a *app) []*cobra.Command {
	return []*cobra.Command{newLogDumpCmd(a), newLogVerifyCmd(a), newLogRepairCmd(a)}
}

// offlineFlag adds --data to a command and returns what it says.
func offlineFlag(cmd *cobra.Command) func() (storage.Offline, error) {
	data := cmd.Flags().String("data", "", "directory of the log, which no process may use: of gemello log its --data, of gemello serve log in its data directory")
	return func() (storage.Offline, error) {
		if *data == "" {
			return storage.Offline{}, usagef("%s: --data is needed: the directory where the log is kept", cmd.CommandPath())
		}
		return storage.Offline{Dir: *data}, nil
	}
}

func newLogDumpCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dump --data DIR [--topic T [--partition N]]",
		Short: "Print what a log holds that nothing uses, one JSON a line",
		Args:  cobra.NoArgs,
	}
	offline := offlineFlag(cmd)
	var f storage.DumpFilter
	fs := cmd.Flags()
	fs.StringVar(&f.Topic, "topic", "", "this topic alone; empty: all")
	fs.Int32Var(&f.Partition, "partition", -1, "this partition alone; -1: all")
	fs.Int64Var(&f.From, "from", 0, "first offset")
	fs.Int64Var(&f.To, "to", 0, "offset to stop at; 0: the end")
	fs.BoolVar(&f.State, "state", false, "topics, partitions, producers, transactions and groups")
	fs.BoolVar(&f.Batches, "batches", false, "headers of batches")
	fs.BoolVar(&f.Records, "records", false, "records, also of aborted transactions")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := offline()
		if err != nil {
			return err
		}
		if f.From < 0 || f.To < 0 {
			return usagef("log dump: --from and --to: offsets are 0 or more")
		}
		if !f.State && !f.Batches && !f.Records {
			f.State, f.Batches = true, true
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		if err := o.Dump(ctx, a.stdout, f); err != nil {
			return fmt.Errorf("log dump: %w", err)
		}
		return nil
	}
	return cmd
}

func newLogVerifyCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify --data DIR",
		Short: "Read all of a log that nothing uses and say what is wrong",
		Long:  "Read every key and batch of a log that nothing uses and say what is wrong. Exits 1 when\nsomething is. Nothing is changed.",
		Args:  cobra.NoArgs,
	}
	offline := offlineFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print the report as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := offline()
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		r, err := o.Verify(ctx)
		if err != nil {
			return fmt.Errorf("log verify: %w", err)
		}
		if *asJSON {
			err = writeIndented(a, r)
		} else {
			err = writeReport(a, r)
		}
		if err == nil && !r.Sound() {
			err = fmt.Errorf("log verify: %d findings; see gemello log repair --help", len(r.Findings)+r.Omitted)
		}
		return err
	}
	return cmd
}

func writeReport(a *app, r storage.Report) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintln(a.stdout, f); err != nil {
			return err
		}
	}
	if r.Omitted > 0 {
		if _, err := fmt.Fprintf(a.stdout, "and %d more\n", r.Omitted); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(a.stdout, "%d topics, %d partitions, %d batches, %d records, %d bytes, %d transactional ids, %d groups: %d findings\n",
		r.Topics, r.Partitions, r.Batches, r.Records, r.Bytes, r.Transactions, r.Groups, len(r.Findings)+r.Omitted)
	return err
}

func newLogRepairCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repair --data DIR [--dry-run] [--drop-damaged]",
		Short: "Set right what gemello log verify finds",
		Long: "Set right what gemello log verify finds, and say what was lost. Damaged batches at the end of\n" +
			"a partition are given up, those in the middle only with --drop-damaged. Offsets are not used\n" +
			"again. Make a copy of the directory first. Exits 1 when something is still wrong.",
		Args: cobra.NoArgs,
	}
	offline := offlineFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print what was done as JSON")
	var how storage.Repairs
	cmd.Flags().BoolVar(&how.DropDamaged, "drop-damaged", false, "give up damaged batches in the middle and states that can't be read")
	cmd.Flags().BoolVar(&how.DryRun, "dry-run", false, "change nothing, say what would be done")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := offline()
		if err != nil {
			return err
		}
		how.Now = time.Now().UnixMilli()
		r, err := o.Repair(cmd.Context(), how)
		if err != nil {
			return fmt.Errorf("log repair: %w", err)
		}
		if *asJSON {
			err = writeIndented(a, r)
		} else {
			err = writeRepaired(a, r, how.DryRun)
		}
		if err == nil && len(r.Left) > 0 {
			err = fmt.Errorf("log repair: %d findings are left; --drop-damaged gives damaged batches up, a copy of the log has what files have lost", len(r.Left))
		}
		return err
	}
	return cmd
}

func writeRepaired(a *app, r storage.Repaired, dry bool) error {
	would := ""
	if dry {
		would = "would be "
	}
	for _, f := range r.Lost {
		if _, err := fmt.Fprintf(a.stdout, "%slost: %s\n", would, f); err != nil {
			return err
		}
	}
	for _, s := range r.Done {
		if _, err := fmt.Fprintf(a.stdout, "%sdone: %s\n", would, s); err != nil {
			return err
		}
	}
	for _, f := range r.Left {
		if _, err := fmt.Fprintf(a.stdout, "left: %s\n", f); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(a.stdout, "%d lost, %d done, %d left\n", len(r.Lost), len(r.Done), len(r.Left))
	return err
}

func writeIndented(a *app, v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
