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
	isCut atomic.Bool
	full  atomic.Bool // the last background work failed for lack of room
}

func newGuardedFS(inner vfs.FS) *guardedFS {
	g := &guardedFS{}
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

func (g *guardedFS) backgroundError(err error) {
	if errors.Is(classify(err), ErrDiskFull) {
		g.full.Store(true)
	}
}

func (g *guardedFS) backgroundDone(err error) {
	if err == nil {
		g.full.Store(false)
	}
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
