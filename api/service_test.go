package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

func TestAPIVersionIsNeeded(t *testing.T) {
	b := newBench(t)
	for query, ok := range map[string]bool{
		"?x=1": false, "?api-version=": false, "?api-version=2099-01-01": false,
		"?api-version=2016-02-03": true, "?api-version=2020-05-31-preview": true, "?api-version=2021-04-12": true,
	} {
		w := b.do("GET", "/devices/"+query, "")
		if ok && w.Code != 200 {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
		if !ok {
			wantError(t, w, 400, "InvalidProtocolVersion")
		}
	}
}

func TestAuthorization(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/d1", `{}`)
	other, err := credential.NewKeys(&counter{n: 99})
	if err != nil {
		t.Fatal(err)
	}
	sign := b.token
	tests := []struct {
		name, token, method, path string
		ok                        bool
	}{
		{"owner", sign("iothubowner", "", 1), "GET", "/devices/d1", true},
		{"audience of the path", sign("iothubowner", "/devices/d1", 1), "GET", "/devices/d1", true},
		{"audience with api-version", sign("iothubowner", "/api-version=2016-11-14", 1), "GET", "/devices/d1", true},
		{"secondary key", credential.Sign("LOCALHOST", testTime.Add(1), b.policies["iothubowner"].Keys.Secondary, "iothubowner"), "GET", "/devices/d1", true},
		{"audience of another device", sign("iothubowner", "/devices/d11", 1), "GET", "/devices/d1", false},
		{"audience that is no segment prefix", sign("iothubowner", "/dev", 1), "GET", "/devices/d1", false},
		{"audience of another host", credential.Sign("evil.example.org", testTime.Add(1), b.policies["iothubowner"].Keys.Primary, "iothubowner"), "GET", "/devices/d1", false},
		{"expired", sign("iothubowner", "", -time.Second), "GET", "/devices/d1", false},
		{"wrong key", credential.Sign(testHost, testTime.Add(1), other.Primary, "iothubowner"), "GET", "/devices/d1", false},
		{"key of another policy", credential.Sign(testHost, testTime.Add(1), b.policies["service"].Keys.Primary, "iothubowner"), "GET", "/devices/d1", false},
		{"unknown policy", credential.Sign(testHost, testTime.Add(1), b.policies["service"].Keys.Primary, "nobody"), "GET", "/devices/d1", false},
		{"unknown policy, empty key", credential.Sign(testHost, testTime.Add(1), credential.Key{}, "nobody"), "GET", "/devices/d1", false},
		{"no policy", credential.Sign(testHost, testTime.Add(1), credential.Key{}, ""), "GET", "/devices/d1", false},
		{"none", "", "GET", "/devices/d1", false},
		{"bearer", "Bearer eyJ0eXAi", "GET", "/devices/d1", false},
		{"registryRead reads", sign("registryRead", "", 1), "GET", "/devices/d1", true},
		{"registryRead statistics", sign("registryRead", "", 1), "GET", "/statistics/devices", true},
		{"registryRead does not write", sign("registryRead", "", 1), "DELETE", "/devices/d1", false},
		{"registryRead reads no twins", sign("registryRead", "", 1), "GET", "/twins/d1", false},
		{"service reads twins", sign("service", "", 1), "GET", "/twins/d1", true},
		{"service reads no keys", sign("service", "", 1), "GET", "/devices/d1", false},
		{"device does nothing here", sign("device", "", 1), "GET", "/devices/d1", false},
		{"registryReadWrite writes", sign("registryReadWrite", "", 1), "DELETE", "/devices/d1", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := b.do(tt.method, tt.path, "", "Authorization", tt.token)
			if !tt.ok {
				wantError(t, w, 401, "IotHubUnauthorizedAccess")
			} else if w.Code/100 != 2 {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), "sig") {
				t.Errorf("the answer repeats the token: %s", w.Body)
			}
		})
	}
}

func TestAuditFieldsReachTheHub(t *testing.T) {
	b := newBench(t)
	r := httptest.NewRequest("PUT", "/devices/d1?api-version=2021-04-12", strings.NewReader(`{}`))
	r.RemoteAddr = "127.0.0.9:5555"
	r.Header.Set("Authorization", b.token("registryReadWrite", "", 1))
	r.Header.Set("Request-Id", "req-77")
	w := httptest.NewRecorder()
	b.service.ServeHTTP(w, r)
	want := device.Audit{Actor: "policy:registryReadWrite", Credential: "primary", Address: "127.0.0.9:5555", RequestID: "req-77"}
	if len(b.hub.audits) != 1 || b.hub.audits[0] != want {
		t.Errorf("audit %+v, want %+v", b.hub.audits, want)
	}
	if got := w.Header().Get("x-ms-request-id"); got != "req-77" {
		t.Errorf("x-ms-request-id is %q", got)
	}
	w = b.do("GET", "/devices/d1", "", "Request-Id", "a\x01b"+strings.Repeat("x", 300))
	if got := w.Header().Get("x-ms-request-id"); len(got) != 32 {
		t.Errorf("a hostile request id was answered with %q", got)
	}
}

func TestUnknownResourcesAndMethods(t *testing.T) {
	b := newBench(t)
	wantError(t, b.do("GET", "/nothing", ""), 404, "NotFound")
	wantError(t, b.do("GET", "/", ""), 404, "NotFound")
	wantError(t, b.do("GET", "/devices//x", ""), 404, "NotFound")
	w := b.do("POST", "/devices/d1", "")
	wantError(t, w, 405, "MethodNotAllowed")
	if got := w.Header().Get("Allow"); got != "GET, PUT, DELETE" {
		t.Errorf("Allow: %s", got)
	}
}

func FuzzService(f *testing.F) {
	f.Add("PUT", "/devices/d1", `{"deviceId":"d1"}`, "*")
	f.Add("POST", "/devices", `[{"id":"a","importMode":"create"}]`, "")
	f.Add("PATCH", "/twins/d1", `{"tags":{"a":null}}`, `W/"x"`)
	f.Fuzz(func(t *testing.T, method, path, body, match string) {
		r, err := http.NewRequest(method, "https://hub", strings.NewReader(body))
		if err != nil {
			return
		}
		r.URL.Path, r.URL.RawQuery = path, "api-version=2021-04-12"
		b := newBench(t)
		r.Header.Set("Authorization", b.token("iothubowner", "", time.Hour))
		r.Header["If-Match"] = []string{match}
		w := httptest.NewRecorder()
		b.service.ServeHTTP(w, r)
		if w.Code == 500 {
			t.Errorf("%s %q: %s", method, path, w.Body)
		}
		if w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("not JSON: %s", w.Body)
		}
	})
}
