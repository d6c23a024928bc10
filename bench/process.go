package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that a workload started and measures from outside.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
	stderr *tail
}

// tail keeps the end of what is written to it, for messages.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	const keep = 4 << 10
	t.b = append(t.b, p...)
	if len(t.b) > keep {
		t.b = append(t.b[:0], t.b[len(t.b)-keep:]...)
	}
	return len(p), nil
}

func startProcess(name string, args ...string) (*process, error) {
	return startProcessTo(nil, name, args...)
}

// startProcessTo lets the process write its output to a file; nil discards it.
func startProcessTo(stdout *os.File, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), exited: make(chan struct{}), stderr: &tail{}}
	p.cmd.Stderr = p.stderr
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // its outcome shows in what the workload waits for
	}()
	return p, nil
}

// stop asks the process to end, and makes it after 20 s.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// await polls ready until it reports true, the process ends or time is up.
func (p *process) await(ctx context.Context, what string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for !ready() {
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended before it was ready: %s", what, bytes.TrimSpace(p.stderr.b))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", what, ctx.Err())
		case <-t.C:
		}
	}
	return nil
}

// cpu returns the user and system time that the process has used, 0 where the
// system does not tell.
func (p *process) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * tick
}

// resident returns the resident size in bytes, 0 where the system does not
// tell.
func (p *process) resident() int64 {
	return statusField(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid), "VmRSS:")
}

// startMosquitto starts a broker that keeps nothing, like test/mosquitto.sh.
func startMosquitto(ctx context.Context, dir string) (p *process, addr string, err error) {
	path, err := exec.LookPath("mosquitto")
	for _, d := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(d, "mosquitto"))
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("mosquitto is not installed; apt-get install mosquitto, or leave the peer out: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	addr = l.Addr().String()
	host, port, _ := net.SplitHostPort(addr)
	l.Close()
	conf := fmt.Sprintf("user %s\npersistence false\nlog_dest none\nmax_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\nlistener %s %s\nallow_anonymous true\n",
		userName(), port, host)
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, "", err
	}
	if p, err = startProcess(path, "-c", file); err != nil {
		return nil, "", err
	}
	err = p.await(ctx, "mosquitto", func() bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
	if err != nil {
		p.stop()
		return nil, "", err
	}
	return p, addr, nil
}

// userName keeps mosquitto from becoming another user when root starts it.
func userName() string {
	if u := os.Getenv("USER"); u != "" {
		return u
	}
	return "root"
}

// nodeProcess is a gemello serve of its own with a new data directory.
type nodeProcess struct {
	*process
	mqtt, mqtts string // addresses
	hostname    string
	admin       string // URL
	token       string
	tls         *tls.Config
	http        *http.Client
}

// kill ends the process as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// freshNode starts a node on a new directory under parent, the system's temporary
// one if that is empty. end stops the node and removes the directory.
func freshNode(ctx context.Context, binary, parent, host string, args ...string) (n *nodeProcess, dir string, end func(), err error) {
	if dir, err = os.MkdirTemp(parent, "gemello-bench-"); err != nil {
		return nil, "", nil, err
	}
	if n, err = startNode(ctx, binary, dir, host, args...); err != nil {
		return nil, "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return n, dir, func() {
		n.stop()
		os.RemoveAll(dir)
	}, nil
}

// startNode starts binary with a node whose listeners take free ports of host.
// What an earlier node has left in dir is its data.
func startNode(ctx context.Context, binary, dir, host string, args ...string) (*nodeProcess, error) {
	data := filepath.Join(dir, "data")
	// A node that was killed has left where it was.
	if err := os.Remove(filepath.Join(data, "run.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	free := net.JoinHostPort(host, "0")
	p, err := startProcess(binary, append([]string{
		"serve", "--data", data, "--hostnames", host, "--listeners.mqtt", free, "--listeners.mqtts", free,
		"--listeners.https", "", "--listeners.admin", free, "--log.listen", free, "--logging.level", "warn",
	}, args...)...)
	if err != nil {
		return nil, err
	}
	n := &nodeProcess{process: p, hostname: host, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	var info struct {
		Admin, TokenFile, CA string
		Listen               map[string][]string
	}
	err = p.await(ctx, "gemello serve", func() bool {
		text, err := os.ReadFile(filepath.Join(data, "run.json"))
		return err == nil && json.Unmarshal(text, &info) == nil
	})
	if err == nil {
		err = n.learn(info.Admin, info.TokenFile, info.CA, info.Listen)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return n, nil
}

func (n *nodeProcess) learn(admin, tokenFile, ca string, listen map[string][]string) error {
	if len(listen["mqtt"]) == 0 || len(listen["mqtts"]) == 0 || admin == "" {
		return fmt.Errorf("gemello serve listens on %v, want mqtt, mqtts and admin", listen)
	}
	n.mqtt, n.mqtts, n.admin = listen["mqtt"][0], listen["mqtts"][0], admin
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return err
	}
	n.token = strings.TrimSpace(string(token))
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	n.tls = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: n.hostname, MinVersion: tls.VersionTLS12, ClientSessionCache: nil}
	if !n.tls.RootCAs.AppendCertsFromPEM(pem) {
		return errors.New(ca + " holds no certificate")
	}
	return nil
}

// call asks the admin API and decodes the answer into out unless that is nil.
func (n *nodeProcess) call(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, n.admin+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+n.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := n.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.200s", method, path, resp.Status, text)
	}
	if out == nil {
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = text
		return nil
	}
	return json.Unmarshal(text, out)
}

// rest waits until the cores have done all that was asked of the node, so that
// what one workload has left is not measured with the next.
func (n *nodeProcess) rest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for quiet := 0; quiet < 4; { // lags are as of the last look at the log
		var status struct{ Cores []struct{ Lag int64 } }
		if err := n.call(ctx, http.MethodGet, "/api/v1/status", nil, &status); err != nil {
			return err
		}
		quiet++
		for _, c := range status.Cores {
			if c.Lag > 0 {
				quiet = 0
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cores that have not caught up: %w", ctx.Err())
		case <-n.exited:
			return fmt.Errorf("gemello serve ended: %s", n.stderr.b)
		case <-time.After(250 * time.Millisecond):
		}
	}
	return nil
}

// metric returns the sum of a metric's samples.
func (n *nodeProcess) metric(ctx context.Context, name string) (float64, error) {
	var text []byte
	if err := n.call(ctx, http.MethodGet, "/metrics", nil, &text); err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		f := strings.Fields(rest[strings.LastIndexByte(rest, '}')+1:])
		if len(f) > 0 {
			v, err := strconv.ParseFloat(f[0], 64)
			if err != nil {
				return 0, fmt.Errorf("metric %s: %w", name, err)
			}
			sum += v
		}
	}
	return sum, nil
}
