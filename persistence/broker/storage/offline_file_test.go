package storage

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// damageFiles changes the byte in the middle of the largest file with the suffix.
func damageFiles(t *testing.T, o Options, suffix string) (n int) {
	t.Helper()
	dir := o.FS.PathJoin(o.Dir, contentsDir)
	names, err := o.FS.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	size := func(name string) int64 {
		info, err := o.FS.Stat(o.FS.PathJoin(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, suffix) })
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(size(b), size(a)) })
	names = names[:min(len(names), 1)]
	for _, name := range names {
		path := o.FS.PathJoin(dir, name)
		f, err := o.FS.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		b[len(b)/2] ^= 0xff
		w, err := o.FS.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestDamagedFilesAreFindings damages the database's own files where they hold
// records. What can be read is read, and nothing panics. A table whose index is
// damaged, or that holds the stamp, keeps the log from being opened at all.
func TestDamagedFilesAreFindings(t *testing.T) {
	for _, suffix := range []string{".sst", ".blob"} {
		t.Run(suffix, func(t *testing.T) {
			o := newClock().options(vfs.NewMem())
			l := open(t, o)
			mustCreate(t, l, "a", 1)
			mustCreate(t, l, "b", 1)
			fill(t, l, at("a", 0), 9)
			for range 300 {
				put(t, l, at("b", 0), keyed{}, "", kv{key: "k", value: strings.Repeat("v", 200)})
			}
			if err := l.engine.view(func(db *pebble.DB) error { return db.Flush() }); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if damageFiles(t, o, suffix) == 0 {
				t.Fatal("there is no such file: nothing is tested")
			}
			off := Offline{Dir: o.Dir, FS: o.FS}
			r, err := off.Verify(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if r.Sound() {
				t.Error("the damage was not found")
			}
			for _, f := range r.Findings {
				t.Log(f)
			}
			t.Logf("%d batches were read", r.Batches)
			r2, err := off.Repair(ctx, Repairs{DropDamaged: true})
			if err != nil {
				t.Fatal(err)
			}
			if suffix == ".sst" && len(r2.Left) == 0 {
				t.Error("a damaged table passes for repaired")
			}
			if suffix == ".blob" {
				if r, err = off.Verify(ctx); err != nil || !r.Sound() {
					t.Errorf("after the repair: %v, %v", r.Findings, err)
				}
			}
			if err := off.Dump(ctx, io.Discard, DumpFilter{Partition: -1, State: true, Records: true}); err != nil {
				t.Error(err)
			}
		})
	}
}
