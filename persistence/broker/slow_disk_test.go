package broker

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestSlowDiskTakesItsTimeForSyncsAlone(t *testing.T) {
	const syncs = 20 * time.Millisecond
	fs, name := SlowDisk(syncs), filepath.Join(t.TempDir(), "f")
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, sync := range []func() error{f.Sync, f.SyncData} {
		start := time.Now()
		if err := sync(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < syncs {
			t.Errorf("took %s, want at least %s", took, syncs)
		}
	}
	if vfs.Root(fs) != vfs.Default {
		t.Error("the disk below is not found, and so neither its free room")
	}
}
