package sim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// process is a child of the run, killed by its own id and never by name.
type process struct {
	name string
	cmd  *exec.Cmd
	exit chan struct{} // closed when it has ended
	err  error         // how it ended; after exit
	log  *os.File
}

// startProcess runs gemello; what it says is appended to NAME.log.
func startProcess(o *Options, name string, stdout io.Writer, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(o.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.Command(o.Binary, args...), exit: make(chan struct{}), log: log}
	p.cmd.Stderr = log
	p.cmd.Stdout = stdout
	if stdout == nil {
		p.cmd.Stdout = log
	}
	// The environment of whoever verifies is not that of the nodes.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GEMELLO_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	if err := p.cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		log.Close()
		close(p.exit)
	}()
	return p, nil
}

// kill ends the process at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.exit
}

// stop asks the process to end and kills it after a while.
func (p *process) stop(within time.Duration) error {
	if err := terminate(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.exit:
		if p.err != nil && runtime.GOOS != "windows" {
			return fmt.Errorf("stop %s: %w", p.name, p.err)
		}
		return nil
	case <-timer.C:
		p.kill()
		return fmt.Errorf("%s did not stop within %s", p.name, within)
	}
}

// ended reports whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.exit:
		return true
	default:
		return false
	}
}

// loopback is an address of this run's own, so that the ports of two runs never
// meet; systems other than Linux have only one.
func loopback(n int) string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>14&63, pid>>7&127, 1+(pid&63)*4+n)
}

// freePort returns an address whose port is free now; nobody but this run uses
// such addresses.
func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// startLog runs gemello log on a directory and returns its address.
func startLog(ctx context.Context, o *Options, dir string) (*process, string, error) {
	r, w := io.Pipe()
	args := []string{"log", "--data", dir, "--listen", loopback(0) + ":0", "--log-level", "info"}
	if o.Compact {
		args = append(args, "--housekeeping", "1s")
	}
	p, err := startProcess(o, "log", w, args...)
	if err != nil {
		return nil, "", err
	}
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(r).ReadString('\n')
		line <- s
		io.Copy(io.Discard, r)
	}()
	go func() {
		<-p.exit
		w.Close()
	}()
	select {
	case s := <-line:
		addr, ok := strings.CutPrefix(strings.TrimSpace(s), "listening on ")
		if !ok {
			p.kill()
			return nil, "", fmt.Errorf("gemello log said %q; see %s", s, p.log.Name())
		}
		return p, addr, nil
	case <-ctx.Done():
		p.kill()
		return nil, "", ctx.Err()
	}
}
