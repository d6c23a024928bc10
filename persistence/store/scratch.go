package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Scratch is disk space for what a core can't keep in memory between two
// flushes. It is neither synced nor logged, and empty after Open. One goroutine
// writes; several may read.
type Scratch struct {
	dir     string
	reserve int64
	fs      *guardedFS
	db      *pebble.DB
	limit   int             // bytes in memory at which they go to disk
	inMem   int             // bytes written since they last did
	flushed <-chan struct{} // closed when what went before is on disk; nil at first
}

// Scratch returns the store's scratch space and makes it on the first call. It
// is closed with the store.
func (s *Store) Scratch() (*Scratch, error) {
	s.scratchMu.Lock()
	defer s.scratchMu.Unlock()
	if s.scratch != nil {
		return s.scratch, nil
	}
	c := &Scratch{dir: s.path(scratchDir), reserve: s.opts.ReserveBytes, fs: newGuardedFS(s.opts.FS), limit: s.opts.MemTableSize}
	e := engineOptions(s.opts, c.fs)
	// Pebble would hold up a writer until a full disk has room. The limit is
	// therefore kept here, and Pebble's own is out of reach.
	e.MemTableSize *= 2
	e.MemTableStopWritesThreshold = 4
	// Pebble repeats what failed until it succeeds; that is how a full disk is
	// seen to have room again.
	e.EventListener.FlushEnd = func(i pebble.FlushInfo) { c.fs.backgroundDone(i.Err) }
	e.EventListener.CompactionEnd = func(i pebble.CompactionInfo) { c.fs.backgroundDone(i.Err) }
	var err error
	if c.db, err = pebble.Open(c.dir, e); err != nil {
		return nil, fmt.Errorf("open scratch space %s: %w", c.dir, classify(err))
	}
	s.scratch = c
	return c, nil
}

// Set stores value under key. On a full disk it returns ErrDiskFull.
func (c *Scratch) Set(key, value []byte) error {
	if err := c.admit(len(key) + len(value)); err != nil {
		return err
	}
	return c.wrap("write", c.db.Set(key, value, pebble.NoSync))
}

// DeleteRange removes the keys in [lo, hi). An empty range is no change.
func (c *Scratch) DeleteRange(lo, hi []byte) error {
	if !less(lo, hi) {
		return nil
	}
	if err := c.admit(len(lo) + len(hi)); err != nil {
		return err
	}
	return c.wrap("write", c.db.DeleteRange(lo, hi, pebble.NoSync))
}

// Get and Scan are as Store's.
func (c *Scratch) Get(key []byte) ([]byte, error) {
	v, err := getFrom(c.db, key)
	return v, c.wrap("read", err)
}

// Scan visits the keys in [lo, hi) in order, as they were when it began.
func (c *Scratch) Scan(lo, hi []byte, visit func(key, value []byte) error) error {
	return scanIn(c.db, c.dir, lo, hi, visit)
}

// Bytes returns the size of the scratch space on disk and in memory.
func (c *Scratch) Bytes() int64 {
	m := c.db.Metrics()
	return int64(m.DiskSpaceUsage() + m.MemTable.Size)
}

// entryOverhead is what an entry takes in memory beside its key and value.
const entryOverhead = 64

// admit makes room in memory for n bytes: when the limit is reached, what is
// there goes to disk in the background, after what went before has arrived.
func (c *Scratch) admit(n int) error {
	if c.fs.isCut.Load() {
		return c.wrap("write", ErrFailed)
	}
	if err := c.fs.background(); err != nil {
		return c.wrap("write", err)
	}
	if c.inMem += n + entryOverhead; c.inMem < c.limit {
		return nil
	}
	c.inMem -= n + entryOverhead
	if err := c.fs.room(c.dir, c.reserve); err != nil {
		return c.wrap("write", err)
	}
	if c.flushed != nil {
		select {
		case <-c.fs.failed: // left from an earlier failure
		default:
		}
		select {
		case <-c.flushed:
		case <-c.fs.failed:
			if err := c.fs.background(); err != nil {
				return c.wrap("write", err)
			}
			return c.wrap("write", errors.New("disk failed a moment ago; try again"))
		}
	}
	var err error
	if c.flushed, err = c.db.AsyncFlush(); err != nil {
		return c.wrap("write", err)
	}
	c.inMem = n + entryOverhead
	return nil
}

func (c *Scratch) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s scratch space %s: %w", op, c.dir, classify(err))
}

// close drops the space. Its files would be removed by the next Open; removing
// them here gives the room back earlier.
func (c *Scratch) close() error {
	err := c.db.Close()
	if errors.Is(classify(err), ErrDiskFull) {
		err = nil
	}
	return errors.Join(err, c.fs.RemoveAll(c.dir))
}
