package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const testToken = "0123456789abcdef0123456789abcdef"

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

type fakeTopics struct {
	records []TopicRecord
	err     error
	request TailRequest
}

func (f *fakeTopics) Tail(ctx context.Context, r TailRequest, visit func(*TopicRecord) error) error {
	f.request = r
	for i := range f.records {
		if err := visit(&f.records[i]); err != nil {
			return err
		}
	}
	if r.Follow {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.err
}

type fakeHealth []Component

func (f fakeHealth) Components() []Component { return f }

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

func TestProbesAndMetricsAreOpen(t *testing.T) {
	reg := prometheus.NewRegistry()
	health := fakeHealth{{Name: "log", State: Available, Critical: true}, {Name: "pipeline temperature", State: Unavailable, Cause: "topic temperature was deleted"}}
	b := newAdminBench(t, func(o *AdminOptions) {
		o.Health, o.Registerer = health, reg
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x 1\n") })
	})
	for path, want := range map[string]string{"/livez": "ok\n", "/readyz": "ok\n", "/metrics": "x 1\n"} {
		if w := b.call("GET", path, "", "Authorization", ""); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	w := b.call("GET", "/healthz?verbose", "", "Authorization", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"status":"degraded"`) || !strings.Contains(w.Body.String(), "topic temperature was deleted") {
		t.Errorf("healthz: %d %s", w.Code, w.Body)
	}
	health[0].State, health[0].Cause = Unavailable, "no answer since 03:04"
	w = b.call("GET", "/readyz", "", "Authorization", "")
	if w.Code != 503 || !strings.Contains(w.Body.String(), "no answer since 03:04") || strings.Contains(w.Body.String(), "temperature") {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	if w := b.call("GET", "/healthz", ""); w.Code != 503 {
		t.Errorf("healthz: %d", w.Code)
	}
	if w := b.call("GET", "/livez", ""); w.Code != 200 {
		t.Errorf("livez: %d", w.Code)
	}
	b.call("GET", "/api/v1/devices", "", "Authorization", "")
	if n := testutil.ToFloat64(b.admin.metrics.denied.WithLabelValues("token")); n != 1 {
		t.Errorf("%v refusals were counted", n)
	}
}

func TestAdminDevices(t *testing.T) {
	b := newAdminBench(t)
	w := b.call("PUT", "/api/v1/devices/d1", `{"status":"disabled"}`, "If-None-Match", "*")
	if w.Code != 201 || !strings.Contains(w.Body.String(), `"deviceId":"d1"`) || !strings.Contains(w.Body.String(), `"primaryKey":"`) {
		t.Fatalf("create: %d %s", w.Code, w.Body)
	}
	wantAdminError(t, b.call("PUT", "/api/v1/devices/d1", `{}`, "If-None-Match", "*"), 409, "DeviceAlreadyExists")
	wantAdminError(t, b.call("PUT", "/api/v1/devices/d1", `{}`, "If-None-Match", "*", "If-Match", "*"), 400, "ArgumentInvalid")
	if w := b.call("PUT", "/api/v1/devices/d1", `{}`); w.Code != 200 || !strings.Contains(w.Body.String(), `"status":"enabled"`) {
		t.Errorf("put of one that is there: %d %s", w.Code, w.Body)
	}
	if w := b.call("PUT", "/api/v1/devices/d%3A2", `{}`); w.Code != 201 || !strings.Contains(w.Body.String(), `"deviceId":"d:2"`) {
		t.Errorf("put of a new one: %d %s", w.Code, w.Body)
	}
	wantAdminError(t, b.call("PUT", "/api/v1/devices/d1", `{}`, "If-Match", "old"), 412, "PreconditionFailed")
	wantAdminError(t, b.call("PUT", "/api/v1/devices/nobody", `{}`, "If-Match", "*"), 404, "DeviceNotFound")
	wantAdminError(t, b.call("PUT", "/api/v1/devices/a%2Fb", `{}`), 400, "ArgumentInvalid")
	wantAdminError(t, b.call("GET", "/api/v1/devices/nobody", ""), 404, "DeviceNotFound")

	var page struct {
		Devices []struct{ DeviceID string }
		Next    string
	}
	var ids []string
	for after := ""; ; after = page.Next {
		w := b.call("GET", "/api/v1/devices?limit=1&after="+after, "")
		page.Next = ""
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Devices {
			ids = append(ids, d.DeviceID)
		}
		if page.Next == "" {
			break
		}
	}
	if fmt.Sprint(ids) != "[d1 d:2]" {
		t.Errorf("pages gave %v", ids)
	}
	wantAdminError(t, b.call("GET", "/api/v1/devices?limit=0", ""), 400, "ArgumentInvalid")

	if w := b.call("PATCH", "/api/v1/twins/d1", `{"properties":{"desired":{"rate":1}}}`); w.Code != 200 || !strings.Contains(w.Body.String(), `"rate":1`) {
		t.Errorf("twin patch: %d %s", w.Code, w.Body)
	}
	if w := b.call("GET", "/api/v1/twins/d1", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"rate":1`) {
		t.Errorf("twin: %d %s", w.Code, w.Body)
	}
	if w := b.call("DELETE", "/api/v1/devices/d1", ""); w.Code != 204 {
		t.Errorf("delete: %d", w.Code)
	}
	for _, a := range b.hub.audits {
		if a.Actor != "admin" || a.Credential != "token" || a.Address == "" || a.RequestID == "" {
			t.Errorf("audit %+v", a)
		}
	}
}

func TestConnectionStringsOverTheAdminAPI(t *testing.T) {
	b := newAdminBench(t)
	b.call("PUT", "/api/v1/devices/d1", `{}`)
	b.call("PUT", "/api/v1/devices/x1", `{"authentication":{"type":"certificateAuthority"}}`)
	get := func(query string) credential.ConnectionString {
		t.Helper()
		var out struct{ ConnectionString string }
		w := b.call("GET", "/api/v1/connection-string?"+query, "")
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		cs, err := credential.ParseConnectionString(out.ConnectionString)
		if err != nil {
			t.Fatal(err)
		}
		return cs
	}
	if cs := get("policy=service"); cs.HostName != testHost || cs.KeyName != "service" || cs.Key.Reveal() != b.policies["service"].Keys.Primary.Reveal() {
		t.Errorf("%v", cs)
	}
	if cs := get("device=d1&hostname=localhost"); cs.HostName != "localhost" || cs.DeviceID != "d1" || cs.Key.IsZero() {
		t.Errorf("%v", cs)
	}
	if cs := get("device=x1"); !cs.X509 {
		t.Errorf("%v", cs)
	}
	wantAdminError(t, b.call("GET", "/api/v1/connection-string", ""), 400, "ArgumentInvalid")
	wantAdminError(t, b.call("GET", "/api/v1/connection-string?policy=a&device=b", ""), 400, "ArgumentInvalid")
	wantAdminError(t, b.call("GET", "/api/v1/connection-string?policy=nobody", ""), 404, "NotFound")
	wantAdminError(t, b.call("GET", "/api/v1/connection-string?device=nobody", ""), 404, "DeviceNotFound")
	wantAdminError(t, b.call("GET", "/api/v1/connection-string?device=d1&module=m", ""), 501, "NotImplemented")
	log := b.logged.String()
	if !strings.Contains(log, "policy=service") || strings.Contains(log, b.policies["service"].Keys.Primary.Reveal()) || strings.Contains(log, testToken) {
		t.Errorf("log: %s", log)
	}
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

func TestTailWritesOneRecordALine(t *testing.T) {
	b := newAdminBench(t)
	b.topics.records = []TopicRecord{
		{Topic: "t", Partition: 1, Offset: 7, Timestamp: testTime, Key: []byte("d1"), Value: []byte("{\"a\": 1.10,\n \"b\":\"<é>\"}"), Headers: []RecordHeader{{"kind", []byte("telemetry")}}},
		{Topic: "t", Offset: 8, Timestamp: testTime, Value: []byte("plain\ntext")},
		{Topic: "t", Offset: 9, Timestamp: testTime, Key: []byte{0xff}, Value: []byte{0, 0xff}},
		{Topic: "t", Offset: 10, Timestamp: testTime, Key: []byte("gone")},
	}
	w := b.call("GET", "/api/v1/topics/t/records?from=start&limit=4&partition=1", "")
	want := `{"topic":"t","partition":1,"offset":7,"timestamp":"2026-01-02T03:04:05Z","key":"d1","value":{"a":1.10,"b":"<é>"},"headers":{"kind":"telemetry"}}
{"topic":"t","partition":0,"offset":8,"timestamp":"2026-01-02T03:04:05Z","key":null,"value":"plain\ntext","encoding":"text"}
{"topic":"t","partition":0,"offset":9,"timestamp":"2026-01-02T03:04:05Z","key":"/w==","keyEncoding":"base64","value":"AP8=","encoding":"base64"}
{"topic":"t","partition":0,"offset":10,"timestamp":"2026-01-02T03:04:05Z","key":"gone","value":null}
`
	if got := w.Body.String(); w.Code != 200 || got != want {
		t.Errorf("%d\n got %s\nwant %s", w.Code, got, want)
	}
	if want := (TailRequest{Topic: "t", Partition: 1, FromStart: true, Limit: 4}); b.topics.request != want {
		t.Errorf("asked for %+v", b.topics.request)
	}
}

func TestTailErrors(t *testing.T) {
	b := newAdminBench(t)
	for _, query := range []string{"from=middle", "limit=0", "limit=x", "partition=-1", "partition=9999999999", "follow=maybe"} {
		wantAdminError(t, b.call("GET", "/api/v1/topics/t/records?"+query, ""), 400, "ArgumentInvalid")
	}
	b.topics.err = fmt.Errorf("%w: topic t", ErrNoObject)
	wantAdminError(t, b.call("GET", "/api/v1/topics/t/records", ""), 404, "NotFound")

	b.topics.records = []TopicRecord{{Topic: "t", Timestamp: testTime}}
	b.topics.err = errors.New("broker lost")
	w := b.call("GET", "/api/v1/topics/t/records", "")
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if w.Code != 200 || len(lines) != 2 || !strings.Contains(lines[1], `"error":{"code":"ServerError"`) || strings.Contains(lines[1], "broker") {
		t.Errorf("an error after the first record: %d %s", w.Code, w.Body)
	}
}

func TestTailFollowsUntilTheClientGoes(t *testing.T) {
	b := newAdminBench(t)
	b.topics.records = []TopicRecord{{Topic: "t", Offset: 1, Timestamp: testTime, Value: []byte("1")}}
	server := httptest.NewServer(b.admin)
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	open := func() (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/topics/t/records?follow=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+testToken)
		return client.Do(r)
	}
	var open1 []*http.Response
	for range maxTails {
		resp, err := open()
		if err != nil {
			t.Fatal(err)
		}
		open1 = append(open1, resp)
	}
	line := make([]byte, 10)
	if _, err := io.ReadFull(open1[0].Body, line); err != nil || string(line) != `{"topic":"` {
		t.Errorf("first line %q, %v", line, err)
	}
	resp, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more than allowed: %d", resp.StatusCode)
	}
	for _, r := range open1 {
		r.Body.Close()
	}
	// The places are given back when the server has noticed.
	for {
		resp, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode == http.StatusOK {
			return
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
