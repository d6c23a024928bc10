package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

func TestCreateMakesKeysWhenEmptyAndKeepsGivenOnes(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef"))
	tests := []struct {
		name, body         string
		primary, secondary string // "" : generated
	}{
		{"nothing but the id", `{"deviceId":"d1"}`, "", ""},
		{"Node's empty strings", `{"deviceId":"d1","authentication":{"symmetricKey":{"primaryKey":"","secondaryKey":""}}}`, "", ""},
		{"null everywhere", `{"deviceId":"d1","status":null,"authentication":null,"capabilities":null,"parentScopes":null}`, "", ""},
		{"one given", `{"deviceId":"d1","authentication":{"type":"SAS","symmetricKey":{"primaryKey":"` + key + `"}}}`, key, ""},
		{"Java's form", `{"deviceId":"d1","status":"Enabled","etag":"","generationId":"","statusUpdatedTime":"0001-12-30T00:00:00","new":{"x":[1]},"authentication":{"type":"sas","symmetricKey":{"primaryKey":"` + key + `","secondaryKey":"` + key + `"}}}`, key, key},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			got := b.must(200, "PUT", "/devices/d1", tt.body)
			keys := got["authentication"].(map[string]any)["symmetricKey"].(map[string]any)
			for name, want := range map[string]string{"primaryKey": tt.primary, "secondaryKey": tt.secondary} {
				k := keys[name].(string)
				raw, err := base64.StdEncoding.DecodeString(k)
				if err != nil || want != "" && k != want || want == "" && len(raw) != 32 {
					t.Errorf("%s is %q", name, k)
				}
			}
			if keys["primaryKey"] == keys["secondaryKey"] && tt.secondary == "" {
				t.Error("both keys are the same")
			}
		})
	}
}

func TestDeviceHasTheShapeOfTheWire(t *testing.T) {
	b := newBench(t)
	w := b.do("PUT", "/devices/d1", `{"deviceId":"d1","authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"`+strings.Repeat("ab", 20)+`"}},"status":"DISABLED","statusReason":"stolen;<b>"}`)
	want := `{"deviceId":"d1","generationId":"1767323046000-3-101","etag":"MTAx","connectionState":"Disconnected","status":"disabled","statusReason":"stolen;<b>",` +
		`"connectionStateUpdatedTime":"0001-01-01T00:00:00","statusUpdatedTime":"0001-01-01T00:00:00","lastActivityTime":"0001-01-01T00:00:00",` +
		`"cloudToDeviceMessageCount":0,"capabilities":{"iotEdge":false},"deviceScope":"","parentScopes":[],` +
		`"authentication":{"type":"selfSigned","symmetricKey":{"primaryKey":null,"secondaryKey":null},"x509Thumbprint":{"primaryThumbprint":"` + strings.Repeat("AB", 20) + `","secondaryThumbprint":null}}}`
	if got := w.Body.String(); w.Code != 200 || got != want {
		t.Errorf("status %d\n got %s\nwant %s", w.Code, got, want)
	}
	if got := w.Header()["ETag"]; len(got) != 1 || got[0] != `"MTAx"` {
		t.Errorf("ETag header as spelled: %v", w.Header())
	}
}

func TestLifeOfADevice(t *testing.T) {
	b := newBench(t)
	first := b.must(200, "PUT", "/devices/d1", `{"deviceId":"d1"}`)
	key := first["authentication"].(map[string]any)["symmetricKey"]
	wantError(t, b.do("PUT", "/devices/d1", `{"deviceId":"d1"}`), 409, "DeviceAlreadyExists")

	second := b.must(200, "PUT", "/devices/d1", `{"deviceId":"d1","status":"disabled"}`, "If-Match", `"*"`)
	if fmt.Sprint(second["authentication"].(map[string]any)["symmetricKey"]) != fmt.Sprint(key) {
		t.Error("an update with empty keys changed them")
	}
	if second["generationId"] != first["generationId"] || second["etag"] == first["etag"] || second["status"] != "disabled" {
		t.Errorf("after update: %v", second)
	}
	if s := second["statusUpdatedTime"].(string); !strings.HasPrefix(s, "2026-01-02T") {
		t.Errorf("statusUpdatedTime is %s", s)
	}
	wantError(t, b.do("PUT", "/devices/d1", `{}`, "If-Match", `"`+first["etag"].(string)+`"`), 412, "PreconditionFailed")
	b.must(200, "PUT", "/devices/d1", `{}`, "If-Match", `W/"`+second["etag"].(string)+`"`)
	wantError(t, b.do("PUT", "/devices/d2", `{}`, "If-Match", "*"), 404, "DeviceNotFound")
	wantError(t, b.do("DELETE", "/devices/d1", "", "If-Match", `""`), 412, "PreconditionFailed")
	wantError(t, b.do("DELETE", "/devices/d1", "", "If-Match", "stale"), 412, "PreconditionFailed")
	if w := b.do("DELETE", "/devices/d1", ""); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	wantError(t, b.do("GET", "/devices/d1", ""), 404, "DeviceNotFound")
	wantError(t, b.do("DELETE", "/devices/d1", ""), 404, "DeviceNotFound")
	again := b.must(200, "PUT", "/devices/d1", `{}`)
	if again["generationId"] == first["generationId"] {
		t.Error("a device made again has the old generation")
	}
}

func TestInvalidDevicesAreRefused(t *testing.T) {
	tests := []struct {
		name, path, body string
		status           int
		code             string
	}{
		{"slash in the id", "/devices/a%2Fb", `{}`, 400, "ArgumentInvalid"},
		{"blank in the id", "/devices/a%20b", `{}`, 400, "ArgumentInvalid"},
		{"control character in the id", "/devices/a%0Ab", `{}`, 400, "ArgumentInvalid"},
		{"id too long", "/devices/" + strings.Repeat("x", 129), `{}`, 400, "ArgumentInvalid"},
		{"body of another device", "/devices/d1", `{"deviceId":"d2"}`, 400, "ArgumentInvalid"},
		{"id differs in case", "/devices/d1", `{"deviceId":"D1"}`, 400, "ArgumentInvalid"},
		{"unknown status", "/devices/d1", `{"status":"asleep"}`, 400, "ArgumentInvalid"},
		{"unknown authentication", "/devices/d1", `{"authentication":{"type":"magic"}}`, 400, "ArgumentInvalid"},
		{"key too short", "/devices/d1", `{"authentication":{"symmetricKey":{"primaryKey":"YWJj"}}}`, 400, "ArgumentInvalid"},
		{"key not base64", "/devices/d1", `{"authentication":{"symmetricKey":{"primaryKey":"!!!!"}}}`, 400, "ArgumentInvalid"},
		{"self-signed without thumbprint", "/devices/d1", `{"authentication":{"type":"selfSigned"}}`, 400, "ArgumentInvalid"},
		{"thumbprint no hex", "/devices/d1", `{"authentication":{"x509Thumbprint":{"primaryThumbprint":"` + strings.Repeat("zz", 20) + `"}}}`, 400, "ArgumentInvalid"},
		{"wrong JSON type", "/devices/d1", `{"status":5}`, 400, "ArgumentInvalid"},
		{"array for object", "/devices/d1", `[]`, 400, "ArgumentInvalid"},
		{"malformed", "/devices/d1", `{"status":`, 400, "IotHubFormatError"},
		{"empty", "/devices/d1", ``, 400, "IotHubFormatError"},
		{"trailing text", "/devices/d1", `{} {}`, 400, "IotHubFormatError"},
		{"too large", "/devices/d1", `{"x":"` + strings.Repeat("x", maxDeviceBody) + `"}`, 413, "MessageTooLarge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			w := b.do("PUT", tt.path, tt.body)
			wantError(t, w, tt.status, tt.code)
			if len(b.hub.devices) != 0 {
				t.Error("a device was made")
			}
			if strings.ContainsAny(w.Body.String(), "\n\r") {
				t.Errorf("unescaped control character in %q", w.Body)
			}
		})
	}
}

func TestBodyWithoutLengthIsBounded(t *testing.T) {
	b := newBench(t)
	r := httptest.NewRequest("PUT", "/devices/d1?api-version=2021-04-12", endless{})
	r.ContentLength = -1
	r.Header.Set("Authorization", b.token("iothubowner", "", time.Hour))
	w := httptest.NewRecorder()
	b.service.ServeHTTP(w, r)
	wantError(t, w, 413, "MessageTooLarge")
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestIDsInPathsEncodedOrNot(t *testing.T) {
	tests := []struct{ name, id, path string }{
		{"encoded", "dev:1@x", "/devices/dev%3A1%40x"},
		{"unencoded", "dev:1@x", "/devices/dev:1@x"},
		{"every allowed mark, encoded", "a-:.+%_#*?!(),=@;$'", "/devices/a-%3A.%2B%25_%23*%3F!()%2C%3D%40%3B%24%27"},
		{"Java's unencoded per cent", "a%41", "/devices/a%41"},
		{"case of the path does not matter", "Dev1", "/DEVICES/Dev1"},
		{"one trailing slash", "dev1", "/devices/dev1/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			body, _ := json.Marshal(map[string]string{"deviceId": tt.id})
			if got := b.must(200, "PUT", tt.path, string(body)); got["deviceId"] != tt.id {
				t.Errorf("made %v", got["deviceId"])
			}
			if got := b.must(200, "GET", tt.path, ""); got["deviceId"] != tt.id {
				t.Errorf("got %v", got["deviceId"])
			}
			if w := b.do("DELETE", tt.path, ""); w.Code != 204 {
				t.Errorf("delete: %d", w.Code)
			}
		})
	}
}

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

func TestListIsCutAtTop(t *testing.T) {
	b := newBench(t)
	for i := range 5 {
		b.must(200, "PUT", fmt.Sprintf("/devices/d%d", i), `{}`)
	}
	for query, want := range map[string]int{"": 5, "&top=2": 2, "&top=0": 5, "&top=1001": 5, "&top=x": 5} {
		w := b.do("GET", "/devices/?api-version=2021-04-12"+query, "")
		var list []map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list) != want {
			t.Errorf("%s: %d devices, want %d: %v", query, len(list), want, err)
		}
	}
	if w := newBench(t).do("GET", "/devices", ""); w.Body.String() != "[]" {
		t.Errorf("an empty list is %s", w.Body)
	}
}

func TestStatistics(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/a", `{}`)
	b.must(200, "PUT", "/devices/b", `{"status":"disabled"}`)
	if got := b.do("GET", "/statistics/devices", "").Body.String(); got != `{"totalDeviceCount":2,"enabledDeviceCount":1,"enableDeviceCount":1,"disabledDeviceCount":1}` {
		t.Error(got)
	}
	if got := b.do("GET", "/Statistics/Service/", "").Body.String(); got != `{"connectedDeviceCount":0}` {
		t.Error(got)
	}
}

func TestTwinsOverREST(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/d1", `{}`)
	first := b.must(200, "GET", "/twins/d1", "")
	if first["etag"] != "AAAAAAAAAAE=" || first["version"] != 2.0 {
		t.Errorf("a new twin: %v", first)
	}
	w := b.do("PATCH", "/twins/d1", `{"tags":{"site":"a"},"properties":{"desired":{"rate":5},"reported":{"x":1}}}`, "If-Match", `"*"`)
	var twin struct {
		Tags       map[string]any
		Properties map[string]map[string]any
	}
	if err := json.Unmarshal(w.Body.Bytes(), &twin); err != nil || w.Code != 200 {
		t.Fatalf("%d %v %s", w.Code, err, w.Body)
	}
	if twin.Tags["site"] != "a" || twin.Properties["desired"]["rate"] != 5.0 || twin.Properties["reported"]["x"] != nil {
		t.Errorf("patched: %s", w.Body)
	}
	if got := w.Header()["ETag"]; len(got) != 1 || got[0] != `"AAAAAAAAAAI="` {
		t.Errorf("etag header %v", got)
	}
	wantError(t, b.do("PATCH", "/twins/d1", `{"tags":{}}`, "If-Match", `"AAAAAAAAAAE="`), 412, "PreconditionFailed")
	wantError(t, b.do("PATCH", "/twins/d1", `{"tags":{"a.b":1}}`), 400, "ArgumentInvalid")
	wantError(t, b.do("PATCH", "/twins/d1", `{"tags":`), 400, "IotHubFormatError")
	wantError(t, b.do("PATCH", "/twins/d1", strings.Repeat(" ", device.MaxPatchBytes+1)), 413, "MessageTooLarge")
	wantError(t, b.do("GET", "/twins/nobody", ""), 404, "DeviceNotFound")

	w = b.do("POST", "/twins/d1", `{"deviceId":null,"etag":null,"tags":{},"properties":{"desired":{"mode":"x"}}}`, "X-HTTP-Method-Override", "PATCH")
	if !strings.Contains(w.Body.String(), `"mode":"x"`) || !strings.Contains(w.Body.String(), `"site":"a"`) {
		t.Errorf("Java's PATCH: %d %s", w.Code, w.Body)
	}
	w = b.do("PUT", "/twins/d1", `{"properties":{"desired":{"only":1}}}`, "If-Match", "*")
	if !strings.Contains(w.Body.String(), `"tags":{}`) || strings.Contains(w.Body.String(), `"mode"`) {
		t.Errorf("replace: %d %s", w.Code, w.Body)
	}
}

func TestBulkItemsAreIndependent(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/old", `{}`)
	w := b.do("POST", "/devices", `[
		{"id":"new","importMode":"create","tags":{"a":1},"properties":{"desired":{"b":2}}},
		{"id":"old","importMode":"Create"},
		{"id":"new","importMode":"create"},
		{"id":"bad/id","importMode":"create"},
		{"id":"gone","importMode":"Delete"},
		{"id":"odd","importMode":"explode"},
		{"id":"half","importMode":"create","tags":{"a.b":1}}]`)
	var got bulkResult
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 400 {
		t.Fatalf("%d %v %s", w.Code, err, w.Body)
	}
	var codes []string
	for _, e := range got.Errors {
		codes = append(codes, e.DeviceID+" "+e.ErrorCode)
	}
	want := "[old DeviceAlreadyExists new DeviceDefinedMultipleTimes bad/id ArgumentInvalid gone DeviceNotFound odd ArgumentInvalid]"
	if fmt.Sprint(codes) != want || got.IsSuccessful {
		t.Errorf("errors %v, want %s", codes, want)
	}
	if len(got.Warnings) != 1 || got.Warnings[0].DeviceID != "half" || got.Warnings[0].WarningCode != "DeviceRegisteredWithoutTwin" {
		t.Errorf("warnings %v", got.Warnings)
	}
	if twin := b.do("GET", "/twins/new", "").Body.String(); !strings.Contains(twin, `"tags":{"a":1}`) || !strings.Contains(twin, `"b":2`) {
		t.Errorf("twin of a bulk create: %s", twin)
	}
}

func TestBulkModes(t *testing.T) {
	b := newBench(t)
	etag := b.must(200, "PUT", "/devices/d", `{}`)["etag"].(string)
	steps := []struct {
		record string
		code   string // "" is success
	}{
		{`{"id":"d","importMode":"Update","status":"disabled","authentication":{"symmetricKey":{"primaryKey":"","secondaryKey":""}}}`, ""},
		{`{"id":"d","importMode":"UpdateIfMatchETag","eTag":"` + etag + `"}`, "PreconditionFailed"},
		{`{"id":"d","importMode":"UpdateIfMatchETag"}`, "PreconditionFailed"},
		{`{"id":"d","importMode":"UpdateIfMatchETag","eTag":"\"\""}`, "PreconditionFailed"},
		{`{"id":"d","importMode":"updateTwin","tags":{"x":1}}`, ""},
		{`{"id":"d","importMode":"updateTwinIfMatchETag","twinETag":"nope","tags":{"x":1}}`, "PreconditionFailed"},
		{`{"id":"d","importMode":"createOrUpdate"}`, ""},
		{`{"id":"e","importMode":"createOrUpdate"}`, ""},
		{`{"id":"e","moduleId":"m","importMode":"create"}`, "NotImplemented"},
		{`{"id":"d","importMode":"DeleteIfMatchETag","eTag":"nope"}`, "PreconditionFailed"},
		{`{"id":"d","importMode":"Delete"}`, ""},
	}
	for _, s := range steps {
		w := b.do("POST", "/devices/?api-version=2021-04-12", "["+s.record+"]")
		var got bulkResult
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v: %s", s.record, err, w.Body)
		}
		switch {
		case s.code == "" && (w.Code != 200 || !got.IsSuccessful):
			t.Errorf("%s: %d %s", s.record, w.Code, w.Body)
		case s.code != "" && (w.Code != 400 || len(got.Errors) != 1 || got.Errors[0].ErrorCode != s.code):
			t.Errorf("%s: %d %s, want %s", s.record, w.Code, w.Body, s.code)
		}
	}
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"id":"x"},`, 101), ",") + "]"
	wantError(t, b.do("POST", "/devices", many), 413, "TooManyDevices")
}

func TestUnknownResourcesAndMethods(t *testing.T) {
	b := newBench(t)
	wantError(t, b.do("GET", "/nothing", ""), 404, "NotFound")
	wantError(t, b.do("GET", "/", ""), 404, "NotFound")
	wantError(t, b.do("GET", "/devices//x", ""), 404, "NotFound")
	wantError(t, b.do("GET", "/devices/d/modules", ""), 501, "NotImplemented")
	w := b.do("POST", "/devices/d1", "")
	wantError(t, w, 405, "MethodNotAllowed")
	if got := w.Header().Get("Allow"); got != "GET, PUT, DELETE" {
		t.Errorf("Allow: %s", got)
	}
}

func TestErrorsOfTheHub(t *testing.T) {
	tests := []struct {
		err    error
		status int
		code   string
		number int
	}{
		{device.ErrFormat, 400, "IotHubFormatError", 400006},
		{device.ErrArgument, 400, "ArgumentInvalid", 400004},
		{device.ErrNotFound, 404, "DeviceNotFound", 404001},
		{device.ErrExists, 409, "DeviceAlreadyExists", 409001},
		{device.ErrPrecondition, 412, "PreconditionFailed", 412001},
		{device.ErrTooLarge, 413, "MessageTooLarge", 413001},
		{ErrUnauthorized, 401, "IotHubUnauthorizedAccess", 401002},
		{ErrThrottled, 429, "ThrottlingException", 429001},
		{ErrUnavailable, 503, "ServiceUnavailable", 503001},
		{ErrNotYet, 501, "NotImplemented", 501000},
		{errors.New("secret internals"), 500, "ServerError", 500001},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			b := newBench(t)
			b.hub.fail = fmt.Errorf("device d1: %w", tt.err)
			w := b.do("GET", "/devices/d1", "")
			wantError(t, w, tt.status, tt.code)
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the answer shows an internal error: %s", w.Body)
			}
			if retry := w.Header().Get("Retry-After") != ""; retry != (tt.status == 429 || tt.status == 503) {
				t.Errorf("Retry-After: %v", w.Header())
			}
			status, body := DeviceError(b.hub.fail, "t-1", testTime)
			var shape3 struct {
				ErrorCode                         int
				TrackingID, Message, TimestampUTC string
			}
			if err := json.Unmarshal(body, &shape3); err != nil || status != tt.status || shape3.ErrorCode != tt.number ||
				shape3.TrackingID != "t-1" || shape3.Message == "" || shape3.TimestampUTC != "2026-01-02T03:04:05.0000000Z" {
				t.Errorf("shape 3: %d %s %v", status, body, err)
			}
			var shape2 struct{ Message, ExceptionMessage string }
			status, body = MethodError(b.hub.fail, "t-2", testTime)
			if err := json.Unmarshal(body, &shape2); err != nil || status != tt.status || shape2.ExceptionMessage != "" {
				t.Errorf("shape 2: %d %v %v", status, shape2, err)
			}
			var inner map[string]any
			if err := json.Unmarshal([]byte(shape2.Message), &inner); err != nil || inner["errorCode"] != float64(tt.number) {
				t.Errorf("shape 2 inside: %s %v", shape2.Message, err)
			}
		})
	}
}

func TestPanicIsAnsweredAndDoesNotSpread(t *testing.T) {
	b := newBench(t)
	b.service.hub = nil
	wantError(t, b.do("GET", "/devices/d1", ""), 500, "ServerError")
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
