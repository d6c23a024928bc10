package store

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// written returns the disk of a store that was closed after n flushes, with the
// state after each.
func written(t *testing.T, n int64) (*vfs.MemFS, []state) {
	t.Helper()
	fs := vfs.NewMem()
	s, err := Open(Options{Dir: "core", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	states := []state{{}}
	for i := int64(1); i <= n; i++ {
		b := s.NewBatch()
		m := maps.Clone(states[i-1])
		randomChanges(rng, b, m, 200)
		states = append(states, m)
		if err := s.Flush(b, Applied{Offset: i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, states
}

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkDamaged opens a damaged store and reads all of it: what comes out is the
// state of one flush or an error that says how to mend it.
func checkDamaged(t *testing.T, fs vfs.FS, what string, states []state) (refused bool) {
	t.Helper()
	s, err := Open(Options{Dir: "core", FS: fs})
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "mv 'core' 'core.bad'") {
			t.Errorf("%s: the error does not say what to do: %v", what, err)
		}
		return true
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", what, err)
		}
	}()
	got := state{}
	err = s.Scan(nil, nil, func(k, v []byte) error { got[string(k)] = string(v); return nil })
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: scan: %v, want ErrCorrupt", what, err)
		}
		return true
	}
	a, _ := s.Applied()
	if !maps.Equal(got, states[a.Offset]) {
		t.Errorf("%s: silently wrong: applied %d, contents %q, want %q", what, a.Offset, got, states[a.Offset])
	}
	return false
}

func TestDamagedFileIsNeverSilentlyWrong(t *testing.T) {
	fs, states := written(t, 9)
	names, err := fs.List("core/db")
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, name := range names {
		path := "core/db/" + name
		st, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.IsDir() {
			continue
		}
		intact := readFile(t, fs, path)
		try := func(what string, damage func(fs vfs.FS)) {
			t.Helper()
			damaged := vfs.NewMem()
			if ok, err := vfs.Clone(fs, damaged, "core", "core"); !ok || err != nil {
				t.Fatal(ok, err)
			}
			damage(damaged)
			if checkDamaged(t, damaged, name+": "+what, states) {
				refused++
			}
		}
		step := max(1, len(intact)/60)
		if !exhaustive {
			step *= 8
		}
		for i := 0; i < len(intact); i += step {
			try(fmt.Sprintf("bit flip in byte %d of %d", i, len(intact)), func(fs vfs.FS) {
				b := append([]byte(nil), intact...)
				b[i] ^= 1 << (i % 8)
				writeFile(t, fs, path, b)
			})
		}
		for _, keep := range []int{0, len(intact) / 2, len(intact) - 1} {
			try(fmt.Sprintf("cut to %d of %d bytes", max(0, keep), len(intact)), func(fs vfs.FS) {
				writeFile(t, fs, path, intact[:max(0, keep)])
			})
		}
		try("missing", func(fs vfs.FS) {
			if err := fs.Remove(path); err != nil {
				t.Fatal(err)
			}
		})
	}
	if refused < 20 {
		t.Errorf("%d kinds of damage were refused: the test hits nothing that matters", refused)
	}
}

func TestDamagedStoreIsRebuiltAfterQuarantine(t *testing.T) {
	fs, _ := written(t, 3)
	names, _ := fs.List("core/db")
	for _, n := range names {
		if strings.HasSuffix(n, ".sst") {
			writeFile(t, fs, "core/db/"+n, []byte("not a table"))
		}
	}
	moved := vfs.NewMem()
	if ok, err := vfs.Clone(fs, moved, "core", "/data/core"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	_, err := Open(Options{Dir: "/data/core", FS: moved})
	if !errors.Is(err, ErrCorrupt) {
		t.Fatalf("err = %v, want ErrCorrupt", err)
	}
	if to, err := Quarantine(moved, "/data/core"); to != "/data/core.bad-1" || err != nil {
		t.Fatal(to, err)
	}
	s, err := Open(Options{Dir: "/data/core", FS: moved})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, ok := s.Applied(); ok {
		t.Fatal("the rebuilt store is not empty")
	}
}
