package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Names inside Options.Dir.
const (
	contentsDir = "db"       // Pebble's
	incomingDir = "incoming" // the table that a flush is writing; emptied by Open
	scratchDir  = "scratch"  // removed by Open
)

// formatStamp is written with the first flush. A later layout of keys or of the
// directory gets another number.
const formatStamp = "gemello store 1"

// Keys of stage 0. userFloor is the smallest key of the owner's.
var (
	stampKey   = []byte{0, 0, 'f'}
	appliedKey = []byte{0, 0, 'a'}
	userFloor  = []byte{0, 1}
)

// Store is the state of one core. Reads may come from several goroutines, also
// during Flush; Flush, Scratch and Close are the owner's alone.
type Store struct {
	opts   Options
	fs     *guardedFS
	db     *pebble.DB
	engine *pebble.Options

	stamped bool
	applied atomic.Pointer[Applied] // nil: nothing was flushed yet
	flushes uint64

	scratchMu sync.Mutex // guards scratch; opening it does I/O
	scratch   *Scratch
}

// Open opens the store in o.Dir or makes an empty one. ErrCorrupt and ErrFormat
// are final: the remedy is Quarantine. A directory that another process has
// open is an error.
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, fs: newGuardedFS(o.FS)}
	s.engine = engineOptions(o, s.fs)
	s.engine.EnsureDefaults() // Open sets them on a copy, and flushes need them
	s.db, err = pebble.Open(s.path(contentsDir), s.engine)
	if err = classifyOpen(err); errors.Is(err, ErrCorrupt) && s.isUnborn() {
		o.Logger.Warn("making a store anew whose making was cut short", "dir", o.Dir, "err", err)
		if err = s.fs.RemoveAll(s.path(contentsDir)); err == nil {
			s.db, err = pebble.Open(s.path(contentsDir), s.engine)
			err = classifyOpen(err)
		}
	}
	if err != nil {
		return nil, remedy(o.Dir, err)
	}
	if err := s.prepare(); err != nil {
		return nil, remedy(o.Dir, errors.Join(err, s.db.Close()))
	}
	return s, nil
}

// classifyOpen adds to classify that whatever the disk itself has not refused is
// damage: Pebble marks few of the things that it can't make sense of.
func classifyOpen(err error) error {
	err = classify(err)
	var errno syscall.Errno
	switch {
	case err == nil, errors.Is(err, ErrCorrupt), errors.Is(err, ErrDiskFull):
		return err
	case errors.Is(err, fs.ErrNotExist):
		// A file that the table of contents names.
	case errors.As(err, &errno), strings.Contains(err.Error(), "lock held by current process"):
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// isUnborn reports whether the directory holds no table at all. Pebble writes
// its first files before it syncs their names, so a crash may leave some of
// them; nothing can have been flushed then, and an empty store is the truth.
func (s *Store) isUnborn() bool {
	names, err := s.fs.List(s.path(contentsDir))
	return err == nil && !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".sst") })
}

// prepare empties the throw-away directories, which the lock on the contents
// makes safe, and reads the stamp and Applied.
func (s *Store) prepare() error {
	for _, d := range []string{scratchDir, incomingDir} {
		if err := s.fs.RemoveAll(s.path(d)); err != nil {
			return err
		}
	}
	if err := s.fs.MkdirAll(s.path(incomingDir), 0o700); err != nil {
		return err
	}
	stamp, err := s.get(stampKey)
	if err != nil {
		return err
	}
	switch {
	case stamp == nil:
		empty, err := s.isEmpty()
		if err != nil {
			return err
		}
		if !empty {
			return fmt.Errorf("%w: no stamp", ErrFormat)
		}
		return nil
	case string(stamp) != formatStamp:
		return fmt.Errorf("%w: stamp %q, this version writes %q", ErrFormat, stamp, formatStamp)
	}
	s.stamped = true
	b, err := s.get(appliedKey)
	if err != nil {
		return err
	}
	a, err := decodeApplied(b)
	if err != nil {
		return err
	}
	s.applied.Store(&a)
	return nil
}

func (s *Store) isEmpty() (bool, error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return false, err
	}
	any := it.First()
	return !any, it.Close()
}

// Applied returns what the last flush was given; false when there was none.
func (s *Store) Applied() (Applied, bool) {
	a := s.applied.Load()
	if a == nil {
		return Applied{}, false
	}
	return *a, true
}

// Get returns the value of key, or nil when there is none. The result is the
// caller's.
func (s *Store) Get(key []byte) ([]byte, error) {
	if bytes.Compare(key, userFloor) < 0 {
		return nil, nil
	}
	v, err := s.get(key)
	if err != nil {
		return nil, fmt.Errorf("read store %s: %w", s.opts.Dir, classify(err))
	}
	return v, nil
}

func (s *Store) get(key []byte) ([]byte, error) { return getFrom(s.db, key) }

// Scan visits the keys in [lo, hi) in order, as they were when it began; a nil
// hi means up to the last. Key and value are valid during the call of visit
// only. An error of visit ends the scan and is returned as it is.
func (s *Store) Scan(lo, hi []byte, visit func(key, value []byte) error) error {
	return scanIn(s.db, s.opts.Dir, lo, hi, visit)
}

// Bytes returns the size of the store on disk without scratch space.
func (s *Store) Bytes() int64 { return int64(s.db.Metrics().DiskSpaceUsage()) }

// NewBatch returns an empty batch.
func (s *Store) NewBatch() *Batch { return &Batch{} }

// Close releases the directory. What was flushed stays; scratch space goes.
func (s *Store) Close() error {
	s.scratchMu.Lock()
	defer s.scratchMu.Unlock()
	var err error
	if s.scratch != nil {
		err = s.scratch.close()
		s.scratch = nil
	}
	err = errors.Join(err, s.db.Close())
	if s.fs.isCut.Load() {
		// Closing a store that was cut off can't tidy up; that is no news.
		return nil
	}
	if err != nil {
		return fmt.Errorf("close store %s: %w", s.opts.Dir, err)
	}
	return nil
}

func (s *Store) path(elem ...string) string {
	return s.fs.PathJoin(append([]string{s.opts.Dir}, elem...)...)
}

func getFrom(db *pebble.DB, key []byte) ([]byte, error) {
	v, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

func scanIn(db *pebble.DB, dir string, lo, hi []byte, visit func(key, value []byte) error) (err error) {
	if bytes.Compare(lo, userFloor) < 0 {
		lo = userFloor
	}
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return nil
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return fmt.Errorf("scan store %s: %w", dir, classify(err))
	}
	defer func() {
		if cerr := it.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("scan store %s: %w", dir, classify(cerr))
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("scan store %s: %w", dir, classify(err))
		}
		if err := visit(it.Key(), v); err != nil {
			return err
		}
	}
	return nil // an error that ended the loop comes back from Close
}
