package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// commands lists the subcommands; a new one is one line here and one file.
func commands() []func(*app) *cobra.Command {
	return []func(*app) *cobra.Command{
		newServeCmd,
		newLogCmd,
		newConnectionStringCmd,
		newTrustCmd,
		newDeviceCmd,
		newTwinCmd,
		newQueryCmd,
		newIndexCmd,
		newPolicyCmd,
		newMethodCmd,
		newJobCmd,
		newConfigurationCmd,
		newIPFilterCmd,
		newCommandCmd,
		newAuditCmd,
		newPipelineCmd,
		newRouteCmd,
		newTailCmd,
		newSimulateCmd,
		newBenchCmd,
		newVerifyCmd,
		newBackupCmd,
		newRestoreCmd,
		newVersionCmd,
	}
}

// app is what a command sees of the process around it.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookupEnv      func(string) (string, bool)
	environ        func() []string
}

// usageError is a mistake of the caller's: exit code 2 and one line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: oneLine(fmt.Sprintf(format, args...))}
}

// execute runs one command line and returns the exit code. It starts nothing
// that outlives it.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, lookupEnv: os.LookupEnv, environ: os.Environ}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:           "gemello",
		Short:         "A self-hosted IoT hub with an event-time stream processor inside",
		Long:          "gemello is a device hub that Azure IoT devices move to by changing their host name,\nwith an event-time stream processor inside. Start with: gemello serve --demo",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       versionText(),
	}
	root.SetVersionTemplate("gemello {{.Version}}\n")
	root.DisableSuggestions = true // they take more than a line
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetArgs(args)
	// An error from before the command's own code is a mistake in the command
	// line: an unknown command or flag, or a wrong number of arguments.
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	for _, add := range commands() {
		root.AddCommand(add(a))
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if !started {
		err = usagef("%v; see: %s --help", err, cmd.CommandPath())
	}
	fmt.Fprintf(a.stderr, "gemello: %v\n", err)
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// interruptible ends the context at the first interrupt or termination signal;
// after stop, or after that first one, a second signal ends the process.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// commandGroup makes a command that only holds others and says so when one is missing
// or unknown.
func commandGroup(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			names := make([]string, 0, len(subs))
			for _, s := range subs {
				names = append(names, s.Name())
			}
			allowed := strings.Join(names, ", ")
			if len(args) == 0 {
				return usagef("%s: needs one of: %s", cmd.CommandPath(), allowed)
			}
			return usagef("%s: %q is not allowed; one of: %s", cmd.CommandPath(), args[0], allowed)
		},
	}
	cmd.AddCommand(subs...)
	return cmd
}

// oneLine keeps messages on one line whatever was put into them.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}
