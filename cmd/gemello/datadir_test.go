package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// holdDataDir is the other process: it holds the directory until its standard
// input ends.
func holdDataDir(dir string) int {
	d, err := openDataDir(dir)
	if err != nil {
		fmt.Println(err)
		return exitUsage
	}
	defer d.Close()
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
	return exitDone
}

func wantUsage(t *testing.T, err error, parts ...string) {
	t.Helper()
	var u *usageError
	if !errors.As(err, &u) {
		t.Fatalf("error %v is no usage error", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of several lines: %q", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q lacks %q", err, p)
		}
	}
}

func TestDataDirBelongsToOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	other := exec.Command(os.Args[0], "-test.run=^$")
	other.Env = append(os.Environ(), holdEnv+"="+dir)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Process.Kill()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("other process: %q %v", line, err)
	}
	_, err = openDataDir(dir)
	wantUsage(t, err, strconv.Quote(dir), "in use by process "+strconv.Itoa(other.Process.Pid), "--data")

	// However it ends, the lock ends with it.
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	other.Wait()
	d, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
}

func TestDataDirIsPrivateAndStamped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	d, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if runtime.GOOS != "windows" {
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("mode %v %v", st.Mode(), err)
		}
	}
	if b, err := os.ReadFile(d.join(formatFile)); err != nil || string(b) != "1\n" {
		t.Errorf("format %q %v", b, err)
	}
	for _, name := range []string{tokenFile, hubKeyFile} {
		if _, err := d.adminToken(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.hubKey(&Config{}); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(d.join(name)); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
}

func TestUnusableDataDirIsNamed(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	os.WriteFile(file, nil, 0o600)
	strangers := filepath.Join(base, "strangers")
	os.MkdirAll(strangers, 0o755)
	os.Chmod(strangers, 0o755) // a node that ran in this process has left its umask
	os.WriteFile(filepath.Join(strangers, "thesis.txt"), nil, 0o600)
	future := filepath.Join(base, "future")
	os.MkdirAll(future, 0o700)
	os.WriteFile(filepath.Join(future, formatFile), []byte("99\n"), 0o600)
	for _, tc := range []struct {
		name, dir string
		parts     []string
	}{
		{"a file", file, []string{file, "--data"}},
		{"below a file", filepath.Join(file, "x"), []string{"--data"}},
		{"somebody else's files", strangers, []string{strangers, "not gemello's", "--data"}},
		{"a later format", future, []string{"format", `"99"`, "reads 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := openDataDir(tc.dir)
			wantUsage(t, err, tc.parts...)
		})
	}
	if st, err := os.Stat(strangers); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o755 {
		t.Errorf("the mode of a strange directory was changed: %v %v", st.Mode(), err)
	}
}

func TestUnreadableDataDirIsNamed(t *testing.T) {
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		t.Skip("this user may read everything")
	}
	dir := t.TempDir()
	os.Chmod(dir, 0)
	defer os.Chmod(dir, 0o700)
	_, err := openDataDir(filepath.Join(dir, "data"))
	wantUsage(t, err, "permission denied", "--data")
}

func TestSecretsStayOverRestarts(t *testing.T) {
	dir := t.TempDir()
	read := func() (token string, key []byte) {
		d, err := openDataDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if token, err = d.adminToken(); err != nil {
			t.Fatal(err)
		}
		if key, err = d.hubKey(&Config{}); err != nil {
			t.Fatal(err)
		}
		return token, key
	}
	token1, key1 := read()
	token2, key2 := read()
	if token1 != token2 || !bytes.Equal(key1, key2) || len(key1) != hubKeyBytes {
		t.Errorf("secrets changed or are short: %d bytes", len(key1))
	}
}

func TestHubKeyForms(t *testing.T) {
	raw := []byte("0123456789abcdef0123456789abcdef")
	for name, text := range map[string]string{
		"raw": string(raw), "hex": hex.EncodeToString(raw) + "\n", "base64": base64.StdEncoding.EncodeToString(raw) + "\r\n",
	} {
		c := &Config{Secrets: SecretsConfig{KeyFile: writeTemp(t, "key", text)}}
		key, err := (&dataDir{path: t.TempDir()}).hubKey(c)
		if err != nil || !bytes.Equal(key, raw) {
			t.Errorf("%s: %q %v", name, key, err)
		}
	}
	c := &Config{Secrets: SecretsConfig{KeyFile: writeTemp(t, "key", "short")}}
	_, err := (&dataDir{path: t.TempDir()}).hubKey(c)
	wantUsage(t, err, "secrets.key_file", "32 bytes")
}

func TestRunFileOfAKilledProcessIsRemoved(t *testing.T) {
	dir := t.TempDir()
	d, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.writeRunInfo(&runInfo{PID: 1, Admin: "http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if r, err := readRunInfo(dir); err != nil || r.PID != 1 {
		t.Fatalf("run.json %+v %v", r, err)
	}
	if d, err = openDataDir(dir); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, err = readRunInfo(dir)
	wantUsage(t, err, "no node runs", "gemello serve")
}
