package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// state is a store's contents as a test compares them.
type state map[string]string

func contents(t testing.TB, s interface {
	Scan(lo, hi []byte, visit func(key, value []byte) error) error
}) state {
	t.Helper()
	got := state{}
	last := ""
	err := s.Scan(nil, nil, func(k, v []byte) error {
		if string(k) <= last {
			t.Fatalf("scan out of order: %q after %q", k, last)
		}
		last = string(k)
		got[last] = string(v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func open(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(Options{Dir: "core", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.db != nil && !closed(s) {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// closed reports whether the test itself has closed s: Pebble panics on use.
func closed(s *Store) (yes bool) {
	defer func() { yes = recover() != nil }()
	_, _ = s.Get([]byte{0xFF})
	return false
}

func TestFlushMakesBatchAndAppliedVisibleTogether(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	if _, ok := s.Applied(); ok {
		t.Fatal("a new store has an applied point")
	}
	b := s.NewBatch()
	b.Set([]byte("a"), []byte("1"))
	b.Set([]byte("b"), nil)
	if v, err := s.Get([]byte("a")); v != nil || err != nil {
		t.Fatalf("a batch is visible before its flush: %q, %v", v, err)
	}
	want := Applied{Offset: 42, JournalSeq: 7, JournalOffset: -1, SettingsVersion: 3, Term: "n1/5", Extra: []byte{1, 2}}
	if err := s.Flush(b, want); err != nil {
		t.Fatal(err)
	}
	check := func(s *Store) {
		t.Helper()
		got, ok := s.Applied()
		if !ok || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("applied = %v, %v, want %v", got, ok, want)
		}
		if got := contents(t, s); !maps.Equal(got, state{"a": "1", "b": ""}) {
			t.Fatalf("contents = %q", got)
		}
		if v, err := s.Get([]byte("b")); v == nil || err != nil {
			t.Fatalf("an empty value reads as absent: %v, %v", v, err)
		}
	}
	check(s)
	if names, _ := fs.List("core/incoming"); len(names) > 0 {
		t.Fatalf("the flush left %v", names)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, fs))
}

func TestFlushOfNilBatchMovesApplied(t *testing.T) {
	s := open(t, vfs.NewMem())
	if err := s.Flush(nil, Applied{Offset: 1}); err != nil {
		t.Fatal(err)
	}
	if a, ok := s.Applied(); !ok || a.Offset != 1 {
		t.Fatalf("applied = %v, %v", a, ok)
	}
}

func TestScanIsBoundedAndStopsOnError(t *testing.T) {
	s := open(t, vfs.NewMem())
	b := s.NewBatch()
	for _, k := range []string{"a", "b", "c", "d"} {
		b.Set([]byte(k), []byte(k))
	}
	if err := s.Flush(b, Applied{}); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	for _, c := range []struct {
		name, lo, hi string
		stopAt       string
		want         string
	}{
		{name: "half open", lo: "b", hi: "d", want: "bc"},
		{name: "empty range", lo: "c", hi: "c", want: ""},
		{name: "inverted range", lo: "d", hi: "a", want: ""},
		{name: "visit's error ends it", lo: "a", hi: "z", stopAt: "b", want: "ab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got strings.Builder
			err := s.Scan([]byte(c.lo), []byte(c.hi), func(k, v []byte) error {
				got.Write(k)
				if string(k) == c.stopAt {
					return stop
				}
				return nil
			})
			if got.String() != c.want || (c.stopAt != "") != errors.Is(err, stop) {
				t.Fatalf("visited %q, %v; want %q", got.String(), err, c.want)
			}
		})
	}
}

func TestReservedStageIsHiddenAndRefused(t *testing.T) {
	s := open(t, vfs.NewMem())
	if err := s.Flush(nil, Applied{Offset: 5}); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, s); len(got) != 0 {
		t.Fatalf("scan shows the store's own keys: %q", got)
	}
	if v, err := s.Get(appliedKey); v != nil || err != nil {
		t.Fatalf("get shows the store's own keys: %q, %v", v, err)
	}
	for name, change := range map[string]func(*Batch){
		"set":          func(b *Batch) { b.Set(appliedKey, []byte("x")) },
		"delete":       func(b *Batch) { b.Delete(stampKey) },
		"range delete": func(b *Batch) { b.DeleteRange(nil, []byte("z")) },
	} {
		t.Run(name, func(t *testing.T) {
			b := s.NewBatch()
			change(b)
			if err := s.Flush(b, Applied{Offset: 6}); !errors.Is(err, ErrReservedKey) {
				t.Fatalf("err = %v", err)
			}
			if a, _ := s.Applied(); a.Offset != 5 {
				t.Fatalf("a refused flush moved applied to %d", a.Offset)
			}
		})
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	for name, head := range map[string][]point{
		"no stamp":      {{key: []byte("x"), value: []byte("y")}},
		"another stamp": {{key: stampKey, value: []byte("gemello store 99")}},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := open(t, fs)
			path := s.path(incomingDir, "x.sst")
			if err := s.writeTable(path, head, nil, nil); err != nil {
				t.Fatal(err)
			}
			if err := s.db.Ingest(t.Context(), []string{path}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(Options{Dir: "core", FS: fs}); !errors.Is(err, ErrFormat) {
				t.Fatalf("err = %v, want ErrFormat", err)
			}
		})
	}
}

func TestTwoStoresCannotShareADirectory(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := Open(Options{Dir: dir}); err == nil || errors.Is(err, ErrCorrupt) {
		t.Fatalf("second open of one directory: %v; want an error that is not ErrCorrupt", err)
	}
}

func TestStoresShareOneCache(t *testing.T) {
	c := NewCache(1 << 20)
	defer c.Close()
	for i := range 3 {
		s, err := Open(Options{Dir: fmt.Sprintf("core%d", i), FS: vfs.NewMem(), Cache: c})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		b := s.NewBatch()
		b.Set([]byte("k"), []byte("v"))
		if err := s.Flush(b, Applied{}); err != nil {
			t.Fatal(err)
		}
		if v, err := s.Get([]byte("k")); string(v) != "v" || err != nil {
			t.Fatal(v, err)
		}
	}
	if c.Bytes() == 0 {
		t.Error("the shared cache was not used")
	}
}

func TestQuarantineKeepsTheNewestTwo(t *testing.T) {
	fs := vfs.NewMem()
	for i := range 4 {
		s, err := Open(Options{Dir: "data/core", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Applied(); ok {
			t.Fatal("the store that replaces a quarantined one is not empty")
		}
		if err := s.Flush(nil, Applied{Offset: int64(i)}); err != nil {
			t.Fatal(err)
		}
		if err := s.Quarantine(); err != nil {
			t.Fatal(err)
		}
	}
	names, err := fs.List("data")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if want := []string{"core.bad-3", "core.bad-4"}; !slices.Equal(names, want) {
		t.Fatalf("directories = %v, want %v", names, want)
	}
}
