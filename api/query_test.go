package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// memoryQueries answers rows from a list of ids.
type memoryQueries struct {
	ids     []string
	awaited []device.LogPosition
	fail    error
	plan    query.Plan
}

func (m *memoryQueries) Query(ctx context.Context, q *query.Query, from query.Cursor, limit int) (query.Page, error) {
	if m.fail != nil {
		return query.Page{}, m.fail
	}
	device.NotePosition(ctx, device.LogPosition{Partition: 1, Next: 7})
	page := query.Page{Plan: m.plan}
	for i, id := range m.ids {
		if id <= from.After {
			continue
		}
		page.Rows = append(page.Rows, fmt.Appendf(nil, `{"deviceId":%q}`, id))
		if len(page.Rows) == limit && i+1 < len(m.ids) {
			page.Next = &query.Cursor{After: id}
			break
		}
	}
	return page, nil
}

func (m *memoryQueries) Await(_ context.Context, p []device.LogPosition) error {
	m.awaited = append(m.awaited, p...)
	return m.fail
}

func TestQueryOverREST(t *testing.T) {
	b := newBench(t)
	m := &memoryQueries{ids: []string{"a", "b", "c", "d", "e"}}
	b.service.queries = m
	ask := func(text string, header ...string) (int, []string, http.Header) {
		t.Helper()
		body, _ := json.Marshal(map[string]string{"query": text})
		w := b.do("POST", "/devices/query", string(body), header...)
		var rows []struct{ DeviceID string }
		var ids []string
		if w.Code == 200 {
			if err := json.Unmarshal(w.Body.Bytes(), &rows); err != nil {
				t.Fatalf("%s: %v", w.Body, err)
			}
		}
		for _, r := range rows {
			ids = append(ids, r.DeviceID)
		}
		return w.Code, ids, w.Header()
	}

	const all = "SELECT * FROM devices"
	var got []string
	var tokens []string
	header := []string{"x-ms-max-item-count", "2"}
	for {
		code, ids, h := ask(all, header...)
		if code != 200 || h.Get("x-ms-item-type") != "Twin" || h.Get("x-gemello-log-position") != "1:7" {
			t.Fatalf("%d %v", code, h)
		}
		got = append(got, ids...)
		next, there := h["X-Ms-Continuation"]
		if !there {
			break
		}
		tokens = append(tokens, next[0])
		header = []string{"x-ms-max-item-count", "2", "x-ms-continuation", next[0]}
	}
	if !slices.Equal(got, m.ids) || len(tokens) != 2 {
		t.Errorf("pages gave %v with %d continuations", got, len(tokens))
	}

	for text, kind := range map[string]string{
		"SELECT deviceId FROM devices": "Raw", "SELECT COUNT() AS n FROM devices": "Raw",
		"SELECT * FROM devices.modules": "Twin", "SELECT * FROM devices.jobs": "DeviceJob",
	} {
		if _, _, h := ask(text); h.Get("x-ms-item-type") != kind {
			t.Errorf("%s is %q, want %s", text, h.Get("x-ms-item-type"), kind)
		}
	}

	forged := []byte(tokens[0])
	forged[len(forged)/2] ^= 1
	for _, token := range []string{string(forged), "x", "AAAA", tokens[0][:len(tokens[0])-4]} {
		if code, _, _ := ask(all, "x-ms-continuation", token); code != 400 {
			t.Errorf("the continuation %q: %d", token, code)
		}
	}
	if code, _, _ := ask("SELECT * FROM devices WHERE a = 1", "x-ms-continuation", tokens[0]); code != 400 {
		t.Errorf("another query's continuation: %d", code)
	}
	for _, count := range []string{"0", "1001", "-1", "x"} {
		if code, _, _ := ask(all, "x-ms-max-item-count", count); code != 400 {
			t.Errorf("%s rows: %d", count, code)
		}
	}
	wantError(t, b.do("POST", "/devices/query", `{"query":"SELECT * FROM devices WHERE"}`), 400, "ArgumentInvalid")
	wantError(t, b.do("POST", "/devices/query", `{"query":`), 400, "IotHubFormatError")
	m.ids = nil
	if w := b.do("POST", "/devices/query", `{"query":"SELECT * FROM devices"}`); w.Body.String() != "[]" {
		t.Errorf("no rows: %s", w.Body)
	}
}

func TestARequestWaitsForTheLogPositionItNames(t *testing.T) {
	b := newBench(t)
	m := &memoryQueries{}
	b.service.queries = m
	b.must(200, "PUT", "/devices/d1", `{}`)
	if w := b.do("GET", "/twins/d1", "", "x-gemello-after", "0:3, 2:9"); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if want := []device.LogPosition{{Partition: 0, Next: 3}, {Partition: 2, Next: 9}}; !slices.Equal(m.awaited, want) {
		t.Errorf("waited for %v", m.awaited)
	}
	for _, bad := range []string{"1", "a:b", "1:", "-1:3", "1:-3", "1:2,"} {
		wantError(t, b.do("GET", "/twins/d1", "", "x-gemello-after", bad), 400, "ArgumentInvalid")
	}
	m.fail = fmt.Errorf("not yet: %w", ErrUnavailable)
	wantError(t, b.do("GET", "/twins/d1", "", "x-gemello-after", "0:3"), 503, "ServiceUnavailable")
}
