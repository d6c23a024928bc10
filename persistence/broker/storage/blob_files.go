package storage

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Create makes files for values such that errors on them end the life of the
// database instead of the process: Pebble panics in the background when it can't
// finish one.
func (g *guardedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.Create(name, category)
	if err != nil || !strings.HasSuffix(name, ".blob") {
		return f, err
	}
	return &blobFile{File: f, fs: g}, nil
}

// blobFile cuts the database off from the disk at the first error and returns
// none. A file that lacks something is harmless: what would name it can't be
// written any more.
type blobFile struct {
	vfs.File
	fs *guardedFS
}

func (f *blobFile) cutOn(err error) {
	if err != nil {
		f.fs.cut()
	}
}

func (f *blobFile) Write(p []byte) (int, error) {
	_, err := f.File.Write(p)
	f.cutOn(err)
	return len(p), nil
}

func (f *blobFile) WriteAt(p []byte, off int64) (int, error) {
	_, err := f.File.WriteAt(p, off)
	f.cutOn(err)
	return len(p), nil
}

func (f *blobFile) Sync() error {
	f.cutOn(f.File.Sync())
	return nil
}

func (f *blobFile) SyncData() error {
	f.cutOn(f.File.SyncData())
	return nil
}

func (f *blobFile) SyncTo(length int64) (fullSync bool, err error) {
	full, err := f.File.SyncTo(length)
	f.cutOn(err)
	return full, nil
}

func (f *blobFile) Close() error {
	f.cutOn(f.File.Close())
	return nil
}
