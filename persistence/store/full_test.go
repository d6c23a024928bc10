package store

import (
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// fullFS refuses, while on, every write to files whose path contains part.
func fullFS(inner vfs.FS, on *atomic.Bool, part string) vfs.FS {
	return errorfs.Wrap(inner, errorfs.InjectorFunc(func(op errorfs.Op) error {
		write := op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileWriteAt ||
			op.Kind == errorfs.OpMkdirAll || op.Kind == errorfs.OpLink || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if on.Load() && write && strings.Contains(op.Path, part) {
			return syscall.ENOSPC
		}
		return nil
	}))
}

func flushOne(s *Store, key string, offset int64) error {
	b := s.NewBatch()
	b.Set([]byte(key), []byte(key))
	return s.Flush(b, Applied{Offset: offset})
}

func TestFullDiskRefusesFlushAndKeepsReading(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(fs *vfs.MemFS, on *atomic.Bool, full bool)
	}{
		{"write fails", func(_ *vfs.MemFS, on *atomic.Bool, full bool) { on.Store(full) }},
		{"reserve is reached", func(fs *vfs.MemFS, _ *atomic.Bool, full bool) {
			u := vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 1 << 31}
			if full {
				u.AvailBytes = defaultReserve - 1
			}
			fs.TestingSetDiskUsage(u)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem, on := vfs.NewMem(), new(atomic.Bool)
			s := open(t, fullFS(mem, on, ""))
			if err := flushOne(s, "a", 1); err != nil {
				t.Fatal(err)
			}
			c.set(mem, on, true)
			for range 3 {
				if err := flushOne(s, "b", 2); !errors.Is(err, ErrDiskFull) {
					t.Fatalf("flush on a full disk: %v, want ErrDiskFull", err)
				}
			}
			if a, _ := s.Applied(); a.Offset != 1 {
				t.Fatalf("a refused flush moved applied to %d", a.Offset)
			}
			if got := contents(t, s); !maps.Equal(got, state{"a": "a"}) {
				t.Fatalf("contents on a full disk = %q", got)
			}
			c.set(mem, on, false)
			if err := flushOne(s, "b", 2); err != nil {
				t.Fatalf("flush after there is room again: %v", err)
			}
			if got := contents(t, s); !maps.Equal(got, state{"a": "a", "b": "b"}) {
				t.Fatalf("contents = %q", got)
			}
			if names, _ := mem.List("core/incoming"); len(names) > 0 {
				t.Fatalf("refused flushes left %v", names)
			}
		})
	}
}

func TestFailedTableOfContentsStopsWritingUntilReopened(t *testing.T) {
	mem, on := vfs.NewMem(), new(atomic.Bool)
	fs := fullFS(mem, on, "MANIFEST")
	s := open(t, fs)
	if err := flushOne(s, "a", 1); err != nil {
		t.Fatal(err)
	}
	on.Store(true)
	if err := flushOne(s, "b", 2); !errors.Is(err, ErrFailed) {
		t.Fatalf("flush: %v, want ErrFailed", err)
	}
	on.Store(false)
	if err := flushOne(s, "b", 2); !errors.Is(err, ErrFailed) {
		t.Fatalf("flush of a stopped store: %v, want ErrFailed", err)
	}
	if v, err := s.Get([]byte("a")); string(v) != "a" || err != nil {
		t.Fatalf("read of a stopped store: %q, %v", v, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, fs)
	a, _ := again.Applied()
	want := map[int64]state{1: {"a": "a"}, 2: {"a": "a", "b": "b"}}[a.Offset]
	if got := contents(t, again); want == nil || !maps.Equal(got, want) {
		t.Fatalf("reopened at %d with %q", a.Offset, got)
	}
	if err := flushOne(again, "c", 3); err != nil {
		t.Fatal(err)
	}
}

// TestErrorAtEveryWriteIsAllOrNothing lets each write of one flush fail in
// turn.
func TestErrorAtEveryWriteIsAllOrNothing(t *testing.T) {
	injected := errors.New("injected")
	for k := int32(1); ; k++ {
		mem := vfs.NewMem()
		left := new(atomic.Int32)
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpRemove && left.Add(-1) == 0 {
				return injected
			}
			return nil
		}))
		s, err := Open(Options{Dir: "core", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		if err := flushOne(s, "a", 1); err != nil {
			t.Fatal(err)
		}
		left.Store(k)
		err = flushOne(s, "b", 2)
		hit := left.Load() <= 0
		left.Store(0)
		if a, _ := s.Applied(); (err == nil) != (a.Offset == 2) {
			t.Fatalf("write %d: flush = %v, applied %d", k, err, a.Offset)
		}
		if cerr := s.Close(); cerr != nil {
			t.Fatalf("write %d: close: %v", k, cerr)
		}
		again, oerr := Open(Options{Dir: "core", FS: mem})
		if oerr != nil {
			t.Fatalf("write %d: reopen: %v", k, oerr)
		}
		a, _ := again.Applied()
		_, hasB := contents(t, again)["b"]
		if hasB != (a.Offset == 2) || (err == nil && !hasB) || (err != nil && hasB && !errors.Is(err, ErrFailed)) {
			t.Fatalf("write %d: flush = %v, then applied %d, b there: %v", k, err, a.Offset, hasB)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if !hit {
			if k < 5 {
				t.Fatalf("a flush has %d writes only: nothing was tested", k-1)
			}
			return
		}
	}
}

func TestFullDiskRefusesScratchUntilThereIsRoom(t *testing.T) {
	mem, on := vfs.NewMem(), new(atomic.Bool)
	s, err := Open(Options{Dir: "core", FS: fullFS(mem, on, "scratch"), MemTableSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	on.Store(true)
	value := make([]byte, 4<<10)
	var refused error
	for i := 0; refused == nil && i < 10_000; i++ {
		refused = c.Set([]byte{byte(i >> 8), byte(i)}, value)
	}
	if !errors.Is(refused, ErrDiskFull) {
		t.Fatalf("scratch on a full disk: %v, want ErrDiskFull", refused)
	}
	if v, err := c.Get([]byte{0, 1}); len(v) != len(value) || err != nil {
		t.Fatalf("read of full scratch space: %d bytes, %v", len(v), err)
	}
	if err := flushOne(s, "a", 1); err != nil {
		t.Fatalf("full scratch space stops flushing: %v", err)
	}
	on.Store(false)
	waitFor(t, "scratch space to take writes again", func() bool { return c.Set([]byte("x"), value) == nil })
}
