package api

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

type fakeIndexes struct{ made, dropped []string }

func (f *fakeIndexes) List(context.Context) ([]Index, error) {
	var out []Index
	for _, p := range f.made {
		out = append(out, Index{Path: p, By: []string{"operator"}, Ready: true, Partitions: 2})
	}
	return out, nil
}

func (f *fakeIndexes) Create(_ context.Context, path string, a device.Audit) (string, bool, error) {
	if path == "bad" {
		return "", false, fmt.Errorf("%w: bad", device.ErrArgument)
	}
	for _, p := range f.made {
		if p == path {
			return path, false, nil
		}
	}
	f.made = append(f.made, path)
	return path, a.Actor == "admin", nil
}

func (f *fakeIndexes) Drop(_ context.Context, path string, _ device.Audit) error {
	if path != "tags.[[a/b]]" {
		return ErrNoObject
	}
	f.dropped = append(f.dropped, path)
	return nil
}

func TestAdminIndexes(t *testing.T) {
	f := &fakeIndexes{}
	b := newAdminBench(t, func(o *AdminOptions) { o.Indexes = f })
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/api/v1/indexes", 200, `{"indexes":[]}`},
		{"PUT", "/api/v1/indexes/tags.%5B%5Ba%2Fb%5D%5D", 201, `{"path":"tags.[[a/b]]"}`},
		{"PUT", "/api/v1/indexes/tags.%5B%5Ba%2Fb%5D%5D", 200, `{"path":"tags.[[a/b]]"}`},
		{"GET", "/api/v1/indexes", 200, `{"indexes":[{"path":"tags.[[a/b]]","by":["operator"],"ready":true,"partitions":2}]}`},
		{"DELETE", "/api/v1/indexes/tags.%5B%5Ba%2Fb%5D%5D", 204, ""},
	} {
		if w := b.call(c.method, c.path, ""); w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	wantAdminError(t, b.call("DELETE", "/api/v1/indexes/tags.x", ""), 404, "NotFound")
	wantAdminError(t, b.call("PUT", "/api/v1/indexes/bad", ""), 400, "ArgumentInvalid")
	wantAdminError(t, b.call("POST", "/api/v1/indexes", ""), 405, "MethodNotAllowed")
	wantAdminError(t, newAdminBench(t).call("GET", "/api/v1/indexes", ""), 501, "NotImplemented")
}

func TestAQueryIsExplainedWhenAskedFor(t *testing.T) {
	b := newBench(t)
	b.service.queries = &memoryQueries{ids: []string{"a"}, plan: query.Plan{
		Access:   []query.Access{{By: query.ByIndex, Indexes: []string{"tags.a"}, Partitions: []int32{0, 3}, Entries: 5, Rows: 4}},
		Returned: 1,
	}}
	const text = `{"query":"SELECT * FROM devices WHERE tags.a = 1"}`
	if w := b.do("POST", "/devices/query", text); w.Header().Get("x-gemello-explain") != "" {
		t.Errorf("explained unasked: %v", w.Header())
	}
	w := b.do("POST", "/devices/query", text, "x-gemello-explain", "true")
	const want = `{"plan":[{"access":"index","indexes":["tags.a"],"partitions":[0,3],"indexEntriesRead":5,"rowsRead":4}],"rowsReturned":1}`
	if got := w.Header().Get("x-gemello-explain"); got != want || !json.Valid([]byte(got)) {
		t.Errorf("plan %s, want %s", got, want)
	}
}
