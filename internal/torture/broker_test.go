package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// broker is the log that is killed.
type broker interface {
	addr() string
	// start begins a start; await says when it has been successful.
	start() error
	await(ctx context.Context) error
	// kill ends the process at once, wherever it is in its start.
	kill() error
}

// gemelloLog runs gemello log as a child, at the same address each time.
type gemelloLog struct {
	binary, dir, at string
	extra           []string
	cmd             *exec.Cmd
	exit            chan struct{}
	log             *os.File
}

func newGemelloLog(t *testing.T, dir string, extra []string) *gemelloLog {
	t.Helper()
	b := &gemelloLog{binary: *binary, dir: dir, extra: extra}
	if b.binary == "" {
		b.binary = filepath.Join(t.TempDir(), "gemello")
		out, err := exec.Command("go", "build", "-o", b.binary, "github.com/gemello/gemello/cmd/gemello").CombinedOutput()
		if err != nil {
			t.Fatalf("build: %v: %s", err, out)
		}
	}
	// A port that is free now; nobody else binds a port of this address.
	l, err := net.Listen("tcp", loopback()+":0")
	if err != nil {
		t.Fatal(err)
	}
	b.at = l.Addr().String()
	l.Close()
	if b.log, err = os.Create(filepath.Join(dir, "log.txt")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.log.Close()
		if t.Failed() {
			t.Logf("the log said at last:\n%s", lastLines(b.log.Name()))
		}
	})
	return b
}

func (b *gemelloLog) addr() string { return b.at }
func (b *gemelloLog) data() string { return filepath.Join(b.dir, "log") }

func (b *gemelloLog) start() error {
	b.cmd = exec.Command(b.binary, append([]string{"log", "--data", b.data(), "--listen", b.at}, b.extra...)...)
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	if err := b.cmd.Start(); err != nil {
		return err
	}
	exit, cmd := make(chan struct{}), b.cmd
	b.exit = exit
	go func() {
		_ = cmd.Wait() // killed
		close(exit)
	}()
	return nil
}

func (b *gemelloLog) await(ctx context.Context) error {
	return listening(ctx, b.at, func() error {
		select {
		case <-b.exit:
			return fmt.Errorf("gemello log ended by itself: %s", lastLine(b.log.Name()))
		default:
			return nil
		}
	})
}

func (b *gemelloLog) kill() error {
	if err := b.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-b.exit
	return nil
}

// script runs a broker that a shell command starts in the background, which
// writes its process id to a file.
type script struct{ command, pidFile, at string }

func (b *script) addr() string { return b.at }

func (b *script) start() error {
	cmd := exec.Command("sh", "-c", b.command)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", b.command, err, out)
	}
	return nil
}

func (b *script) await(ctx context.Context) error {
	return listening(ctx, b.at, func() error { return nil })
}

func (b *script) kill() error {
	text, err := os.ReadFile(b.pidFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("%s: %q is no process id", b.pidFile, text)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	for end := time.Now().Add(10 * time.Second); alive(pid); {
		if time.Now().After(end) {
			return fmt.Errorf("process %d outlives its kill", pid)
		}
		pause(context.Background(), 10*time.Millisecond)
	}
	return os.Remove(b.pidFile)
}

// alive reports whether the process runs; one that nobody waits for stays as a
// zombie, and its first thread may be one while others still hold the port.
func alive(pid int) bool {
	if threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)); len(threads) > 1 {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// listening waits for a port to accept connections.
func listening(ctx context.Context, addr string, alive func() error) error {
	for {
		if err := alive(); err != nil {
			return err
		}
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if !pause(ctx, 5*time.Millisecond) {
			return fmt.Errorf("no log at %s: %w", addr, err)
		}
	}
}

// pause reports whether ctx has outlived it.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// loopback is an address of this process's own where there are several.
func loopback() string {
	if _, err := os.Stat("/proc/self"); err != nil {
		return "127.0.0.1"
	}
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 128+pid>>14&63, pid>>7&127, 1+pid&127)
}

// lastLine is the last line that a process wrote to a file.
func lastLine(file string) string {
	text := strings.TrimRight(lastLines(file), "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// lastLines is the end of a file; after a panic, of which the beginning tells,
// what came from there on.
func lastLines(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	from := max(0, len(text)-4096)
	if at := max(bytes.LastIndex(text, []byte("\npanic: ")), bytes.LastIndex(text, []byte("\nfatal error: "))); at >= 0 && at < from {
		return string(text[at+1 : min(at+16<<10, len(text))])
	}
	return string(text[from:])
}
