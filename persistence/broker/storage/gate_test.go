package storage

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A log that was stopped behind with its compactions begins them at its start.
func TestCompactionsThatWereDueBeforeTheOpeningRun(t *testing.T) {
	o, err := newClock().options(vfs.NewMem()).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	behind := e.pebbleOptions(newGuardedFS(o.FS, e.failed), false)
	behind.DisableAutomaticCompactions = true
	db, err := pebble.Open(e.dir(), behind)
	behind.Cache.Unref()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * behind.L0CompactionThreshold {
		for _, key := range []string{"a", "z"} {
			if err := db.Set([]byte(key), []byte("value"), pebble.NoSync); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if n := db.Metrics().Levels[0].Sublevels; int(n) < behind.L0CompactionThreshold {
		t.Fatalf("%d sublevels: nothing is due", n)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.open(false); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return e.db.Metrics().Levels[0].Sublevels <= 1 })
}
