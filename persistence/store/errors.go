package store

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Errors that callers branch on.
var (
	// ErrDiskFull means that nothing was written for lack of room. The store can
	// be read, and written again when there is room.
	ErrDiskFull = errors.New("no space left on the disk of the store")
	// ErrCorrupt means that a file of the store is damaged. The remedy is
	// Quarantine: an absent store is rebuilt from the log.
	ErrCorrupt = errors.New("store is damaged")
	// ErrFailed means that the disk failed while the table of contents was
	// written, so that the outcome is unknown. The store can still be read;
	// close it and open it again to write.
	ErrFailed = errors.New("store must be opened again")
	// ErrFormat means that the directory was written by another version or
	// another program.
	ErrFormat = errors.New("format of the store is not known to this version")
	// ErrReservedKey means that a batch sets or deletes a key of stage 0.
	ErrReservedKey = errors.New("key is in the reserved stage 0")
)

// classify puts err into one of the classes above, where it belongs to one.
func classify(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrDiskFull) || errors.Is(err, ErrCorrupt):
		return err
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// remedy adds to the error of a store that can't be read what the operator is
// to do.
func remedy(dir string, err error) error {
	err = classify(err)
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrFormat) {
		return fmt.Errorf("open store %s: %w; move it away (mv '%s' '%s.bad') and start gemello again: it rebuilds the store from the log", dir, err, dir, dir)
	}
	return fmt.Errorf("open store %s: %w", dir, err)
}
