package storage

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// contentsDir is Pebble's directory inside Options.Dir.
const contentsDir = "db"

// engineFormat fixes the format of Pebble's files: an upgrade of the library
// alone must not make a log unreadable for the version before.
const engineFormat = pebble.FormatValueSeparation

const (
	// memTableBytes is the size of a memtable: what a start after a kill has to
	// replay is at most memTables of them.
	memTableBytes = 8 << 20
	memTables     = 4
	// separateBytes is the size from which a value goes to a blob file, which
	// compactions do not copy.
	separateBytes = 1 << 10
	// fullDiskPause slows down whoever meets a full disk: Pebble tries a failed
	// flush or compaction again at once, for as long as it fails.
	fullDiskPause = 50 * time.Millisecond
)

// errCut is what a database that was cut off from its disk gets on writing.
var errCut = errors.New("the database was cut off from its disk")

// engine is the Pebble database, which is opened anew after a failure.
type engine struct {
	opts Options
	lock *pebble.Lock

	// mu is held for reading while db is used and for writing while it is
	// replaced; iterators are short.
	mu       sync.RWMutex
	db       *pebble.DB // nil: it could not be opened
	fs       *guardedFS
	readOnly bool

	// failed holds a token after the database was cut off.
	failed chan struct{}
}

// newEngine locks the directory. The database is not open yet.
func newEngine(o Options) (*engine, error) {
	dir := o.FS.PathJoin(o.Dir, contentsDir)
	if err := makeDir(o.FS, dir); err != nil {
		return nil, fmt.Errorf("make directory of the log: %w", err)
	}
	lock, err := pebble.LockDirectory(dir, o.FS)
	if err != nil {
		return nil, fmt.Errorf("lock the log in %s, which another process may have open: %w", o.Dir, err)
	}
	return &engine{opts: o, lock: lock, failed: make(chan struct{}, 1)}, nil
}

// makeDir makes a directory with its parents so that a crash leaves all of their
// names.
func makeDir(fs vfs.FS, dir string) error {
	var missing []string
	for d := dir; ; d = fs.PathDir(d) {
		if _, err := fs.Stat(d); err == nil || d == fs.PathDir(d) {
			break
		}
		missing = append(missing, d)
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range missing {
		parent, err := fs.OpenDir(fs.PathDir(d))
		if err != nil {
			return err
		}
		if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
			return err
		}
	}
	return nil
}

// attempt is an opening under way. It takes as long as the disk is full: Pebble
// writes what it replays, and tries until it succeeds.
type attempt struct {
	fs   *guardedFS
	done chan opened
}

type opened struct {
	db  *pebble.DB
	err error
}

// try begins to open the database for writing. One that is open for reading
// only may stay open meanwhile.
func (e *engine) try() *attempt {
	a := &attempt{fs: newGuardedFS(e.opts.FS, e.failed), done: make(chan opened, 1)}
	go func() {
		db, err := e.openWith(a.fs, false)
		a.done <- opened{db, err}
	}()
	return a
}

func (e *engine) openWith(fs *guardedFS, readOnly bool) (db *pebble.DB, err error) {
	o := e.pebbleOptions(fs, readOnly)
	defer o.Cache.Unref()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
		if err != nil {
			fs.cut()
			err = fmt.Errorf("open the log in %s: %w", e.opts.Dir, err)
		}
	}()
	gate := newCompactionGate()
	o.Experimental.CompactionScheduler = gate
	db, err = pebble.Open(e.dir(), o)
	if err == nil && fs.isCut.Load() {
		// It knows nothing of what became of its write-ahead log.
		return nil, errors.Join(errCut, closeQuietly(db))
	}
	if err == nil {
		gate.open()
	}
	return db, err
}

// install makes a database the one in use and closes the one before.
func (e *engine) install(db *pebble.DB, fs *guardedFS, readOnly bool) error {
	e.mu.Lock()
	old := e.db
	e.db, e.fs, e.readOnly = db, fs, readOnly
	e.mu.Unlock()
	if old == nil {
		return nil
	}
	return closeQuietly(old)
}

// open opens the database and waits for it; for reading only it needs no room.
func (e *engine) open(readOnly bool) error {
	fs := newGuardedFS(e.opts.FS, e.failed)
	db, err := e.openWith(fs, readOnly)
	if err != nil {
		return err
	}
	return e.install(db, fs, readOnly)
}

// closePatience is how long Close waits for an opening that the disk holds up.
const closePatience = 5 * time.Second

// giveUp ends an opening. One that does not end is cut off and left behind: it
// can't be told to stop.
func (a *attempt) giveUp(patience time.Duration) error {
	if a == nil {
		return nil
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case o := <-a.done:
		if o.db != nil {
			return closeQuietly(o.db)
		}
		return nil
	case <-t.C:
		a.fs.leave()
		return fmt.Errorf("close the log: the disk does not let it be opened to be closed")
	}
}

func (e *engine) dir() string { return e.opts.FS.PathJoin(e.opts.Dir, contentsDir) }

// shut closes the database for good or before it is opened again. One that
// panicked inside a commit holds locks of its own for ever and is left behind,
// cut off from the disk.
func (e *engine) shut(abandon bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	db := e.db
	e.db = nil
	select {
	case <-e.failed:
	default:
	}
	if db == nil || abandon {
		if e.fs != nil {
			e.fs.cut()
		}
		return nil
	}
	return closeQuietly(db)
}

// closeQuietly turns a panic of Close, which follows broken invariants after a
// failed write, into an error.
func closeQuietly(db *pebble.DB) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("close database: %v", r)
		}
	}()
	return db.Close()
}

// close releases the directory.
func (e *engine) close() error {
	return errors.Join(e.shut(false), e.lock.Close())
}

// errNoDatabase means that the database could not be opened again yet.
var errNoDatabase = errors.New("the database is not open")

// view calls f with the database.
func (e *engine) view(f func(*pebble.DB) error) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return errNoDatabase
	}
	return f(e.db)
}

func (e *engine) pebbleOptions(fs *guardedFS, readOnly bool) *pebble.Options {
	cache := pebble.NewCache(e.opts.CacheBytes)
	o := &pebble.Options{
		FS:                          fs,
		ReadOnly:                    readOnly,
		Cache:                       cache,
		FormatMajorVersion:          engineFormat,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: memTables,
		L0CompactionThreshold:       4,
		L0CompactionFileThreshold:   64,
		L0StopWritesThreshold:       256,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                500,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		FlushDelayDeleteRange:       10 * time.Second,
		Logger:                      engineLogger{log: e.opts.Logger, fs: fs},
		EventListener: &pebble.EventListener{
			BackgroundError: fs.backgroundError,
			FlushEnd:        func(i pebble.FlushInfo) { fs.flushed(i.Err) },
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				e.opts.Logger.Error("a file of the log is damaged", "file", i.Path, "err", i.Details)
			},
		},
	}
	// Separated values are kept as they came: whoever sends batches knows whether
	// they are worth compressing, and each reader would pay for undoing it. The
	// name is that of the profile for all else, as the database's options must
	// name one that Pebble knows.
	compression := *block.SnappyCompression
	compression.ValueBlocks = block.NoCompression.ValueBlocks
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.UniformDBCompressionSettings(&compression) })
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           separateBytes,
			MaxBlobReferenceDepth: 100,
			RewriteMinimumAge:     time.Minute,
			TargetGarbageRatio:    0.3,
		}
	}
	return o
}

// isUnborn reports whether the directory holds nothing that was ever
// acknowledged. Pebble writes its first files before it syncs their names, so a
// crash may leave some of them that it can't open again.
func (e *engine) isUnborn() bool {
	names, err := e.opts.FS.List(e.dir())
	if err != nil {
		return false
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".sst") || strings.HasSuffix(n, ".blob") {
			return false
		}
		if strings.HasSuffix(n, ".log") {
			info, err := e.opts.FS.Stat(e.opts.FS.PathJoin(e.dir(), n))
			if err != nil || info.Size() > 0 {
				return false
			}
		}
	}
	return true
}

// clear removes what an unborn database left behind.
func (e *engine) clear() error {
	names, err := e.opts.FS.List(e.dir())
	if err != nil {
		return err
	}
	for _, n := range names {
		if n == "LOCK" {
			continue
		}
		if err := e.opts.FS.RemoveAll(e.opts.FS.PathJoin(e.dir(), n)); err != nil {
			return err
		}
	}
	return nil
}

// engineLogger passes on what Pebble reports as an error; its informational
// lines are about single files.
type engineLogger struct {
	log *slog.Logger
	fs  *guardedFS
}

func (engineLogger) Infof(string, ...any) {}

func (l engineLogger) Errorf(format string, args ...any) {
	l.log.Warn("log engine", "msg", fmt.Sprintf(format, args...))
}

// Fatalf is called when Pebble can't go on. The process can: the database is
// cut off from the disk, before an error path below deletes files which a
// half-written table of contents may name, and is opened again.
func (l engineLogger) Fatalf(format string, args ...any) {
	l.fs.cut()
	l.log.Error("log engine stopped", "msg", fmt.Sprintf(format, args...))
}

// guardedFS is the file system as one opening of the database sees it. Once it
// is cut nothing is changed on the disk through it any more.
type guardedFS struct {
	vfs.FS
	isCut   atomic.Bool
	failing atomic.Int64  // when the last flush failed, nanoseconds; 0: it did not
	failed  chan struct{} // gets a token when cut
	barrier errorfs.Injector

	isLeft      atomic.Bool   // nobody waits for the database any more
	troubled    chan struct{} // closed when background work has failed once
	troubleOnce sync.Once
}

func newGuardedFS(inner vfs.FS, failed chan struct{}) *guardedFS {
	g := &guardedFS{failed: failed, troubled: make(chan struct{})}
	paused := vfs.OnDiskFull(inner, func() { time.Sleep(fullDiskPause) })
	g.barrier = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if g.isCut.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			if g.isLeft.Load() {
				park()
			}
			return errCut
		}
		return nil
	})
	g.FS = errorfs.Wrap(paused, g.barrier)
	return g
}

// park holds a goroutine of a database that was left behind, which would try
// for ever what can't succeed any more.
func park() { select {} }

// ReuseForWrite is for old files of the write-ahead log, which package errorfs
// hands out as they are.
func (g *guardedFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.ReuseForWrite(oldname, newname, category)
	if err == nil {
		f = errorfs.WrapFile(f, g.barrier)
	}
	return g.quiet(f, err), nil
}

// OpenDir is for the syncs of names: Pebble panics in the background when the
// name of a new table of contents can't be synced. A database that is cut off at
// that moment leaves the old or the new one, and both are right.
func (g *guardedFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &dirFile{File: f, fs: g}, nil
}

type dirFile struct {
	vfs.File
	fs *guardedFS
}

func (f *dirFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		f.fs.cut()
	}
	return nil
}

// Unwrap lets Pebble find the file system below.
func (g *guardedFS) Unwrap() vfs.FS { return g.FS }

func (g *guardedFS) cut() {
	if g.isCut.Swap(true) {
		return
	}
	select {
	case g.failed <- struct{}{}:
	default:
	}
}

// leave cuts the database off for good: nobody waits for it any more.
func (g *guardedFS) leave() {
	g.isLeft.Store(true)
	g.cut()
}

func (g *guardedFS) backgroundError(error) {
	g.troubleOnce.Do(func() { close(g.troubled) })
}

// Lock does nothing: engine holds the lock of the directory, over all openings.
func (g *guardedFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// flushed notes how a flush went. A compaction that fails is no reason to
// refuse records: it is tried again, and what it would have saved is room.
func (g *guardedFS) flushed(err error) {
	at := int64(0)
	// Pebble calls it an error, which it does not export, when a memtable had
	// nothing to write.
	if err != nil && !strings.HasSuffix(err.Error(), "empty table") {
		at = time.Now().UnixNano()
	}
	g.failing.Store(at)
}

// flushPatience is for how long a failed flush counts. On a full disk Pebble
// tries a flush that it needs all the time; one that it does not need yet waits
// for more records.
const flushPatience = time.Second

func (g *guardedFS) flushes() bool {
	at := g.failing.Load()
	return at == 0 || time.Since(time.Unix(0, at)) > flushPatience
}
