package storage

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// space watches the free room on the disk. It is the sequencer's.
type space struct {
	fs      vfs.FS
	dir     string
	reserve int64
	checked time.Time
	ok      bool
	flushes func() bool // Pebble can write its memtables
}

// spaceInterval is how old an answer of the disk may be.
const spaceInterval = 50 * time.Millisecond

// enough reports whether records may be taken.
func (s *space) enough() bool {
	if !s.flushes() {
		return false
	}
	if s.reserve <= 0 {
		return true
	}
	now := time.Now()
	if now.Sub(s.checked) < spaceInterval {
		return s.ok
	}
	s.checked = now
	u, err := s.fs.GetDiskUsage(s.dir)
	// A file system that can't tell has room.
	s.ok = err != nil || u.AvailBytes >= uint64(s.reserve)
	return s.ok
}
