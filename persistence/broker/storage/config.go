package storage

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// config is what the configurations of a topic say. A zero field of the three
// limits means that the topic sets none.
type config struct {
	compact, delete bool
	appendTime      bool
	maxBytes        int           // of a batch; 0: Options.MaxBatchBytes
	retention       time.Duration // negative: for ever; 0: Options.Retention
	retentionBytes  int64         // -1: no bound of its own
	timeBefore      time.Duration // how far a record's time may lie back
	timeAfter       time.Duration // and ahead
	deleteRetention time.Duration // of tombstones
	minLag, maxLag  time.Duration // of compaction
	minDirty        float64
}

const forever = time.Duration(math.MaxInt64)

// ConfigKey describes a configuration of topics.
type ConfigKey struct {
	Name    string
	Default string
	// Check returns why a value is refused.
	Check func(value string) error
	set   func(*config, string)
}

// ConfigKeys lists the configurations of topics that are known, by name.
// Those that only make sense with several machines, segments or tiers are taken
// and have no effect.
func ConfigKeys() []ConfigKey {
	ms := func(set func(*config, time.Duration)) func(*config, string) {
		return func(c *config, v string) { set(c, parseMS(v)) }
	}
	keys := []ConfigKey{
		{Name: "cleanup.policy", Default: "delete", Check: checkPolicy, set: func(c *config, v string) {
			c.compact, c.delete = strings.Contains(v, "compact"), strings.Contains(v, "delete")
		}},
		{Name: "compression.type", Default: "producer", Check: oneOf("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd")},
		{Name: "delete.retention.ms", Default: "86400000", Check: between(0, math.MaxInt64), set: ms(func(c *config, d time.Duration) { c.deleteRetention = d })},
		{Name: "max.compaction.lag.ms", Default: "9223372036854775807", Check: between(1, math.MaxInt64), set: ms(func(c *config, d time.Duration) { c.maxLag = d })},
		{Name: "max.message.bytes", Default: "1048588", Check: between(0, math.MaxInt32), set: func(c *config, v string) { c.maxBytes, _ = strconv.Atoi(v) }},
		{Name: "message.timestamp.after.max.ms", Default: "3600000", Check: between(0, math.MaxInt64), set: ms(func(c *config, d time.Duration) { c.timeAfter = d })},
		{Name: "message.timestamp.before.max.ms", Default: "9223372036854775807", Check: between(0, math.MaxInt64), set: ms(func(c *config, d time.Duration) { c.timeBefore = d })},
		{Name: "message.timestamp.type", Default: "CreateTime", Check: oneOf("CreateTime", "LogAppendTime"), set: func(c *config, v string) { c.appendTime = v == "LogAppendTime" }},
		{Name: "min.cleanable.dirty.ratio", Default: "0.5", Check: checkRatio, set: func(c *config, v string) { c.minDirty, _ = strconv.ParseFloat(v, 64) }},
		{Name: "min.compaction.lag.ms", Default: "0", Check: between(0, math.MaxInt64), set: ms(func(c *config, d time.Duration) { c.minLag = d })},
		{Name: "retention.bytes", Default: "-1", Check: between(-1, math.MaxInt64), set: func(c *config, v string) { c.retentionBytes, _ = strconv.ParseInt(v, 10, 64) }},
		{Name: "retention.ms", Default: "604800000", Check: between(-1, math.MaxInt64), set: func(c *config, v string) {
			if c.retention = parseMS(v); v == "0" {
				c.retention = time.Nanosecond // 0 would mean the default
			}
		}},
		{Name: "compression.gzip.level", Default: "-1", Check: between(-1, 9)},
		{Name: "compression.lz4.level", Default: "9", Check: between(1, 17)},
		{Name: "compression.zstd.level", Default: "3", Check: between(-131072, 22)},
		{Name: "file.delete.delay.ms", Default: "60000", Check: between(0, math.MaxInt64)},
		{Name: "flush.messages", Default: "9223372036854775807", Check: between(1, math.MaxInt64)},
		{Name: "flush.ms", Default: "9223372036854775807", Check: between(0, math.MaxInt64)},
		{Name: "follower.replication.throttled.replicas", Default: "", Check: anything},
		{Name: "index.interval.bytes", Default: "4096", Check: between(0, math.MaxInt32)},
		{Name: "leader.replication.throttled.replicas", Default: "", Check: anything},
		{Name: "local.retention.bytes", Default: "-2", Check: between(-2, math.MaxInt64)},
		{Name: "local.retention.ms", Default: "-2", Check: between(-2, math.MaxInt64)},
		{Name: "min.insync.replicas", Default: "1", Check: between(1, math.MaxInt32)},
		{Name: "preallocate", Default: "false", Check: oneOf("true", "false")},
		{Name: "remote.log.copy.disable", Default: "false", Check: oneOf("true", "false")},
		{Name: "remote.log.delete.on.disable", Default: "false", Check: oneOf("true", "false")},
		{Name: "remote.storage.enable", Default: "false", Check: oneOf("false")},
		{Name: "segment.bytes", Default: "1073741824", Check: between(14, math.MaxInt32)},
		{Name: "segment.index.bytes", Default: "10485760", Check: between(4, math.MaxInt32)},
		{Name: "segment.jitter.ms", Default: "0", Check: between(0, math.MaxInt64)},
		{Name: "segment.ms", Default: "604800000", Check: between(1, math.MaxInt64)},
		{Name: "unclean.leader.election.enable", Default: "false", Check: oneOf("true", "false")},
	}
	slices.SortFunc(keys, func(a, b ConfigKey) int { return strings.Compare(a.Name, b.Name) })
	return keys
}

// parseConfig returns what the configurations say; the error names the first
// that is refused.
func parseConfig(set map[string]string) (*config, error) {
	c := &config{
		delete: true, timeBefore: forever, timeAfter: time.Hour, deleteRetention: day,
		retentionBytes: -1, maxLag: forever, minDirty: 0.5,
	}
	left := len(set)
	for _, k := range ConfigKeys() {
		v, ok := set[k.Name]
		if !ok {
			continue
		}
		left--
		if err := k.Check(v); err != nil {
			return nil, fmt.Errorf("%s = %q: %w", k.Name, v, err)
		}
		if k.set != nil {
			k.set(c, v)
		}
	}
	if left > 0 {
		known := ConfigKeys()
		for name := range set {
			if !slices.ContainsFunc(known, func(k ConfigKey) bool { return k.Name == name }) {
				return nil, fmt.Errorf("%s is not a configuration of topics", name)
			}
		}
	}
	if c.minLag > c.maxLag {
		return nil, fmt.Errorf("min.compaction.lag.ms is above max.compaction.lag.ms")
	}
	return c, nil
}

// parseMS returns milliseconds as a duration, for ever where it can't be said,
// and -1 for all that is negative.
func parseMS(v string) time.Duration {
	n, _ := strconv.ParseInt(v, 10, 64)
	switch {
	case n < 0:
		return -1
	case n > math.MaxInt64/int64(time.Millisecond):
		return forever
	}
	return time.Duration(n) * time.Millisecond
}

func anything(string) error { return nil }

func between(lo, hi int64) func(string) error {
	return func(v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < lo || n > hi {
			return fmt.Errorf("a whole number from %d to %d is needed", lo, hi)
		}
		return nil
	}
}

func oneOf(values ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("one of %s is needed", strings.Join(values, ", "))
		}
		return nil
	}
}

func checkRatio(v string) error {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("a number from 0 to 1 is needed")
	}
	return nil
}

func checkPolicy(v string) error {
	if v == "" {
		return nil // keeps everything
	}
	for p := range strings.SplitSeq(v, ",") {
		if p = strings.TrimSpace(p); p != "compact" && p != "delete" {
			return fmt.Errorf("a list of compact and delete is needed")
		}
	}
	return nil
}
