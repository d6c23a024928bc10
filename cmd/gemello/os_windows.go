//go:build windows

package main

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockedByte lies beyond the pid: a locked byte can't be read by others.
const lockedByte = 1 << 20

// lockDataDir takes the lock file until it is closed or the process ends.
func lockDataDir(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	at := &windows.Overlapped{Offset: lockedByte}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if err != nil {
		defer f.Close()
		if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
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

// privateUmask does nothing: files inherit the rights of their directory.
func privateUmask() {}

func isAddrInUse(err error) bool { return errors.Is(err, windows.WSAEADDRINUSE) }

func isNoRight(err error) bool { return errors.Is(err, windows.WSAEACCES) }

func isNoSuchAddress(err error) bool {
	return errors.Is(err, windows.WSAEADDRNOTAVAIL) || errors.Is(err, windows.WSAEAFNOSUPPORT)
}
