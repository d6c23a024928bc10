//go:build unix

package main

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lockDataDir takes the lock file until it is closed or the process ends.
func lockDataDir(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &lockHeldError{pid: readPid(f)}
		}
		return nil, &os.PathError{Op: "lock", Path: name, Err: err}
	}
	if err := writePid(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// privateUmask keeps files that libraries make from other users.
func privateUmask() { unix.Umask(0o077) }

func isAddrInUse(err error) bool { return errors.Is(err, unix.EADDRINUSE) }

func isNoRight(err error) bool { return errors.Is(err, fs.ErrPermission) }

func isNoSuchAddress(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)
}
