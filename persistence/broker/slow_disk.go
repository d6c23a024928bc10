package broker

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// SlowDisk is the disk with syncs that take at least a while, so that a log can
// be measured as if it stood on another one. What is written is as safe as ever.
func SlowDisk(syncs time.Duration) vfs.FS { return slowFS{vfs.Default, syncs} }

type slowFS struct {
	vfs.FS
	syncs time.Duration
}

func (fs slowFS) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return slowFile{f, fs.syncs}, nil
}

func (fs slowFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file(fs.FS.Create(name, c))
}

func (fs slowFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return fs.file(fs.FS.Open(name, opts...))
}

func (fs slowFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return fs.file(fs.FS.OpenReadWrite(name, c, opts...))
}

func (fs slowFS) OpenDir(name string) (vfs.File, error) { return fs.file(fs.FS.OpenDir(name)) }

func (fs slowFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file(fs.FS.ReuseForWrite(from, to, c))
}

func (fs slowFS) Unwrap() vfs.FS { return fs.FS }

type slowFile struct {
	vfs.File
	syncs time.Duration
}

func (f slowFile) rest(since time.Time) { time.Sleep(f.syncs - time.Since(since)) }

func (f slowFile) Sync() error {
	defer f.rest(time.Now())
	return f.File.Sync()
}

func (f slowFile) SyncData() error {
	defer f.rest(time.Now())
	return f.File.SyncData()
}

// SyncTo starts writing and does not wait, except where the system knows only
// whole syncs.
func (f slowFile) SyncTo(length int64) (full bool, err error) {
	start := time.Now()
	if full, err = f.File.SyncTo(length); full {
		f.rest(start)
	}
	return full, err
}
