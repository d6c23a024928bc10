package store

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// keepQuarantined is how many damaged directories are kept for study.
const keepQuarantined = 2

const quarantineMark = ".bad-"

// Quarantine closes the store and moves its directory aside, so that the next
// Open finds none and the owner rebuilds it from the log.
func (s *Store) Quarantine() error {
	err := s.Close()
	if _, qerr := Quarantine(s.opts.FS, s.opts.Dir); qerr != nil {
		return qerr
	}
	if err != nil {
		s.opts.Logger.Warn("closing a store on the way to quarantine", "dir", s.opts.Dir, "err", err)
	}
	return nil
}

// Quarantine moves the directory of a store that can't be opened to
// dir.bad-N and returns that name. Of the directories moved aside the newest
// two are kept. A nil fs is the disk.
func Quarantine(fs vfs.FS, dir string) (string, error) {
	if fs == nil {
		fs = vfs.Default
	}
	parent, base := fs.PathDir(dir), fs.PathBase(dir)
	names, err := fs.List(parent)
	if err != nil {
		return "", fmt.Errorf("quarantine store %s: %w", dir, err)
	}
	var taken []int
	last := 0
	for _, n := range names {
		if num, ok := strings.CutPrefix(n, base+quarantineMark); ok {
			if i, err := strconv.Atoi(num); err == nil {
				taken = append(taken, i)
				last = max(last, i)
			}
		}
	}
	to := dir + quarantineMark + strconv.Itoa(last+1)
	if err := fs.Rename(dir, to); err != nil {
		return "", fmt.Errorf("quarantine store %s: %w", dir, err)
	}
	for _, i := range taken {
		if i <= last+1-keepQuarantined {
			if err := fs.RemoveAll(dir + quarantineMark + strconv.Itoa(i)); err != nil {
				return to, fmt.Errorf("remove old quarantined store: %w", err)
			}
		}
	}
	return to, nil
}
