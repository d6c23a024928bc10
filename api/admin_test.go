package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const testToken = "0123456789abcdef0123456789abcdef"

type fakeStatus struct{}

func (fakeStatus) Status(context.Context) (Status, error) {
	return Status{Version: "test", Node: "n1", Hub: "gemello", Started: testTime}, nil
}

// adminBench is an admin handler over the memory hub.
type adminBench struct {
	*bench
	admin     *Admin
	pipelines *fakePipelines
	topics    *fakeTopics
	logged    bytes.Buffer
}

func newAdminBench(t *testing.T, change ...func(*AdminOptions)) *adminBench {
	t.Helper()
	b := &adminBench{bench: newBench(t), pipelines: &fakePipelines{}, topics: &fakeTopics{}}
	o := AdminOptions{
		Token: testToken, Hosts: []string{"localhost", "127.0.0.1", "::1"}, Hostnames: []string{testHost, "localhost"},
		Hub: b.hub, Policies: b.policies, Sealer: testSealer(t), Pipelines: b.pipelines, Topics: b.topics, Status: fakeStatus{},
		Now: func() time.Time { return testTime }, Random: new(counter),
		Logger: slog.New(slog.NewTextHandler(&b.logged, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	a, err := NewAdmin(o)
	if err != nil {
		t.Fatal(err)
	}
	b.admin = a
	return b
}

func (b *adminBench) call(method, path, body string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:7080"
	r.Header.Set("Authorization", "Bearer "+testToken)
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	w := httptest.NewRecorder()
	b.admin.ServeHTTP(w, r)
	return w
}

func wantAdminError(t *testing.T, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != status || body.Error.Code != code || body.Error.Message == "" {
		t.Fatalf("status %d, want %d %s: %s (%v)", w.Code, status, code, w.Body, err)
	}
}

func TestAdminNeedsTheToken(t *testing.T) {
	b := newAdminBench(t)
	for name, value := range map[string]string{
		"none": "", "wrong": "Bearer " + strings.Repeat("x", 32), "prefix": "Bearer " + testToken[:31],
		"longer": "Bearer " + testToken + "x", "basic": "Basic " + testToken, "bare": testToken, "empty": "Bearer ",
	} {
		for _, path := range []string{"/api/v1/devices", "/api/v1/status", "/api/nothing", "/API/v1/devices"} {
			w := b.call("GET", path, "", "Authorization", value)
			wantAdminError(t, w, 401, "IotHubUnauthorizedAccess")
			if w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s: no WWW-Authenticate", name)
			}
		}
	}
	if w := b.call("GET", "/api/v1/devices", "", "Authorization", "bearer  "+testToken); w.Code != 200 {
		t.Errorf("lower-case scheme: %d", w.Code)
	}
}

func TestAdminRefusesForeignHosts(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metric 1\n") })
	b := newAdminBench(t, func(o *AdminOptions) { o.Metrics = metrics })
	for host, ok := range map[string]bool{
		"localhost": true, "LOCALHOST:7080": true, "127.0.0.1:1": true, "[::1]:7080": true, "[::1]": true,
		"evil.example.org": false, "localhost.evil.org": false, "": false, "127.0.0.2": false, "localhost:7080@evil.org": false,
	} {
		for _, path := range []string{"/api/v1/devices", "/livez", "/metrics"} {
			w := b.call("GET", path, "", "Host", host)
			if ok && w.Code != 200 {
				t.Errorf("%s %s: %d", host, path, w.Code)
			}
			if !ok {
				wantAdminError(t, w, 403, "Forbidden")
			}
		}
	}
}

func TestPartsThatAreMissing(t *testing.T) {
	b := newAdminBench(t, func(o *AdminOptions) {
		o.Hub, o.Pipelines, o.Topics, o.Status = nil, nil, nil, nil
	})
	for _, path := range []string{"devices", "devices/d", "twins/d", "pipelines", "pipelines/p/explain", "topics/t/records", "status", "connection-string?policy=x"} {
		wantAdminError(t, b.call("GET", "/api/v1/"+path, ""), 501, "NotImplemented")
	}
	for _, path := range []string{"/api/v1", "/api/v2/devices", "/api/v1/nothing", "/api/v1/devices/d/x", "/console"} {
		wantAdminError(t, b.call("GET", path, ""), 404, "NotFound")
	}
	b = newAdminBench(t)
	wantAdminError(t, b.call("POST", "/api/v1/devices/d", ""), 405, "MethodNotAllowed")
	if w := b.call("GET", "/api/v1/status", ""); !strings.Contains(w.Body.String(), `"node":"n1"`) {
		t.Errorf("status: %s", w.Body)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	b := newBench(t)
	good := AdminOptions{Token: testToken, Hosts: []string{"localhost"}}
	for name, spoil := range map[string]func(*AdminOptions){
		"short token":        func(o *AdminOptions) { o.Token = "short" },
		"no hosts":           func(o *AdminOptions) { o.Hosts = nil },
		"hub without sealer": func(o *AdminOptions) { o.Hub = b.hub },
	} {
		o := good
		spoil(&o)
		if _, err := NewAdmin(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewService(ServiceOptions{}); err == nil {
		t.Error("service without hub: accepted")
	}
	if _, err := NewService(ServiceOptions{Hub: b.hub, Policies: b.policies, Sealer: testSealer(t)}); err == nil {
		t.Error("service without host name: accepted")
	}
	reg := prometheus.NewRegistry()
	if _, err := NewAdmin(AdminOptions{Token: testToken, Hosts: []string{"localhost"}, Registerer: reg}); err != nil {
		t.Error(err)
	}
	if _, err := NewService(ServiceOptions{Hub: b.hub, Policies: b.policies, Sealer: testSealer(t), Hostnames: []string{"h"}, Registerer: reg}); err != nil {
		t.Errorf("both surfaces in one registry: %v", err)
	}
}
