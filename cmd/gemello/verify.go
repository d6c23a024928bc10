package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/internal/sim"
)

// errVerdict makes a verdict that failed exit code 1.
var errVerdict = errors.New("verify: the hub lost, doubled or falsified something")

func newVerifyCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Kill nodes while devices publish and judge what is left",
		Long: "Run nodes as processes of their own, kill, freeze and replace them while simulated devices\n" +
			"publish, then compare what was acknowledged with the log and every committed row with a model.\n" +
			"With --twins devices and a service patch twins; each must be what answers and reads allow.\n" +
			"The last line is the verdict; exit code 1 says that it failed.\n\n" +
			"With --break a fault is planted on purpose: then the verdict must fail.",
		Args: cobra.NoArgs,
	}
	o := sim.Options{}
	var disturb, dir string
	var keep, twins bool
	var patches int
	fs := cmd.Flags()
	fs.IntVar(&o.Rounds, "rounds", 20, "rounds, each with one incident")
	fs.Uint64Var(&o.Seed, "seed", 1, "of incidents, times and values")
	fs.StringSliceVar(&o.Kafka, "kafka", nil, "seed brokers host:port; empty: a gemello log of its own, which is not killed")
	fs.BoolVar(&o.OneProcess, "one-process", false, "node and log in one process, killed together")
	fs.StringVar(&o.Fault, "break", "", "plant a fault: ack, fence or commit; with --twins: ack or notice")
	fs.BoolVar(&twins, "twins", false, "let devices and a service patch twins instead, and kill the node meanwhile")
	fs.IntVar(&patches, "patches", 1000, "with --twins: patches from both sides")
	fs.BoolVar(&o.Compact, "compact", false, "compact the log's checkpoints each second")
	fs.BoolVar(&o.HoldFlushes, "hold-flushes", false, "keep nodes from flushing their stores")
	fs.IntVar(&o.Devices, "devices", 12, "simulated devices")
	fs.IntVar(&o.Batch, "batch", 24, "messages a device sends in a round")
	fs.DurationVar(&o.Spread, "spread", 600*time.Millisecond, "time over which it sends them")
	fs.StringVar(&disturb, "disturb", "", "shell command that is run while devices send, to restart a broker")
	fs.IntVar(&o.DisturbEvery, "disturb-every", 10, "in each of how many rounds it is run")
	fs.StringVar(&dir, "data", "", "directory for the processes' data; empty: a temporary one")
	fs.BoolVar(&keep, "keep", false, "keep that directory when the verdict is good")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		o.Out = a.stdout
		faults, allowed := []actors.Fault{"", actors.FaultAck, actors.FaultFence, actors.FaultCommit}, "ack, fence or commit"
		if twins {
			faults, allowed = []actors.Fault{"", actors.FaultAck, actors.FaultNotice}, "ack or notice"
		}
		if !slices.Contains(faults, actors.Fault(o.Fault)) {
			return &configError{Key: "--break", Value: o.Fault, Allowed: allowed}
		}
		if twins {
			for _, other := range []string{"disturb", "disturb-every", "compact", "hold-flushes", "batch", "spread"} {
				if cmd.Flags().Changed(other) {
					return usagef("--%s: not with --twins", other)
				}
			}
			if !cmd.Flags().Changed("rounds") {
				o.Rounds = 0 // the mode's own number
			}
			return a.verify(ctx, &o, dir, keep, func() (verdict, error) {
				v, err := sim.RunTwins(ctx, sim.TwinsOptions{Options: o, Patches: patches})
				if v == nil {
					return verdict{}, err
				}
				return verdict{v.Passed(), v.Findings, v.String()}, err
			})
		}
		if cmd.Flags().Changed("patches") {
			return usagef("--patches: only with --twins")
		}
		if disturb != "" {
			o.Disturb = func() error {
				c := exec.CommandContext(ctx, "sh", "-c", disturb)
				c.Stdout, c.Stderr = a.stderr, a.stderr
				return c.Run()
			}
		}
		return a.verify(ctx, &o, dir, keep, func() (verdict, error) {
			v, err := sim.Run(ctx, o)
			if v == nil {
				return verdict{}, err
			}
			return verdict{v.Passed(), v.Findings, v.String()}, err
		})
	}
	return cmd
}

// verdict is the end of a run of either kind.
type verdict struct {
	passed   bool
	findings []string
	text     string
}

// verify runs in a directory that is removed unless something is to be looked
// at; it sets Binary and Dir of o before.
func (a *app) verify(ctx context.Context, o *sim.Options, dir string, keep bool, run func() (verdict, error)) (err error) {
	if o.Binary, err = os.Executable(); err != nil {
		return err
	}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return usagef("--data: %v", err)
		}
	}
	if o.Dir, err = os.MkdirTemp(dir, "gemello-verify-"); err != nil {
		return usagef("--data: %v", err)
	}
	v, err := run()
	switch {
	case errors.Is(err, sim.ErrOptions):
		os.RemoveAll(o.Dir)
		return usagef("verify: %v", err)
	case err == nil:
		for _, f := range v.findings {
			fmt.Fprintf(a.stdout, "  %s\n", f)
		}
		fmt.Fprintln(a.stdout, v.text)
	}
	if err == nil && !v.passed {
		err = errVerdict
	}
	if err == nil && !keep {
		return os.RemoveAll(o.Dir)
	}
	fmt.Fprintf(a.stderr, "data and logs of the processes: %s\n", o.Dir)
	return err
}
