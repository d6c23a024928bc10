package sim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gemello/gemello/device/credential"
)

// node is one gemello serve with a data directory of its own.
type node struct {
	o       *Options
	name    string
	data    string
	address string
	args    []string
	process *process
	admin   string
	token   string
	http    http.Client
}

const (
	// A log that was killed may need half of that to come back: until then no
	// node can start, and none can learn that it is fenced.
	startWithin  = 60 * time.Second
	fencedWithin = startWithin
	stopWithin   = 30 * time.Second
	callWithin   = 5 * time.Second
	lookEvery    = 10 * time.Millisecond
)

func newNode(o *Options, name string, n int, args ...string) *node {
	return &node{
		o: o, name: name, data: filepath.Join(o.Dir, name), address: loopback(n), args: args,
		http: http.Client{Timeout: callWithin, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}},
	}
}

// start runs the node and waits until it is ready; flush is its --flush-records.
func (n *node) start(ctx context.Context, flush int64) (*endpoint, error) {
	if err := n.launch(flush); err != nil {
		return nil, err
	}
	return n.ready(ctx)
}

func (n *node) runFile() string { return filepath.Join(n.data, "run.json") }

// launch runs the node and does not wait for it.
func (n *node) launch(flush int64) (err error) {
	if err := os.Remove(n.runFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	args := append([]string{"serve", "--data", n.data, "--adopt", "--logging.level", "debug",
		"--listeners.mqtts", n.address + ":0", "--listeners.https=", "--listeners.admin", n.address + ":0",
		"--commit.interval", "100ms", "--flush-records", strconv.FormatInt(flush, 10)}, n.args...)
	if n.o.Fault != "" {
		args = append(args, "--break", n.o.Fault)
	}
	n.process, err = startProcess(n.o, n.name, nil, args...)
	return err
}

// ready waits for run.json and reads it.
func (n *node) ready(ctx context.Context) (*endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		b, err := os.ReadFile(n.runFile())
		if err == nil {
			return n.endpoint(b)
		}
		select {
		case <-n.process.exit:
			return nil, fmt.Errorf("node %s ended by itself: %w; see %s", n.name, errors.Join(n.process.err), n.process.log.Name())
		default:
		}
		if !pause(ctx, lookEvery) {
			return nil, fmt.Errorf("node %s is not ready: %w; see %s", n.name, ctx.Err(), n.process.log.Name())
		}
	}
}

func (n *node) endpoint(run []byte) (*endpoint, error) {
	var info struct {
		Admin, TokenFile, CA string
		Hostnames            []string
		Listen               map[string][]string
	}
	if err := json.Unmarshal(run, &info); err != nil {
		return nil, fmt.Errorf("run.json of node %s: %w", n.name, err)
	}
	if len(info.Hostnames) == 0 || len(info.Listen["mqtts"]) == 0 {
		return nil, fmt.Errorf("run.json of node %s names no host or no mqtts listener", n.name)
	}
	token, err := os.ReadFile(info.TokenFile)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(info.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	n.admin, n.token = info.Admin+"/api/v1", strings.TrimSpace(string(token))
	host := info.Hostnames[0]
	if plain := info.Listen["mqtt"]; len(plain) > 0 {
		return &endpoint{addr: plain[0], host: host}, nil
	}
	return &endpoint{addr: info.Listen["mqtts"][0], host: host, tls: &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS12}}, nil
}

// kill ends the node at once.
func (n *node) kill() { n.process.kill() }

// running reports whether there is a process.
func (n *node) running() bool { return n.process != nil && !n.process.ended() }

// lose removes the stores of a node that does not run.
func (n *node) lose() error { return os.RemoveAll(filepath.Join(n.data, "cores")) }

// keptDir is where age keeps the stores.
func (n *node) keptDir() string { return filepath.Join(n.o.Dir, "kept") }

// age puts the stores of a node that does not run back to what they were at the
// last call, if there was one.
func (n *node) age() error {
	cores, kept, older := filepath.Join(n.data, "cores"), n.keptDir(), filepath.Join(n.o.Dir, "older")
	if err := os.Rename(kept, older); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.CopyFS(kept, os.DirFS(cores)); err != nil {
		return err
	}
	if _, err := os.Stat(older); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := os.RemoveAll(cores); err != nil {
		return err
	}
	return os.Rename(older, cores)
}

// lend gives another node the key that seals what is on the log.
func (n *node) lend(to *node) error {
	key, err := os.ReadFile(filepath.Join(n.data, "hub.key"))
	if err != nil {
		return err
	}
	n.args = append(n.args, "--secrets.key_file", filepath.Join(n.data, "hub.key"))
	to.args = append(to.args, "--secrets.key_file", filepath.Join(n.o.Dir, "hub.key"))
	return os.WriteFile(filepath.Join(n.o.Dir, "hub.key"), key, 0o600)
}

// call uses the admin API, trying again while the node has nothing to say.
func (n *node) call(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		err := n.once(ctx, method, path, body, out)
		if err == nil {
			return nil
		}
		if !pause(ctx, 10*lookEvery) {
			return fmt.Errorf("%s %s of node %s: %w", method, path, n.name, err)
		}
	}
}

func (n *node) once(ctx context.Context, method, path string, body, out any) error {
	_, err := n.ask(ctx, method, path, body, out, nil)
	return err
}

// ask is once with headers of the request and the answer.
func (n *node) ask(ctx context.Context, method, path string, body, out any, h http.Header) (http.Header, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, n.admin+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	for k, v := range h {
		req.Header[k] = v
	}
	req.Header.Set("Authorization", "Bearer "+n.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := n.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	if err != nil || out == nil {
		return resp.Header, err
	}
	return resp.Header, json.Unmarshal(answer, out)
}

// device makes a device and returns its key.
func (n *node) device(ctx context.Context, id string) (credential.Key, error) {
	body := map[string]any{"deviceId": id, "status": "enabled", "authentication": map[string]any{
		"type": "sas", "symmetricKey": map[string]string{"primaryKey": "", "secondaryKey": ""}}}
	var made struct {
		Authentication struct {
			SymmetricKey struct{ PrimaryKey string }
		}
	}
	if err := n.call(ctx, http.MethodPut, "/devices/"+id, body, &made); err != nil {
		return credential.Key{}, err
	}
	return credential.ParseKey(made.Authentication.SymmetricKey.PrimaryKey)
}

// coreState is one core of a node's status.
type coreState struct{ Core, State, Cause string }

func (n *node) cores(ctx context.Context) ([]coreState, error) {
	var s struct{ Cores []coreState }
	err := n.once(ctx, http.MethodGet, "/status", nil, &s)
	return s.Cores, err
}

// fenced waits until the node has stopped working on every core. The error
// names one that goes on.
func (n *node) fenced(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fencedWithin)
	defer cancel()
	for {
		cores, err := n.cores(ctx)
		for _, c := range cores {
			if err == nil && c.State != "fenced" {
				err = fmt.Errorf("core %s of node %s is %s %s", c.Core, n.name, c.State, c.Cause)
			}
		}
		if err == nil && len(cores) > 0 {
			return nil
		}
		if !pause(ctx, 5*lookEvery) {
			return fmt.Errorf("not fenced within %s: %w", fencedWithin, err)
		}
	}
}

// replayed reads how many records the process has replayed so far.
func (n *node) replayed(ctx context.Context) (sum float64) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(n.admin, "/api/v1")+"/metrics", nil)
	if err != nil {
		return 0
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if strings.Contains(name, "core_replayed_records_total{") {
			v, _ := strconv.ParseFloat(value, 64)
			sum += v
		}
	}
	return sum
}
