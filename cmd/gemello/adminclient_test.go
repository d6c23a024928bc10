package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const testToken = "0123456789abcdefghij"

// fakeAdmin answers as the admin API does and notes what it was asked.
type fakeAdmin struct {
	*httptest.Server
	data string // a data directory whose run.json leads here

	mu      sync.Mutex // guards the rest
	devices map[string]json.RawMessage
	calls   []string // "METHOD path?query body"
	headers []http.Header
}

func newFakeAdmin(t *testing.T) *fakeAdmin {
	t.Helper()
	f := &fakeAdmin{devices: make(map[string]json.RawMessage), data: t.TempDir()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/connection-string", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if p := q.Get("policy"); p == "nobody" {
			refuse(w, 404, "PolicyNotFound", "no policy nobody;\nthere are iothubowner and service")
			return
		}
		fmt.Fprintf(w, `{"connectionString":"HostName=localhost;policy=%s;device=%s;module=%s"}`, q.Get("policy"), q.Get("device"), q.Get("module"))
	})
	mux.HandleFunc("GET /api/v1/devices", f.listDevices)
	mux.HandleFunc("GET /api/v1/devices/{id}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if d, ok := f.devices[r.PathValue("id")]; ok {
			w.Write(d)
			return
		}
		refuse(w, 404, "DeviceNotFound", "no device "+r.PathValue("id"))
	})
	mux.HandleFunc("PUT /api/v1/devices/{id}", f.putDevice)
	mux.HandleFunc("DELETE /api/v1/devices/{id}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, ok := f.devices[r.PathValue("id")]; !ok {
			refuse(w, 404, "DeviceNotFound", "no device "+r.PathValue("id"))
			return
		}
		delete(f.devices, r.PathValue("id"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/api/v1/twins/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"deviceId":%q,"version":7,"big":12345678901234567890}`, r.PathValue("id"))
	})
	mux.HandleFunc("POST /api/v1/twins/{id}/methods", func(w http.ResponseWriter, r *http.Request) {
		status, ok := strings.CutPrefix(r.PathValue("id"), "d")
		if !ok {
			refuse(w, 404, "DeviceNotOnline", "the device is not online")
			return
		}
		fmt.Fprintf(w, `{"status":%s,"payload":{"ok":true}}`, status)
	})
	mux.HandleFunc("GET /api/v1/pipelines", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"pipelines":[{"name":"temperature","state":"suspended","cause":"topic\ngone","source":"devices","into":["a","b"],"partitions":[{"lag":2,"watermark":"2026-01-02T03:04:06Z"},{"lag":3,"watermark":"2026-01-02T03:04:05Z"}]}]}`)
	})
	mux.HandleFunc("PUT /api/v1/pipelines/{name}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{}`) })
	mux.HandleFunc("DELETE /api/v1/pipelines/{name}", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /api/v1/pipelines/{name}/{what}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"text":"%s of %s\nin two lines\n","detail":{"n":1}}`, r.PathValue("what"), r.PathValue("name"))
	})
	mux.HandleFunc("GET /api/v1/topics/{topic}/records", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("topic") == "none" {
			refuse(w, 404, "TopicNotFound", "no topic none")
			return
		}
		for i := range 3 {
			fmt.Fprintf(w, `{"topic":%q,"offset":%d}`+"\n\n", r.PathValue("topic"), i)
		}
	})
	f.fleet(mux)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+testToken {
			refuse(w, 401, "Unauthorized", "wrong token")
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		call := r.Method + " " + r.URL.EscapedPath()
		if r.URL.RawQuery != "" {
			call += "?" + r.URL.RawQuery
		}
		f.mu.Lock()
		f.calls = append(f.calls, strings.TrimSpace(call+" "+string(body)))
		f.headers = append(f.headers, r.Header.Clone())
		f.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	d := &dataDir{path: f.data}
	token := d.join(tokenFile)
	if err := os.WriteFile(token, []byte(testToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.writeRunInfo(&runInfo{PID: 4711, Admin: f.URL, TokenFile: token}); err != nil {
		t.Fatal(err)
	}
	return f
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	b, _ := json.Marshal(map[string]any{"error": map[string]string{"code": code, "message": message}})
	w.Write(b)
}

func (f *fakeAdmin) listDevices(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := make([]string, 0, len(f.devices))
	for id := range f.devices {
		if id > r.URL.Query().Get("after") {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	const page = 2
	out := struct {
		Devices []json.RawMessage `json:"devices"`
		Next    string            `json:"next,omitempty"`
	}{Devices: []json.RawMessage{}}
	for _, id := range ids[:min(page, len(ids))] {
		out.Devices = append(out.Devices, f.devices[id])
	}
	if len(ids) > page {
		out.Next = ids[page-1]
	}
	json.NewEncoder(w).Encode(out)
}

func (f *fakeAdmin) putDevice(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.PathValue("id")
	_, exists := f.devices[id]
	switch {
	case r.Header.Get("If-None-Match") == "*" && exists:
		refuse(w, 409, "DeviceAlreadyExists", id+" exists")
		return
	case r.Header.Get("If-Match") != "" && !exists:
		refuse(w, 404, "DeviceNotFound", "no device "+id)
		return
	}
	var d map[string]any
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil || d["deviceId"] != id {
		refuse(w, 400, "ArgumentInvalid", "body and path differ")
		return
	}
	d["generationId"], d["etag"], d["connectionState"] = "g1", "e1", "Disconnected"
	f.devices[id], _ = json.Marshal(d)
	w.Write(f.devices[id])
}

// run calls the program against this node.
func (f *fakeAdmin) run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return shell{stdin: stdin}.run(t, append(args, "--data", f.data)...)
}

func (f *fakeAdmin) called(t *testing.T, call string) http.Header {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.Index(f.calls, call)
	if i < 0 {
		t.Errorf("no call %q among %q", call, f.calls)
		return nil
	}
	return f.headers[i]
}

func TestCommandsFindTheNode(t *testing.T) {
	f := newFakeAdmin(t)
	token := filepath.Join(f.data, tokenFile)
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
	}{
		"by --data":       {args: []string{"--data", f.data}},
		"by GEMELLO_DATA": {env: map[string]string{"GEMELLO_DATA": f.data}},
		"by --admin":      {args: []string{"--admin", f.URL + "/", "--token-file", token}},
		"by --admin over run.json": {env: map[string]string{"GEMELLO_DATA": "/nonexistent"},
			args: []string{"--admin", f.URL, "--token-file", token}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := shell{env: tc.env}.run(t, append([]string{"connection-string", "--policy", "service"}, tc.args...)...)
			if code != exitDone || stdout != "HostName=localhost;policy=service;device=;module=\n" {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
		})
	}
}

func TestRefusalsAreOneLineAndExit1(t *testing.T) {
	f := newFakeAdmin(t)
	wrong := writeTemp(t, "token", "not the right token")
	gone := newFakeAdmin(t)
	gone.Server.Close()
	for name, tc := range map[string]struct {
		data  string
		args  []string
		parts []string
	}{
		"unknown device": {f.data, []string{"device", "show", "d/1"}, []string{"no device d/1", "DeviceNotFound"}},
		"two-line text":  {f.data, []string{"connection-string", "--policy", "nobody"}, []string{"no policy nobody", "there are"}},
		"wrong token":    {f.data, []string{"device", "list", "--json", "--admin", f.URL, "--token-file", wrong}, []string{"wrong token", "check --token-file"}},
		"no such route":  {f.data, []string{"pipeline", "explain", "a/b/c", "--admin", f.URL + "/elsewhere", "--token-file", filepath.Join(f.data, tokenFile)}, []string{"HTTP 404"}},
		"node is gone":   {gone.data, []string{"twin", "get", "d1"}, []string{"process 4711", "does not answer", "still running"}},
		"unknown topic":  {f.data, []string{"tail", "none"}, []string{"no topic none"}},
		"node ends tail": {f.data, []string{"tail", "t", "--limit", "9"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := shell{}.run(t, append(tc.args, "--data", tc.data)...)
			if name == "node ends tail" {
				if code != exitDone {
					t.Errorf("code %d, stderr %s", code, stderr)
				}
				return
			}
			wantOneLine(t, code, exitFailed, stdout, stderr, tc.parts...)
		})
	}
}

func TestConnectionStringForms(t *testing.T) {
	f := newFakeAdmin(t)
	for want, args := range map[string][]string{
		"HostName=localhost;policy=;device=d1;module=\n":                                  {"--device", "d1"},
		"HostName=localhost;policy=;device=d1;module=m1\n":                                {"--device", "d1", "--module", "m1"},
		"{\n  \"connectionString\": \"HostName=localhost;policy=p;device=;module=\"\n}\n": {"--policy", "p", "--json"},
	} {
		if code, stdout, stderr := f.run(t, "", append([]string{"connection-string"}, args...)...); code != exitDone || stdout != want {
			t.Errorf("%v: code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}
