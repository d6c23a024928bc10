package store

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// errCut is what a store that was cut off from its disk gets on writing.
var errCut = errors.New("store was cut off from its disk")

// fullDiskPause slows down whoever meets a full disk: Pebble tries a failed
// compaction or flush again at once, for as long as it fails.
const fullDiskPause = 50 * time.Millisecond

// guardedFS is the file system as Pebble sees it. It can be cut off, after
// which nothing is changed on the disk any more, and it holds back writers on
// a full disk.
type guardedFS struct {
	vfs.FS
	isCut   atomic.Bool
	failing atomic.Pointer[error] // why the last background work failed; nil: it did not
	failed  chan struct{}         // holds a token after a failure
}

func newGuardedFS(inner vfs.FS) *guardedFS {
	g := &guardedFS{failed: make(chan struct{}, 1)}
	paused := vfs.OnDiskFull(inner, func() { time.Sleep(fullDiskPause) })
	g.FS = errorfs.Wrap(paused, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if g.isCut.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return errCut
		}
		return nil
	}))
	return g
}

// Unwrap lets Pebble find the file system below.
func (g *guardedFS) Unwrap() vfs.FS { return g.FS }

func (g *guardedFS) cut() { g.isCut.Store(true) }

// backgroundError and backgroundDone follow Pebble's flushes and compactions,
// which are repeated until they succeed.
func (g *guardedFS) backgroundError(err error) {
	err = classify(err)
	g.failing.Store(&err)
	select {
	case g.failed <- struct{}{}:
	default:
	}
}

func (g *guardedFS) backgroundDone(err error) {
	if err == nil {
		g.failing.Store(nil)
	}
}

// background returns why Pebble's background work is failing at present.
func (g *guardedFS) background() error {
	if err := g.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// room returns ErrDiskFull when fewer than need bytes are free at dir. A file
// system that can't tell has room.
func (g *guardedFS) room(dir string, need int64) error {
	u, err := g.GetDiskUsage(dir)
	if err == nil && u.AvailBytes < uint64(max(need, 0)) {
		return ErrDiskFull
	}
	return nil
}
