package storage

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestAFileOfValuesThatCannotBeWrittenCutsTheDatabaseOff(t *testing.T) {
	for _, c := range []struct {
		name string
		kind errorfs.OpKind
		do   func(vfs.File) error
	}{
		{"write", errorfs.OpFileWrite, func(f vfs.File) error { _, err := f.Write([]byte("x")); return err }},
		{"sync", errorfs.OpFileSync, func(f vfs.File) error { return f.Sync() }},
		{"sync of data", errorfs.OpFileSyncData, func(f vfs.File) error { return f.SyncData() }},
	} {
		for _, name := range []string{"000001.blob", "000001.sst"} {
			t.Run(c.name+" "+name, func(t *testing.T) {
				blob := strings.HasSuffix(name, ".blob")
				disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
					if op.Kind == c.kind {
						return errorfs.ErrInjected
					}
					return nil
				}))
				g := newGuardedFS(disk, make(chan struct{}, 1))
				f, err := g.Create(name, vfs.WriteCategoryUnspecified)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.do(f); (err == nil) != blob {
					t.Errorf("returned %v", err)
				}
				if g.isCut.Load() != blob {
					t.Errorf("cut off: %v", g.isCut.Load())
				}
				if _, err := g.Create("MANIFEST-000002", vfs.WriteCategoryUnspecified); (err == nil) == blob {
					t.Errorf("the next file: %v", err)
				}
			})
		}
	}
}
