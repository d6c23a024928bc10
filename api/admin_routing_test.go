package api

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// fakeRouting keeps what it is given.
type fakeRouting struct {
	status  RoutingStatus
	changes []RoutingChange
	deleted []string
	tests   []RoutingTest
	audits  []device.Audit
	fail    error // answers every call, when set
}

func (f *fakeRouting) Status(context.Context) (RoutingStatus, error) { return f.status, f.fail }

func (f *fakeRouting) Apply(_ context.Context, c RoutingChange, a device.Audit) error {
	f.changes, f.audits = append(f.changes, c), append(f.audits, a)
	for _, r := range c.Routes {
		if r.Name == "bad" {
			return fmt.Errorf("%w: route bad: its condition", device.ErrArgument)
		}
	}
	f.status.Routes = append(f.status.Routes, c.Routes...)
	return f.fail
}

func (f *fakeRouting) Delete(_ context.Context, kind, name string, a device.Audit) error {
	f.deleted, f.audits = append(f.deleted, kind+"/"+name), append(f.audits, a)
	if name == "nobody" {
		return fmt.Errorf("%w: %s", ErrNoObject, name)
	}
	return f.fail
}

func (f *fakeRouting) Test(_ context.Context, t RoutingTest) (RoutingVerdict, error) {
	f.tests = append(f.tests, t)
	return RoutingVerdict{Result: "one copy"}, f.fail
}

func TestRoutingIsManaged(t *testing.T) {
	f := &fakeRouting{}
	b := newAdminBench(t, func(o *AdminOptions) { o.Routing = f })
	for _, tt := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "", "", 200, `"routes":null`},
		{"PATCH", "", `{"routes":[{"name":"all","endpoints":["events"]}],"fallback":false}`, 200, `"name":"all"`},
		{"PATCH", "", `{"routes":[{"name":"bad","endpoints":["events"]}]}`, 400, "its condition"},
		{"PATCH", "", `{"routes":`, 400, "malformed JSON"},
		{"PATCH", "", `{"routes":"all"}`, 400, "ArgumentInvalid"},
		{"PATCH", "", `{"routes":[{"name":"` + strings.Repeat("x", maxRoutingBody) + `"}]}`, 413, ""},
		{"PUT", "", `{}`, 405, "MethodNotAllowed"},
		{"POST", "/test", `{"deviceId":"d1","body":"{}","route":{"name":"new","endpoints":["events"]}}`, 200, "one copy"},
		{"POST", "/test", `{"deviceId":"a/b"}`, 400, "deviceId"},
		{"POST", "/test", `{}`, 400, "deviceId"},
		{"GET", "/test", "", 405, ""},
		{"DELETE", "/routes/all", "", 204, ""},
		{"DELETE", "/enrichments/a%2Fb", "", 204, ""},
		{"DELETE", "/webhooks/nobody", "", 404, "NotFound"},
		{"DELETE", "/pipes/all", "", 404, ""},
	} {
		w := b.call(tt.method, "/api/v1/routing"+tt.path, tt.body)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s %s %.60s: %d %s, want %d %s", tt.method, tt.path, tt.body, w.Code, w.Body, tt.status, tt.says)
		}
	}
	if len(f.changes) != 2 || f.changes[0].Fallback == nil || *f.changes[0].Fallback || f.changes[1].Fallback != nil {
		t.Errorf("changes %+v", f.changes)
	}
	if got := strings.Join(f.deleted, " "); got != "routes/all enrichments/a/b webhooks/nobody" {
		t.Errorf("deleted %q", got)
	}
	if len(f.tests) != 1 || f.tests[0].Route == nil || f.tests[0].Body != "{}" {
		t.Errorf("tests %+v", f.tests)
	}
	for _, a := range f.audits {
		if a.Actor != "admin" || a.Credential == "" || a.Address == "" || a.RequestID == "" {
			t.Errorf("a change without its author: %+v", a)
		}
	}
	f.fail = fmt.Errorf("%w: the partitions move", ErrThrottled)
	for _, call := range [][3]string{{"GET", ""}, {"PATCH", "", `{}`}, {"DELETE", "/routes/x"}, {"POST", "/test", `{"deviceId":"d1"}`}} {
		if w := b.call(call[0], "/api/v1/routing"+call[1], call[2]); w.Code != 429 {
			t.Errorf("%s %s: %d %s", call[0], call[1], w.Code, w.Body)
		}
	}
}

func TestAHubWithoutRoutingSaysSo(t *testing.T) {
	b := newAdminBench(t)
	if w := b.call("GET", "/api/v1/routing", ""); w.Code != 501 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
