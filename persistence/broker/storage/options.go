package storage

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// Options of a log.
type Options struct {
	// Dir holds the log and nothing else; it is made when absent.
	Dir string
	// FS is the file system; nil means the disk.
	FS vfs.FS
	// NoSync answers requests before the disk has them: a crash of the machine
	// may lose the last ones. A crash of the process loses nothing.
	NoSync bool
	// Now is the clock of append times, time-outs and expiry; nil means the wall
	// clock.
	Now func() time.Time

	// Retention is the age from which records of topics without retention.ms are
	// deleted; 0 means 7 days, negative means never.
	Retention time.Duration
	// RetentionBytes bounds all topics together that are not compacted; 0 means
	// 10 GiB, negative means no bound.
	RetentionBytes int64
	// Floor returns the offset from which on nothing of the partition may be
	// deleted; nil or false means that nothing holds deletion back.
	Floor func(topic string, partition int32) (int64, bool)
	// GroupActive reports whether a group has members: its offsets do not expire
	// then. Nil means that none has.
	GroupActive func(group string) bool

	// CacheBytes is the size of the block cache; 0 means 32 MiB.
	CacheBytes int64
	// MaxBatchBytes bounds a record batch of topics without max.message.bytes;
	// 0 means 1048588 as in Apache Kafka.
	MaxBatchBytes int
	// ReserveBytes is the free room on the disk below which appends are refused,
	// so that deletion and compaction still have room to work; 0 means 64 MiB,
	// negative means none.
	ReserveBytes int64

	// OffsetsRetention is how long committed offsets of a group without members
	// are kept; 0 means 7 days, negative means for ever.
	OffsetsRetention time.Duration
	// TransactionalIDExpiry is how long an unused transactional id is known; 0
	// means 7 days, negative means for ever.
	TransactionalIDExpiry time.Duration
	// ProducerIDExpiry is how long a partition knows the sequence of an idle
	// producer; 0 means 1 day, negative means for ever.
	ProducerIDExpiry time.Duration
	// MaxTransactionTimeout bounds what InitProducer is asked for; 0 means 15
	// minutes.
	MaxTransactionTimeout time.Duration

	// Housekeeping is the pause between rounds of expiry, retention and
	// compaction; 0 means 10 s, negative means that only tests run them.
	Housekeeping time.Duration

	// Logger hears of damage, full disks and aborted transactions; nil discards.
	Logger *slog.Logger
	// Registerer takes the metrics; nil counts nothing.
	Registerer prometheus.Registerer
}

const day = 24 * time.Hour

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("open log: Options.Dir is empty")
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	defaultTo(&o.Retention, 7*day)
	defaultTo(&o.RetentionBytes, 10<<30)
	defaultTo(&o.CacheBytes, 32<<20)
	defaultTo(&o.MaxBatchBytes, 1048588)
	defaultTo(&o.ReserveBytes, 64<<20)
	defaultTo(&o.OffsetsRetention, 7*day)
	defaultTo(&o.TransactionalIDExpiry, 7*day)
	defaultTo(&o.ProducerIDExpiry, day)
	defaultTo(&o.MaxTransactionTimeout, 15*time.Minute)
	defaultTo(&o.Housekeeping, 10*time.Second)
	if o.Floor == nil {
		o.Floor = func(string, int32) (int64, bool) { return 0, false }
	}
	if o.GroupActive == nil {
		o.GroupActive = func(string) bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func defaultTo[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
