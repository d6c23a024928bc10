package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// dataFormat is the version of the directory's layout; a number is never used
// again for another layout.
const dataFormat = 1

// Files of a data directory.
const (
	lockFile   = "lock"
	formatFile = "format"
	runFile    = "run.json"
	tokenFile  = "admin.token"
	hubKeyFile = "hub.key"
	pkiDir     = "pki"
)

// hubKeyBytes is the length of the key that seals secrets: AES-256.
const hubKeyBytes = 32

// dataDir is a node's directory, held by this process until Close.
type dataDir struct {
	path string // absolute
	lock *os.File
}

// openDataDir makes the directory when there is none, locks it and checks its
// format. What it cannot use is a usage error that names the remedy.
func openDataDir(path string) (*dataDir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, usagef("data: %q: %v; choose another with --data", path, err)
	}
	fail := func(err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return usagef("data: %q: %v; choose a directory that this user may write, with --data", path, err)
		}
		return usagef("data: %q: %v; choose another directory with --data", path, err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fail(err)
	}
	entries, err := os.ReadDir(abs)
	if err != nil {
		return nil, fail(err)
	}
	ours, err := checkFormat(abs, path, entries)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(abs, 0o700); err != nil {
			return nil, fail(err)
		}
	}
	lock, err := lockDataDir(filepath.Join(abs, lockFile))
	if held := (*lockHeldError)(nil); errors.As(err, &held) {
		return nil, usagef("data: %q is in use by process %s; stop it, or choose another directory with --data", path, held.pid)
	}
	if err != nil {
		return nil, fail(err)
	}
	d := &dataDir{path: abs, lock: lock}
	if !ours {
		if err := writeFileAtomic(d.join(formatFile), []byte(strconv.Itoa(dataFormat)+"\n"), 0o600); err != nil {
			d.Close()
			return nil, fail(err)
		}
	}
	// A file left by a process that was killed names addresses of nobody.
	if err := os.Remove(d.join(runFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.Close()
		return nil, fail(err)
	}
	return d, nil
}

// checkFormat reports whether the directory carries our stamp. One without a
// stamp must be empty: its mode will change and files appear in it.
func checkFormat(abs, shown string, entries []fs.DirEntry) (ours bool, err error) {
	b, err := readSmallFile(filepath.Join(abs, formatFile))
	switch {
	case err == nil:
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil || n != dataFormat {
			return false, usagef("data: %q has format %s, this binary reads %d; use the version that wrote it, or another directory with --data",
				shown, quoteValue(strings.TrimSpace(string(b))), dataFormat)
		}
		return true, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, usagef("data: %q: %v; give this user the right to read it", shown, err)
	}
	strange := slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		// The first is there on every freshly made file system, the second when
		// a first start was cut short.
		return e.Name() != "lost+found" && e.Name() != lockFile
	})
	if strange {
		return false, usagef("data: %q holds files that are not gemello's; choose an empty or a new directory with --data", shown)
	}
	return false, nil
}

func (d *dataDir) join(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// Close gives the directory up. The lock file stays: removing it could take
// away the lock of a process that has just come.
func (d *dataDir) Close() error { return d.lock.Close() }

// adminToken returns the bearer token of the admin API, made on first use.
func (d *dataDir) adminToken() (string, error) {
	b, err := d.secretFile(tokenFile, func() ([]byte, error) {
		var raw [32]byte
		rand.Read(raw[:])
		return []byte(base64.RawURLEncoding.EncodeToString(raw[:]) + "\n"), nil
	})
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if len(token) < 20 {
		return "", usagef("data: %s holds no token of 20 characters or more; remove the file to have one made", d.join(tokenFile))
	}
	return token, nil
}

// hubKey returns the key that seals secrets: the configured one, else the
// directory's own, made on first use.
func (d *dataDir) hubKey(c *Config) ([]byte, error) {
	if c.Secrets.Key != "" {
		return parseHubKey([]byte(c.Secrets.Key))
	}
	file := c.Secrets.KeyFile
	var b []byte
	var err error
	if file != "" {
		b, err = readSmallFile(file)
	} else {
		file = d.join(hubKeyFile)
		b, err = d.secretFile(hubKeyFile, func() ([]byte, error) {
			key := make([]byte, hubKeyBytes)
			rand.Read(key)
			return key, nil
		})
	}
	if err != nil {
		return nil, c.bad("secrets.key_file", file, "a readable key file", err.Error())
	}
	key, err := parseHubKey(b)
	if err != nil {
		return nil, c.bad("secrets.key_file", file, err.Error(), "restore the key that sealed this hub's secrets")
	}
	return key, nil
}

// parseHubKey reads a key as 32 bytes, 64 hex digits or base64.
func parseHubKey(b []byte) ([]byte, error) {
	if len(b) == hubKeyBytes {
		return b, nil
	}
	text := strings.TrimSpace(string(b))
	if key, err := hex.DecodeString(text); err == nil && len(key) == hubKeyBytes {
		return key, nil
	}
	if key, err := base64.StdEncoding.DecodeString(text); err == nil && len(key) == hubKeyBytes {
		return key, nil
	}
	return nil, errors.New("32 bytes, raw or as hex or base64")
}

// secretFile reads a file of the directory, or makes it with mode 0600.
func (d *dataDir) secretFile(name string, make func() ([]byte, error)) ([]byte, error) {
	b, err := readSmallFile(d.join(name))
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if b, err = make(); err != nil {
		return nil, err
	}
	return b, writeFileAtomic(d.join(name), b, 0o600)
}

// writeFileAtomic writes a file that is either whole or not there.
func writeFileAtomic(name string, b []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// lockHeldError says that another process has the lock.
type lockHeldError struct{ pid string }

func (e *lockHeldError) Error() string { return "locked by process " + e.pid }

// writePid notes the holder in its lock file, for the message that others show.
func writePid(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPid(f *os.File) string {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return pid
	}
	return "(unknown)"
}
