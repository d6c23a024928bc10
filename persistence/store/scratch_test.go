package store

import (
	"maps"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// waitFor polls until ok or fails after ten seconds. It is for what Pebble does
// in goroutines of its own, which tell nobody.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestScratchIsEmptyAfterOpen(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	c, err := s.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"a", "b", "c"} {
		if err := c.Set([]byte(k), []byte(k)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.DeleteRange([]byte("b"), []byte("c")); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteRange([]byte("c"), []byte("a")); err != nil {
		t.Fatalf("inverted range: %v", err)
	}
	if got := contents(t, c); !maps.Equal(got, state{"a": "a", "c": "c"}) {
		t.Fatalf("scratch = %q", got)
	}
	if same, err := s.Scratch(); same != c || err != nil {
		t.Fatalf("second call made another scratch space: %v", err)
	}
	if got := contents(t, s); len(got) > 0 {
		t.Fatalf("scratch leaks into the store: %q", got)
	}
	// A process that is killed closes nothing: what it left is a copy of the
	// files as they are now.
	killed := vfs.NewMem()
	if ok, err := vfs.Clone(fs, killed, "core", "core"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	again := open(t, killed)
	c2, err := again.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	if got := contents(t, c2); len(got) > 0 {
		t.Fatalf("scratch survived: %q", got)
	}
}

func TestCloseRemovesScratch(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	c, err := s.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Set([]byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if c.Bytes() == 0 {
		t.Error("scratch space with a value has no size")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat("core/scratch"); err == nil {
		t.Fatal("scratch directory is still there")
	}
}
