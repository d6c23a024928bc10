package storage

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestFilesThatMustNotFailCutTheDatabaseOff(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  errorfs.OpKind
		quiet map[string]bool
		do    func(vfs.File) error
	}{
		{"create", errorfs.OpCreate, map[string]bool{"1.log": true, "OPTIONS-1.dbtmp": true}, func(vfs.File) error { return nil }},
		{"write", errorfs.OpFileWrite, map[string]bool{"1.log": true, "1.blob": true, "OPTIONS-1.dbtmp": true}, func(f vfs.File) error { _, err := f.Write([]byte("x")); return err }},
		{"sync", errorfs.OpFileSync, map[string]bool{"1.log": true, "1.blob": true, "OPTIONS-1.dbtmp": true}, func(f vfs.File) error { return f.Sync() }},
		{"sync of data", errorfs.OpFileSyncData, map[string]bool{"1.log": true, "1.blob": true, "OPTIONS-1.dbtmp": true}, func(f vfs.File) error { return f.SyncData() }},
	} {
		for _, name := range []string{"1.log", "1.blob", "1.sst", "MANIFEST-000001", "OPTIONS-1.dbtmp"} {
			t.Run(c.name+" "+name, func(t *testing.T) {
				armed := true
				disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
					if armed && op.Kind == c.kind {
						return errorfs.ErrInjected
					}
					return nil
				}))
				g := newGuardedFS(disk, make(chan struct{}, 1))
				f, err := g.Create(name, vfs.WriteCategoryUnspecified)
				if err == nil {
					err = c.do(f)
				}
				armed = false
				if quiet := c.quiet[name]; (err == nil) != quiet || g.isCut.Load() != quiet {
					t.Fatalf("returned %v, cut off: %v", err, g.isCut.Load())
				}
				if !c.quiet[name] {
					return
				}
				if _, err := f.Write([]byte("y")); err != nil {
					t.Errorf("write after it: %v", err)
				}
				if err := errors.Join(f.Sync(), f.Close()); err != nil {
					t.Errorf("sync and close after it: %v", err)
				}
				if _, err := g.Create("MANIFEST-000002", vfs.WriteCategoryUnspecified); err == nil {
					t.Error("a table of contents can be written")
				}
				if err := g.Rename(name, "else"); err != nil {
					t.Errorf("rename: %v", err)
				}
				if next, err := g.Create("2.log", vfs.WriteCategoryUnspecified); err != nil || next.Sync() != nil {
					t.Errorf("the next write-ahead log: %v", err)
				}
				if _, err := disk.Stat("2.log"); err == nil {
					t.Error("the next write-ahead log is on the disk")
				}
			})
		}
	}
}
