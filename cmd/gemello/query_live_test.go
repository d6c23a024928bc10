package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// liveCommand is gemello query --live while it runs.
type liveCommand struct {
	t      *testing.T
	lines  chan string
	stop   context.CancelFunc
	ended  chan int
	stderr *strings.Builder
}

func followInShell(t *testing.T, args ...string) *liveCommand {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(stop)
	r, w := io.Pipe()
	c := &liveCommand{t: t, lines: make(chan string, 1024), stop: stop, ended: make(chan int, 1), stderr: &strings.Builder{}}
	none := func(string) (string, bool) { return "", false }
	a := &app{stdin: strings.NewReader(""), stdout: w, stderr: c.stderr, lookupEnv: none, environ: func() []string { return nil }}
	go func() {
		c.ended <- a.run(ctx, append([]string{"query", "--live"}, args...))
		w.Close()
	}()
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	return c
}

// next reads an event.
func (c *liveCommand) next() (e liveLine) {
	c.t.Helper()
	line, ok := <-c.lines
	if !ok {
		c.t.Fatalf("no further event; code %d, %s", <-c.ended, c.stderr)
	}
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		c.t.Fatalf("%v: %s", err, line)
	}
	return e
}

// until reads events up to one that fits.
func (c *liveCommand) until(what string, fits func(liveLine) bool) (all []liveLine) {
	c.t.Helper()
	for {
		e := c.next()
		all = append(all, e)
		if fits(e) {
			return all
		}
	}
}

type liveLine struct {
	Event, DeviceID, ModuleID, Position, Reason string
	Row                                         map[string]any
}

func TestQueryLiveResumesWhereItWasAndEndsWithTheReason(t *testing.T) {
	var ids []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ids = append(ids, r.Header.Get("Last-Event-ID"))
		if r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("Accept is %q", r.Header.Get("Accept"))
		}
		switch len(ids) {
		case 1:
			io.WriteString(w, ": live\n\nevent: added\ndata: {\"deviceId\":\"d1\",\"row\":{\"a\":1}}\n\nevent: ready\ndata: {}\n\n: heartbeat\n\nid: 0:3\n\n")
		case 2: // the node is away
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			io.WriteString(w, "event: cut\ndata: {\"reason\":\"slow\",\"message\":\"m\"}\n\n")
		default:
			io.WriteString(w, "event: reset\ndata: {\"reason\":\"r\"}\n\nevent: cut\ndata: {\"reason\":\"rows\",\"message\":\"too many rows\"}\n\n")
		}
	}))
	defer server.Close()
	token := writeTemp(t, "token", testToken)
	code, stdout, stderr := shell{}.run(t, "query", "--live", "q", "--admin", server.URL, "--token-file", token)
	want := `{"event":"added","deviceId":"d1","row":{"a":1}}` + "\n" + `{"event":"ready"}` + "\n" + `{"event":"reset","reason":"r"}` + "\n"
	if code != exitFailed || stdout != want || !strings.Contains(stderr, "too many rows") {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if !slices.Equal(ids, []string{"", "0:3", "0:3", "0:3"}) {
		t.Errorf("resumed from %q", ids)
	}
}

func TestQueryLiveEndsAtOnceWhenItIsRefused(t *testing.T) {
	f := newFakeAdmin(t)
	code, stdout, stderr := f.run(t, "", "query", "--live", "SELECT")
	wantOneLine(t, code, exitFailed, stdout, stderr, "HTTP 404")
}

// A node in this process: events come as twins change, go on after a restart, and
// an interrupt is the regular end.
func TestQueryLiveFollowsANodeOverItsRestart(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	type ended struct {
		code   int
		stderr string
	}
	serve := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan ended, 1)
		go func() {
			code, _, stderr := shell{}.runContext(ctx, "serve", "--data", data, "--logging.level", "error", "--log.partitions", "2",
				"--log.listen", "127.0.0.1:0", "--listeners.mqtts", "127.0.0.1:0", "--listeners.https", "127.0.0.1:0", "--listeners.admin", "127.0.0.1:0")
			done <- ended{code, stderr}
		}()
		awaitNode(t, data)
		return func() {
			cancel()
			if e := <-done; e.code != exitDone {
				t.Errorf("serve ended with %d: %s", e.code, e.stderr)
			}
		}
	}
	stop := serve()
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
	run := func(args ...string) {
		t.Helper()
		if code, _, stderr := (shell{}).run(t, append(args, "--data", data)...); code != exitDone {
			t.Fatalf("%v: %s", args, stderr)
		}
	}
	for i := range 4 {
		run("device", "create", fmt.Sprintf("d%d", i))
		run("twin", "patch", fmt.Sprintf("d%d", i), "--tags", fmt.Sprintf(`{"n":%d}`, i))
	}
	c := followInShell(t, "SELECT deviceId, tags.n FROM devices WHERE tags.n > 1", "--data", data)
	first := c.until("the first answer", func(e liveLine) bool { return e.Event == "ready" })
	if len(first) != 3 {
		t.Errorf("the first answer is %+v", first)
	}
	run("twin", "patch", "d0", "--tags", `{"n":10}`)
	if e := c.next(); e.Event != "added" || e.DeviceID != "d0" || e.Row["n"] != 10.0 || e.Position == "" {
		t.Errorf("%+v", e)
	}
	stop()
	stop = serve()
	run("twin", "patch", "d1", "--tags", `{"n":11}`)
	run("device", "delete", "d2")
	missing := map[string]bool{"d1": true, "d2": true}
	seen := c.until("what came after the restart", func(e liveLine) bool { delete(missing, e.DeviceID); return len(missing) == 0 })
	for _, e := range seen {
		if e.Event == "reset" || e.DeviceID == "d3" {
			t.Errorf("after a restart it is not resumed: %+v", seen)
		}
	}
	stop()
	stopped = true
	c.stop()
	if code := <-c.ended; code != exitDone || c.stderr.String() != "" {
		t.Errorf("interrupted: code %d, %s", code, c.stderr)
	}
}

// While writers change twins and the node is killed, what was told adds up to
// what the query finds.
func TestQueryLiveAddsUpToTheQueryOverKills(t *testing.T) {
	h := startKilledHub(t)
	const devices = 10
	for i := range devices {
		h.make(device.Ref{Device: fmt.Sprintf("d%d", i)})
	}
	const text = "SELECT deviceId, tags.n FROM devices WHERE tags.n < 50"
	c := followInShell(t, text, "--data", h.data)
	rows := map[string]any{}
	take := func(e liveLine) {
		switch e.Event {
		case "added", "changed":
			rows[e.DeviceID] = e.Row["n"]
		case "removed":
			delete(rows, e.DeviceID)
		case "reset":
			clear(rows)
		}
	}
	c.until("the first answer", func(e liveLine) bool { return e.Event == "ready" })
	g := rand.New(rand.NewPCG(5, 5))
	for range 3 {
		var writers sync.WaitGroup
		for w := range 3 {
			seed := g.Uint64()
			writers.Go(func() {
				g := rand.New(rand.NewPCG(seed, uint64(w)))
				for range 60 {
					id := fmt.Sprintf("d%d", g.IntN(devices))
					if _, _, _, err := h.ask("PATCH", "/twins/"+id, map[string]any{"tags": map[string]any{"n": g.IntN(100)}}); err != nil {
						return
					}
				}
			})
		}
		c.until("some events", func(e liveLine) bool { take(e); return e.Event == "changed" })
		h.kill()
		writers.Wait()
		h.start()
	}
	// The last write comes last.
	h.must("PATCH", "/twins/d0", map[string]any{"tags": map[string]any{"n": 1000}}, nil)
	h.must("PATCH", "/twins/d0", map[string]any{"tags": map[string]any{"n": -1}}, nil)
	want := map[string]any{}
	for _, row := range h.rows(text) {
		want[row["deviceId"].(string)] = row["n"]
	}
	for !maps.Equal(rows, want) {
		take(c.next())
	}
	c.stop()
	if code := <-c.ended; code != exitDone {
		t.Errorf("interrupted: code %d, %s", code, c.stderr)
	}
}

// The port that devices and services share passes events on as they come.
func TestLiveQueryOverTheServiceInterface(t *testing.T) {
	h := startKilledHub(t)
	h.make(device.Ref{Device: "d1"})
	code, stdout, stderr := shell{}.run(t, "connection-string", "--policy", "service", "--data", h.data)
	if code != exitDone {
		t.Fatal(stderr)
	}
	_, text, _ := strings.Cut(strings.TrimSpace(stdout), "SharedAccessKey=")
	key, err := credential.ParseKey(text)
	if err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	info, _ := h.at()
	roots, err := clientTLS(info.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots.ServerName = info.Hostnames[0]
	service := &http.Client{Transport: &http.Transport{TLSClientConfig: roots}}
	defer service.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	defer cancel()
	ask := func(lastID string) *bufio.Scanner {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, "POST", "https://"+info.Listen["https"][0]+"/devices/query?api-version=2021-04-12", strings.NewReader(`{"query":"SELECT deviceId, tags.n FROM devices"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", credential.Sign(info.Hostnames[0], time.Now().Add(time.Hour), key, "service"))
		r.Header.Set("Accept", "text/event-stream")
		if lastID != "" {
			r.Header.Set("Last-Event-ID", lastID)
		}
		resp, err := service.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s %v", resp.Status, resp.Header)
		}
		return bufio.NewScanner(resp.Body)
	}
	until := func(s *bufio.Scanner, part string) string {
		t.Helper()
		for s.Scan() {
			if strings.Contains(s.Text(), part) {
				return s.Text()
			}
		}
		t.Fatalf("the stream ends before %q: %v", part, s.Err())
		return ""
	}
	s := ask("")
	until(s, `"row":{"deviceId":"d1"}`)
	until(s, "event: ready")
	id := strings.TrimPrefix(until(s, "id: "), "id: ")
	h.must("PATCH", "/twins/d1", map[string]any{"tags": map[string]any{"n": 1}}, nil)
	until(s, "event: changed")
	until(s, `"row":{"deviceId":"d1","n":1}`)
	// Another reader that resumes from before the change is told of it, and nothing else.
	s = ask(id)
	for s.Scan() && s.Text() != "event: ready" {
		if strings.HasPrefix(s.Text(), "event: ") && s.Text() != "event: added" {
			t.Errorf("a resume begins with %s", s.Text())
		}
		if strings.HasPrefix(s.Text(), "data: ") && !strings.Contains(s.Text(), `"n":1`) {
			t.Errorf("a resume tells %s", s.Text())
		}
	}
}
