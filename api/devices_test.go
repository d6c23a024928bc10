package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
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

// TestETagIsSpelledOnTheWire reads the raw answer: Java's client looks for the
// exact spelling.
func TestETagIsSpelledOnTheWire(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/d1", `{}`)
	server := httptest.NewServer(b.service)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /devices/d1?api-version=2021-04-12 HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: %s\r\n\r\n",
		testHost, b.token("iothubowner", "", time.Hour))
	raw, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(raw), "\r\nETag: \"MTAx\"\r\n") {
		t.Errorf("%v: %s", err, raw)
	}
}
