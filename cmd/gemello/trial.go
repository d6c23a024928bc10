package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/internal/sim"
)

// trial is what gemello verify asks of the nodes that it starts and nobody else
// may: its flags are hidden and refused for every hub but one of its own.
type trial struct {
	fault        string
	flushRecords int64
}

func (t *trial) add(fs *pflag.FlagSet) {
	fs.StringVar(&t.fault, "break", "", "plant a fault")
	fs.Int64Var(&t.flushRecords, "flush-records", 0, "records between flushes of a core; 0: the default")
	for _, name := range []string{"break", "flush-records"} {
		_ = fs.MarkHidden(name) // it was added above
	}
}

func (t *trial) check(hub string) error {
	if (*t != trial{}) && !strings.HasPrefix(hub, sim.HubPrefix) {
		return usagef("--break, --flush-records: only for hubs that gemello verify makes, whose names begin with %q", sim.HubPrefix)
	}
	if _, err := actors.ParseFault(t.fault); err != nil {
		return usagef("--break: %v", err)
	}
	return nil
}
