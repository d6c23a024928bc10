package store

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options of a store.
type Options struct {
	// Dir holds the store and nothing else; it is made when absent.
	Dir string
	// FS is the file system; nil means the disk.
	FS vfs.FS
	// Cache is shared with the other stores of the process; nil means one of
	// this store's own.
	Cache *Cache
	// MemTableSize bounds the memory of scratch space, in bytes; 0 means 1 MiB.
	// It grows to that from a quarter as it fills. Flush needs no such memory.
	MemTableSize int
	// ReserveBytes is the free room on the disk below which Flush refuses, so
	// that the small writes around it still succeed; 0 means 32 MiB, negative
	// means none.
	ReserveBytes int64
	// Logger hears of damage and full disks; nil discards.
	Logger *slog.Logger
	// Metrics is shared by the stores of a process; nil counts nothing.
	Metrics *Metrics
}

const (
	defaultMemTable = 1 << 20
	defaultReserve  = 32 << 20
	// engineFormat fixes the format of Pebble's files: an upgrade of the library
	// alone must not make a store unreadable for the version before.
	engineFormat = pebble.FormatTableFormatV6
)

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("open store: Options.Dir is empty")
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.MemTableSize <= 0 {
		o.MemTableSize = defaultMemTable
	}
	switch {
	case o.ReserveBytes == 0:
		o.ReserveBytes = defaultReserve
	case o.ReserveBytes < 0:
		o.ReserveBytes = 0
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// engineOptions are what the main area and scratch have in common. They are
// sized for dozens of instances in one process.
func engineOptions(o Options, fs *guardedFS) *pebble.Options {
	e := &pebble.Options{
		FS:                 fs,
		DisableWAL:         true,
		MemTableSize:       uint64(o.MemTableSize),
		FormatMajorVersion: engineFormat,
		Logger:             engineLogger{log: o.Logger, fs: fs},
		// A core flushes every few seconds to minutes, so that few files in L0
		// already mean that many flushes have to be merged by each read.
		L0CompactionThreshold:      2,
		L0CompactionFileThreshold:  8,
		L0StopWritesThreshold:      64,
		LBaseMaxBytes:              16 << 20,
		MaxManifestFileSize:        1 << 20,
		CompactionConcurrencyRange: func() (int, int) { return 1, 1 },
		EventListener: &pebble.EventListener{
			BackgroundError: fs.backgroundError,
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				o.Metrics.corruption()
				o.Logger.Error("store is damaged", "dir", o.Dir, "file", i.Path, "err", i.Details)
			},
		},
	}
	// The default scheduler wakes up ten times a second in each store to see
	// whether more than one compaction may run. Here the limit is always one.
	e.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	if o.Cache != nil {
		e.Cache, e.FileCache = o.Cache.blocks, o.Cache.files
	}
	return e
}

// engineLogger passes on what Pebble reports as an error; its informational
// lines are about single files.
type engineLogger struct {
	log *slog.Logger
	fs  *guardedFS
}

func (engineLogger) Infof(string, ...any) {}

func (l engineLogger) Errorf(format string, args ...any) {
	l.log.Warn("store engine", "msg", fmt.Sprintf(format, args...))
}

// Fatalf is called when Pebble can't go on. For a table of contents that could
// not be written it has an error path below the call, and the process has other
// stores: cut this one off from the disk before that path deletes files which a
// half-written table of contents may name, and let the error come back from
// Flush. Everything else is a broken invariant.
func (l engineLogger) Fatalf(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	if !strings.Contains(msg, "MANIFEST") {
		panic("store engine: " + msg)
	}
	l.fs.cut()
	l.log.Error("store engine stopped", "msg", msg)
}
