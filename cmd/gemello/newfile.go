package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeNewFile makes a file that is either whole or not there, never in the place
// of another: secrets are in it, and the file that is there may be the only copy.
func writeNewFile(what, name string, fill func(io.Writer) error) error {
	if _, err := os.Lstat(name); err == nil {
		return usagef("%s: %q exists; name a new file", what, name)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return usagef("%s: %v; name a file in a directory that can be written", what, err)
	}
	defer os.Remove(tmp.Name())
	w := bufio.NewWriterSize(tmp, 256<<10)
	err = fill(w)
	for _, step := range []func() error{w.Flush, tmp.Sync, tmp.Close} {
		if e := step(); err == nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	// A link, unlike a renaming, fails when somebody made the file meanwhile.
	if err := os.Link(tmp.Name(), name); errors.Is(err, fs.ErrExist) {
		return usagef("%s: %q exists; name a new file", what, name)
	} else if err != nil {
		if err := os.Rename(tmp.Name(), name); err != nil { // a file system without links
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}
