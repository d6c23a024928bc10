package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

type fakePipelines struct {
	list  []Pipeline
	spec  PipelineSpec
	end   time.Time
	audit device.Audit
}

func (f *fakePipelines) List(context.Context) ([]Pipeline, error) { return f.list, nil }

func (f *fakePipelines) Apply(_ context.Context, s PipelineSpec, a device.Audit) (Pipeline, error) {
	if strings.Contains(s.Query, "SELEC ") {
		return Pipeline{}, fmt.Errorf("%w: 1:1: unexpected SELEC", ErrSQL)
	}
	f.spec, f.audit = s, a
	p := Pipeline{PipelineSpec: s, State: "running", Source: "devices"}
	f.list = append(f.list, p)
	return p, nil
}

func (f *fakePipelines) Delete(_ context.Context, name string, _ device.Audit) error {
	before := len(f.list)
	f.list = slices.DeleteFunc(f.list, func(p Pipeline) bool { return p.Name == name })
	if len(f.list) == before {
		return fmt.Errorf("%w: pipeline %s", ErrNoObject, name)
	}
	return nil
}

func (f *fakePipelines) Explain(_ context.Context, name string) (Explanation, error) {
	return Explanation{Text: "reads devices", Detail: json.RawMessage(`{"name":"` + name + `"}`)}, nil
}

func (f *fakePipelines) Why(_ context.Context, name, key string, end time.Time) (Explanation, error) {
	f.end = end
	return Explanation{Text: name + " " + key}, nil
}

func TestAdminPipelines(t *testing.T) {
	b := newAdminBench(t)
	if w := b.call("GET", "/api/v1/pipelines", ""); w.Body.String() != `{"pipelines":[]}` {
		t.Errorf("no pipelines: %s", w.Body)
	}
	w := b.call("PUT", "/api/v1/pipelines/temp", `{"query":"SELECT 1","late":"5s","outOfOrder":"2s","onLate":"drop","key":"k"}`)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"state":"running"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if want := (PipelineSpec{Name: "temp", Query: "SELECT 1", Late: "5s", OutOfOrder: "2s", OnLate: "drop", Key: "k"}); b.pipelines.spec != want || b.pipelines.audit.Actor != "admin" {
		t.Errorf("applied %+v by %+v", b.pipelines.spec, b.pipelines.audit)
	}
	w = b.call("PUT", "/api/v1/pipelines/temp", `{"query":"SELEC 1"}`)
	wantAdminError(t, w, 400, "ArgumentInvalid")
	if !strings.Contains(w.Body.String(), "1:1: unexpected SELEC") {
		t.Errorf("the place of the error is lost: %s", w.Body)
	}
	for name, body := range map[string]string{"other name": `{"name":"x","query":"q"}`, "no query": `{}`} {
		if w := b.call("PUT", "/api/v1/pipelines/temp", body); w.Code != 400 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	for _, name := range []string{"a%2Fb", "a%20b", strings.Repeat("x", 65), "a%0A"} {
		wantAdminError(t, b.call("PUT", "/api/v1/pipelines/"+name, `{"query":"q"}`), 400, "ArgumentInvalid")
	}
	if w := b.call("GET", "/api/v1/pipelines/temp/explain", ""); w.Body.String() != `{"text":"reads devices","detail":{"name":"temp"}}` {
		t.Errorf("explain: %s", w.Body)
	}
	if w := b.call("GET", "/api/v1/pipelines/temp/why?key=d1&end=2026-01-02T04:04:05%2B01:00", ""); w.Body.String() != `{"text":"temp d1"}` || !b.pipelines.end.Equal(testTime) {
		t.Errorf("why: %s %s", w.Body, b.pipelines.end)
	}
	wantAdminError(t, b.call("GET", "/api/v1/pipelines/temp/why?key=d1&end=noon", ""), 400, "ArgumentInvalid")
	if w := b.call("DELETE", "/api/v1/pipelines/temp", ""); w.Code != 204 {
		t.Errorf("delete: %d", w.Code)
	}
	wantAdminError(t, b.call("DELETE", "/api/v1/pipelines/temp", ""), 404, "NotFound")
}
