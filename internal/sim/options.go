package sim

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// HubPrefix begins the names of the hubs that a run makes.
const HubPrefix = "verify_"

// Options say what a run does. Binary, Dir and Out are required.
type Options struct {
	Binary string // gemello's executable
	Dir    string // an empty directory for data and logs of the processes
	Out    io.Writer

	Rounds  int           // 0: 20
	Seed    uint64        // of incidents, times and values
	Devices int           // 0: 12
	Batch   int           // messages a device sends in a round; 0: 24
	Spread  time.Duration // time over which a device sends its batch; 0: 600 ms

	// Kafka are seed brokers of a log that is not the run's; empty: the run
	// starts gemello log.
	Kafka []string
	// OneProcess leaves the log to the node: both are one process and killed
	// together. Kafka must be empty.
	OneProcess bool
	// Fault is planted in every node (serve --break), to see that it is found.
	Fault string
	// Compact makes the log compact checkpoints every second, and HoldFlushes
	// keeps nodes from flushing stores between starts.
	Compact, HoldFlushes bool
	// Disturb, when not nil, is called in every DisturbEvery-th round (0: 10)
	// while devices send, to restart brokers, say.
	Disturb      func() error
	DisturbEvery int
}

// ErrOptions is wrapped by errors of wrong options.
var ErrOptions = errors.New("invalid options")

func (o Options) ensureDefaults() (Options, error) {
	if o.Binary == "" || o.Dir == "" || o.Out == nil {
		return o, fmt.Errorf("%w: Binary, Dir and Out are required", ErrOptions)
	}
	if o.OneProcess && (len(o.Kafka) > 0 || o.Compact || o.Disturb != nil) {
		return o, fmt.Errorf("%w: with OneProcess the log is the node's, so it takes neither Kafka nor Compact nor Disturb", ErrOptions)
	}
	for _, d := range []struct {
		v  *int
		to int
	}{{&o.Rounds, 20}, {&o.Devices, 12}, {&o.Batch, 24}, {&o.DisturbEvery, 10}} {
		if *d.v == 0 {
			*d.v = d.to
		}
		if *d.v < 0 {
			return o, fmt.Errorf("%w: counts must not be negative", ErrOptions)
		}
	}
	if o.Spread == 0 {
		o.Spread = 600 * time.Millisecond
	}
	if o.Rounds > maxRounds {
		return o, fmt.Errorf("%w: %d rounds, at most %d: event time must stay within the late tolerance", ErrOptions, o.Rounds, maxRounds)
	}
	return o, nil
}

// Tolerances of the pipelines and the course of event time. A round covers
// roundSpan; a message can be late by what is left of its round and the
// restarts in it, all of which lies within outOfOrder.
const (
	roundSpan  = 10 * time.Minute
	outOfOrder = 2 * roundSpan
	late       = 20 * 24 * time.Hour
	maxRounds  = 1000
)

// began returns where event time starts for a run that starts at now: far
// enough back that it never overtakes the wall clock.
func began(now time.Time) time.Time {
	return now.UTC().Truncate(time.Hour).Add(-(maxRounds + 50) * roundSpan)
}
