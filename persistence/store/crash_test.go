package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// crashingFS takes an image of what a disk holds after a power cut just before
// its k-th write.
type crashingFS struct {
	vfs.FS
	mu        sync.Mutex // guards the following; held while the image is taken
	left      int
	completed int64 // flushes that have returned
	image     *vfs.MemFS
	atCrash   int64 // completed, when the image was taken
}

func newCrashingFS(k, survivePercent int) *crashingFS {
	mem := vfs.NewCrashableMem()
	c := &crashingFS{left: k}
	rng := rand.New(rand.NewPCG(uint64(k), uint64(survivePercent)))
	links := &oneLinkFS{FS: mem}
	c.FS = errorfs.Wrap(links, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.left--; c.left == 0 {
			links.mu.Lock()
			defer links.mu.Unlock()
			c.image = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: survivePercent, RNG: rng})
			c.atCrash = c.completed
		}
		return nil
	}))
	return c
}

// oneLinkFS keeps MemFS.Link and CrashClone apart: Link takes the read side of
// one lock twice, which deadlocks when CrashClone waits for the write side.
type oneLinkFS struct {
	vfs.FS
	mu sync.Mutex
}

func (fs *oneLinkFS) Link(oldname, newname string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.FS.Link(oldname, newname)
}

// TestCrashAtEveryWriteLeavesTheStateOfOneFlush cuts the power before each
// write of a run, with none and with some of the unsynced data surviving.
func TestCrashAtEveryWriteLeavesTheStateOfOneFlush(t *testing.T) {
	for _, survive := range []int{0, 50} {
		t.Run(fmt.Sprintf("%d%% survive", survive), func(t *testing.T) {
			step := 1
			if testing.Short() || !exhaustive {
				step = 9
			}
			crashes := 0
			for k := 1; ; k += step {
				fs := newCrashingFS(k, survive)
				states := runFlushes(t, fs, 12)
				if fs.image == nil {
					t.Logf("%d crashes", crashes)
					if crashes < 60/step {
						t.Fatalf("the run has %d writes only: nothing was tested", crashes)
					}
					return
				}
				crashes++
				checkAfterCrash(t, k, fs, states)
			}
		})
	}
}

// runFlushes returns the state after each flush; the index is Applied.Offset.
func runFlushes(t *testing.T, fs *crashingFS, n int64) []state {
	t.Helper()
	states := []state{{}}
	s, err := Open(Options{Dir: "core", FS: fs, MemTableSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for i := int64(1); i <= n; i++ {
		b := s.NewBatch()
		m := maps.Clone(states[i-1])
		randomChanges(rng, b, m, 30)
		states = append(states, m)
		if err := s.Flush(b, Applied{Offset: i, Extra: []byte{byte(i)}}); err != nil {
			t.Fatal(err)
		}
		fs.mu.Lock()
		fs.completed = i
		fs.mu.Unlock()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return states
}

func checkAfterCrash(t *testing.T, k int, fs *crashingFS, states []state) {
	t.Helper()
	s, err := Open(Options{Dir: "core", FS: fs.image})
	if err != nil {
		t.Fatalf("crash before write %d: %v", k, err)
	}
	a, _ := s.Applied()
	if a.Offset != fs.atCrash && a.Offset != fs.atCrash+1 {
		t.Fatalf("crash before write %d: flush %d had returned, found flush %d", k, fs.atCrash, a.Offset)
	}
	if got := contents(t, s); !maps.Equal(got, states[a.Offset]) {
		t.Fatalf("crash before write %d: contents = %q, flush %d had %q", k, got, a.Offset, states[a.Offset])
	}
	// The survivor works on.
	b := s.NewBatch()
	b.Set([]byte("zz"), []byte("after"))
	if err := s.Flush(b, Applied{Offset: 99}); err != nil {
		t.Fatalf("crash before write %d: flush of the survivor: %v", k, err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("crash before write %d: close of the survivor: %v", k, err)
	}
}

// TestCheckerSeesALostSync guards the test above: on a disk that ignores syncs
// a returned flush must be found missing.
func TestCheckerSeesALostSync(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := open(t, noSyncFS{mem})
	if err := s.Flush(nil, Applied{Offset: 1}); err != nil {
		t.Fatal(err)
	}
	image := mem.CrashClone(vfs.CrashCloneCfg{})
	lost, err := Open(Options{Dir: "core", FS: image})
	if err != nil {
		return // refused: seen as well
	}
	defer lost.Close()
	if _, ok := lost.Applied(); ok {
		t.Fatal("a flush survived a disk that syncs nothing: the simulated crash loses nothing")
	}
}

type noSyncFS struct{ vfs.FS }

type noSyncFile struct{ vfs.File }

func (f noSyncFile) Sync() error                { return nil }
func (f noSyncFile) SyncData() error            { return nil }
func (f noSyncFile) SyncTo(int64) (bool, error) { return false, nil }

func (fs noSyncFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return noSyncFile{f}, err
}

func (fs noSyncFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	return noSyncFile{f}, err
}
