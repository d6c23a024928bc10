package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/device/query"
)

// scriptedLive is a live query whose steps the test sends.
type scriptedLive struct {
	steps  chan liveStep
	ready  chan struct{}
	closed chan struct{}
	after  []device.LogPosition
	fail   error
}

type liveStep struct {
	events   []query.Event
	position string
	end      bool
}

func newScriptedLive() *scriptedLive {
	return &scriptedLive{steps: make(chan liveStep, 16), ready: make(chan struct{}, 16), closed: make(chan struct{})}
}

func (s *scriptedLive) Follow(_ context.Context, q *query.Query, after []device.LogPosition) (LiveQuery, error) {
	s.after = after
	if s.fail != nil {
		return nil, s.fail
	}
	return s, q.CanFollow()
}

func (s *scriptedLive) send(step liveStep) {
	s.steps <- step
	s.ready <- struct{}{}
}

func (s *scriptedLive) Ready() <-chan struct{} { return s.ready }

func (s *scriptedLive) Take() ([]query.Event, string, bool) {
	select {
	case step := <-s.steps:
		return step.events, step.position, !step.end
	default:
		return nil, "", true
	}
}

func (s *scriptedLive) Close() { close(s.closed) }

// stream is an answer of events that a client reads.
type stream struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
}

// listen asks a handler over a real connection for events.
func listen(t *testing.T, h http.Handler, path, authorization, text string, header ...string) *stream {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	body, _ := json.Marshal(map[string]string{"query": text})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "POST", server.URL+path, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	r.Header.Set("Accept", eventStream)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &stream{t, resp, bufio.NewScanner(resp.Body)}
}

// block reads up to the next blank line; nil at the end of the stream.
func (s *stream) block() (lines []string) {
	s.t.Helper()
	for s.lines.Scan() {
		if s.lines.Text() == "" {
			return lines
		}
		lines = append(lines, s.lines.Text())
	}
	if err := s.lines.Err(); err != nil {
		s.t.Fatal(err)
	}
	return nil
}

func (s *stream) want(lines ...string) {
	s.t.Helper()
	if got := s.block(); !slices.Equal(got, lines) {
		s.t.Fatalf("the stream has %q, want %q", got, lines)
	}
}

func TestLiveQueryIsAStreamOfEvents(t *testing.T) {
	b := newBench(t)
	m := newScriptedLive()
	b.service.queries, b.service.live = &memoryQueries{}, m
	m.send(liveStep{events: []query.Event{
		{Kind: query.Added, Ref: device.Ref{Device: "d1"}, Row: []byte(`{"deviceId":"d1","n":1}`), Position: device.LogPosition{Partition: 1, Next: 7}},
		{Kind: query.Ready},
	}, position: "0:3,1:7"})
	s := listen(t, b.service, "/devices/query?api-version=2021-04-12", b.token("service", "", time.Hour), "SELECT deviceId, n FROM devices", headerLastID, "0:1,1:2")
	h := s.resp.Header
	if s.resp.StatusCode != 200 || h.Get("Content-Type") != eventStream || h.Get("x-ms-item-type") != "Raw" || h.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s %v", s.resp.Status, h)
	}
	if want := []device.LogPosition{{Partition: 0, Next: 1}, {Partition: 1, Next: 2}}; !slices.Equal(m.after, want) {
		t.Errorf("resumed from %v, want %v", m.after, want)
	}
	s.want(": live")
	s.want("event: added", `data: {"deviceId":"d1","position":"1:7","row":{"deviceId":"d1","n":1}}`)
	s.want("event: ready", "data: {}")
	s.want("id: 0:3,1:7")
	m.send(liveStep{events: []query.Event{
		{Kind: query.Changed, Ref: device.Ref{Device: "d1", Module: "m"}, Row: []byte(`{}`), Position: device.LogPosition{Partition: 1, Next: 9}},
		{Kind: query.Removed, Ref: device.Ref{Device: "d1"}, Position: device.LogPosition{Partition: 1, Next: 10}},
	}, position: "0:3,1:10"})
	s.want("event: changed", `data: {"deviceId":"d1","moduleId":"m","position":"1:9","row":{}}`)
	s.want("event: removed", `data: {"deviceId":"d1","position":"1:10"}`)
	s.want("id: 0:3,1:10")
	m.send(liveStep{events: []query.Event{{Kind: query.Reset, Reason: "why"}}, position: "0:3,1:10"})
	s.want("event: reset", `data: {"reason":"why"}`)
	m.send(liveStep{events: []query.Event{{Kind: query.Cut, Reason: "slow"}}, end: true})
	s.want("event: cut", `data: {"reason":"slow","message":"`+cutMessage("slow")+`"}`)
	if got := s.block(); got != nil {
		t.Errorf("after the cut: %q", got)
	}
	<-m.closed
}

// The position moves while no row does, so that a resume reads little of the log.
func TestHeartbeatsOfALiveQueryCarryThePosition(t *testing.T) {
	b := newBench(t)
	m := newScriptedLive()
	b.service.queries, b.service.live, b.service.heartbeat = &memoryQueries{}, m, time.Millisecond
	m.steps <- liveStep{position: "0:5"}
	s := listen(t, b.service, "/devices/query?api-version=2021-04-12", b.token("service", "", time.Hour), "SELECT * FROM devices")
	s.want(": live")
	s.want(": heartbeat")
	s.want("id: 0:5")
	s.want(": heartbeat")
	s.resp.Body.Close()
	<-m.closed
}

func TestLiveQueryEndsWithTheRightToIt(t *testing.T) {
	b := newBench(t)
	m := newScriptedLive()
	b.service.queries, b.service.live, b.service.heartbeat = &memoryQueries{}, m, time.Millisecond
	allowed := make(chan struct{})
	b.service.policies = changingPolicies{b.policies, allowed}
	s := listen(t, b.service, "/devices/query?api-version=2021-04-12", b.token("service", "", time.Hour), "SELECT * FROM devices")
	s.want(": live")
	close(allowed)
	for {
		lines := s.block()
		if lines == nil {
			t.Fatal("the stream has ended without a reason")
		}
		if lines[0] == "event: cut" {
			if !strings.Contains(lines[1], `"reason":"unauthorized"`) {
				t.Errorf("%q", lines)
			}
			break
		}
	}
	<-m.closed
}

// changingPolicies has no policies once gone is closed.
type changingPolicies struct {
	Policies
	gone chan struct{}
}

func (p changingPolicies) Policy(name string) (credential.Policy, bool) {
	select {
	case <-p.gone:
		return credential.Policy{}, false
	default:
		return p.Policies.Policy(name)
	}
}

func TestLiveQueryThatCanNotBeginIsAnError(t *testing.T) {
	b := newBench(t)
	m := newScriptedLive()
	b.service.queries, b.service.live = &memoryQueries{}, m
	ask := func(text string, header ...string) *httptest.ResponseRecorder {
		body, _ := json.Marshal(map[string]string{"query": text})
		return b.do("POST", "/devices/query", string(body), append([]string{"Accept", "application/json;q=0.5, text/event-stream"}, header...)...)
	}
	for _, c := range []struct{ text, says string }{
		{"SELECT COUNT() AS n FROM devices", "aggregates"},
		{"SELECT tags.site, COUNT() AS n FROM devices GROUP BY tags.site", "GROUP BY"},
		{"SELECT TOP 3 * FROM devices", "TOP"},
		{"SELECT * FROM devices.jobs", "devices.jobs"},
		{"SELECT * FROM devices WHERE", ""},
	} {
		m.closed = make(chan struct{})
		w := ask(c.text)
		wantError(t, w, 400, "ArgumentInvalid")
		if !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s is refused by %s", c.text, w.Body)
		}
	}
	wantError(t, ask("SELECT * FROM devices", headerLastID, "x"), 400, "ArgumentInvalid")
	wantError(t, ask("SELECT * FROM devices", headerContinuation, "x"), 400, "ArgumentInvalid")
	m.fail = fmt.Errorf("full: %w", ErrThrottled)
	wantError(t, ask("SELECT * FROM devices"), 429, "ThrottlingException")
	m.fail = errors.New("boom")
	wantError(t, ask("SELECT * FROM devices"), 500, "ServerError")
	b.service.live = nil
	wantError(t, ask("SELECT * FROM devices"), 501, "NotImplemented")
	if w := b.do("POST", "/devices/query", `{"query":"SELECT * FROM devices"}`, "Accept", "text/event-stream;q=0, */*"); w.Code != 200 || w.Body.String() != "[]" {
		t.Errorf("a client that refuses events: %d %s", w.Code, w.Body)
	}
}
