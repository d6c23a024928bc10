package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// LogOptions describe a run of one load against several logs in turn: the
// binary's own, those of other builds, and a Kafka.
type LogOptions struct {
	Binary string // gemello, to be started with log
	Dir    string // where data and the sync measure lie; empty: the system's temporary directory
	// Peers are further binaries to be started with log, as NAME=PATH.
	Peers []string
	// Kafka are seed brokers; its topics are measured durable, with
	// flush.messages=1, and as it makes them by default.
	Kafka []string
	// SyncDelay, when set, measures the started logs a second time with syncs
	// that take at least so long.
	SyncDelay  time.Duration
	Payload    int   // bytes; 0: 150
	Partitions int32 // of a topic; 0: 8
	Producers  []int // empty: 1 and 8
	Consumers  []int // empty: 1 and 8
	// Linger is how long a record waits for company in its batch and BatchBytes
	// how large that gets; 0: 5 ms and 16 KiB, the Java client's defaults.
	// Records that are written one at a time never wait.
	Linger     time.Duration
	BatchBytes int32
	Records    int64 // that are consumed; 0: 2,000,000
	Rounds     int   // of each log, in turn; 0: 3
	Warm       time.Duration
	Measured   time.Duration // of a round of producing; 0: 5 s
}

func (o LogOptions) ensureDefaults() LogOptions {
	orDefault(&o.Payload, 150)
	orDefault(&o.Partitions, 8)
	orDefault(&o.Linger, 5*time.Millisecond)
	orDefault(&o.BatchBytes, 16<<10)
	orDefault(&o.Records, 2_000_000)
	orDefault(&o.Rounds, 3)
	orDefault(&o.Warm, time.Second)
	orDefault(&o.Measured, 5*time.Second)
	if len(o.Producers) == 0 {
		o.Producers = []int{1, 8}
	}
	if len(o.Consumers) == 0 {
		o.Consumers = []int{1, 8}
	}
	return o
}

// Log produces to and consumes from logs with the same client, and prints
// rates, the time of one record at a time, and beside it what a sync of the
// disk takes.
func Log(ctx context.Context, o LogOptions, out io.Writer) (err error) {
	o = o.ensureDefaults()
	dir, err := os.MkdirTemp(o.Dir, "gemello-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	targets, err := o.targets(dir)
	if err != nil {
		return err
	}
	for round := range o.Rounds {
		for _, t := range targets {
			if err := t.round(ctx, &o, round, out); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	disk, err := diskSync(dir, o.Payload, out)
	if err != nil {
		return err
	}
	var own *logTarget // this binary's with the same disk
	for _, t := range targets {
		if t.binary == o.Binary {
			own = t
		}
		fmt.Fprintf(out, "REPORT\tlog=%s", t.name)
		for _, m := range t.measures {
			fmt.Fprintf(out, "\t%s=%.0f", m.name, median(m.values))
			if t != own {
				fmt.Fprintf(out, "\tratio=%.3f", median(own.values(m.name))/median(m.values))
			}
		}
		// What the log adds to a sync, which takes the delay or the disk's own
		// time, whichever is longer.
		sync := max(micros(t.syncDelay), micros(disk))
		fmt.Fprintf(out, "\tsync_p50_us=%.0f\tsingle_to_sync=%.3f\n", sync, median(t.values(measureSingle))/sync)
	}
	return nil
}

// targets lists the logs, of each kind of disk this binary's first.
func (o *LogOptions) targets(dir string) ([]*logTarget, error) {
	type build struct{ name, binary string }
	builds := []build{{"gemello", o.Binary}}
	for _, p := range o.Peers {
		name, binary, ok := strings.Cut(p, "=")
		if !ok || name == "" || binary == "" {
			return nil, fmt.Errorf("peer %q: want NAME=PATH of a gemello", p)
		}
		builds = append(builds, build{name, binary})
	}
	var targets []*logTarget
	delays := []time.Duration{0}
	if o.SyncDelay > 0 {
		delays = append(delays, o.SyncDelay)
	}
	for _, delay := range delays {
		for _, b := range builds {
			t := &logTarget{name: b.name, binary: b.binary, syncDelay: delay, dir: dir}
			if delay > 0 {
				t.name += "/sync=" + delay.String()
			}
			targets = append(targets, t)
		}
		if delay == 0 && len(o.Kafka) > 0 {
			targets = append(targets,
				&logTarget{name: "kafka-durable", seeds: o.Kafka, flush: 1},
				&logTarget{name: "kafka", seeds: o.Kafka})
		}
	}
	return targets, nil
}
