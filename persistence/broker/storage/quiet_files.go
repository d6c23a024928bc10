package storage

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble ends the process when it can't finish a file of values or change to the
// next write-ahead log, and when it can't finish opening a database after it has
// flushed what it replayed. So errors on files other than tables and tables of
// contents end the life of the database instead: it is cut off from the disk,
// which freezes the disk as a crash would, and goes on without knowing. Nobody is
// told of success after that, and the database is opened anew.

// Create makes a file. Only those return errors that Pebble can do without.
func (g *guardedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.Create(name, category)
	switch base := g.FS.PathBase(name); {
	case strings.HasSuffix(base, ".sst"), strings.HasPrefix(base, "MANIFEST-"):
		return f, err
	case strings.HasSuffix(base, ".blob") && err != nil:
		return nil, err
	}
	return g.quiet(f, err), nil
}

// Rename is for the file that lists the options.
func (g *guardedFS) Rename(from, to string) error {
	if err := g.FS.Rename(from, to); err != nil {
		g.cut()
	}
	return nil
}

// quiet returns a file that never fails; one that could not be opened takes
// everything and keeps nothing.
func (g *guardedFS) quiet(f vfs.File, err error) vfs.File {
	if err != nil {
		g.cut()
		return &quietFile{File: vfs.NewMemFile(nil), fs: g, absent: true}
	}
	return &quietFile{File: f, fs: g}
}

// quietFile cuts the database off from the disk at the first error and returns
// none.
type quietFile struct {
	vfs.File
	fs     *guardedFS
	absent bool // File is empty and for reading only
}

// run does something with the file, if there is one.
func (f *quietFile) run(do func() error) {
	if !f.absent && do() != nil {
		f.fs.cut()
	}
}

func (f *quietFile) Write(p []byte) (int, error) {
	f.run(func() error { _, err := f.File.Write(p); return err })
	return len(p), nil
}

func (f *quietFile) WriteAt(p []byte, off int64) (int, error) {
	f.run(func() error { _, err := f.File.WriteAt(p, off); return err })
	return len(p), nil
}

func (f *quietFile) Preallocate(offset, length int64) error {
	f.run(func() error { return f.File.Preallocate(offset, length) })
	return nil
}

func (f *quietFile) Sync() error {
	f.run(f.File.Sync)
	return nil
}

func (f *quietFile) SyncData() error {
	f.run(f.File.SyncData)
	return nil
}

func (f *quietFile) SyncTo(length int64) (fullSync bool, err error) {
	f.run(func() (err error) { fullSync, err = f.File.SyncTo(length); return err })
	return fullSync, nil
}

func (f *quietFile) Close() error {
	f.run(f.File.Close)
	return nil
}
