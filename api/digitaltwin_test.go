package api

import (
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

// report changes what a device says of itself.
func (b *bench) report(id, patch string) {
	b.t.Helper()
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	t := &b.hub.devices[device.Ref{Device: id}].Twin
	if _, err := t.ApplyReported([]byte(patch), testTime); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) digitalTwin(id string) map[string]any {
	b.t.Helper()
	w := b.do("GET", "/digitaltwins/"+id, "")
	if w.Code != 200 || len(w.Header()["ETag"]) != 1 {
		b.t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	var doc map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		b.t.Fatal(err)
	}
	return doc
}

func TestDigitalTwinShowsWhatIsAskedAndAcknowledged(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/d1", `{}`)
	b.must(200, "PATCH", "/twins/d1", `{"properties":{"desired":{"rate":5,"thermostat1":{"__t":"c","target":20.5}}}}`)
	b.report("d1", `{"serial":"s-1","rate":{"value":4,"ac":203,"av":1,"ad":"on the way"},"thermostat1":{"__t":"c","target":{"value":20.5,"ac":200,"av":2},"max":31}}`)
	doc := b.digitalTwin("d1")
	want := map[string]any{"$dtId": "d1", "serial": "s-1", "rate": 4.0}
	for name, value := range want {
		if !reflect.DeepEqual(doc[name], value) {
			t.Errorf("%s is %v, want %v", name, doc[name], value)
		}
	}
	meta := doc["$metadata"].(map[string]any)
	if _, ok := meta["$model"]; !ok {
		t.Error("no $model")
	}
	rate := meta["rate"].(map[string]any)
	for name, value := range map[string]any{"desiredValue": 5.0, "desiredVersion": 2.0, "ackValue": 4.0, "ackCode": 203.0, "ackVersion": 1.0, "ackDescription": "on the way"} {
		if rate[name] != value {
			t.Errorf("rate: %s is %v, want %v", name, rate[name], value)
		}
	}
	if s, ok := rate["lastUpdateTime"].(string); !ok || s == "" {
		t.Errorf("rate: lastUpdateTime is %v", rate["lastUpdateTime"])
	}
	component := doc["thermostat1"].(map[string]any)
	if component["target"] != 20.5 || component["max"] != 31.0 || component["__t"] != nil {
		t.Errorf("component %v", component)
	}
	if target := component["$metadata"].(map[string]any)["target"].(map[string]any); target["desiredValue"] != 20.5 || target["ackCode"] != 200.0 {
		t.Errorf("target: %v", target)
	}
	if _, ok := meta["thermostat1"]; ok {
		t.Error("a component is among the properties")
	}
}

func TestDigitalTwinPatchChangesDesiredProperties(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/d1", `{}`)
	for _, tt := range []struct{ name, patch, desired string }{
		{"property", `[{"op":"add","path":"/rate","value":5}]`, `{"rate":5}`},
		{"property of a component", `[{"op":"add","path":"/c1/target","value":20.50}]`, `{"c1":{"__t":"c","target":20.50},"rate":5}`},
		{"replace", `[{"op":"replace","path":"/c1/target","value":21},{"op":"replace","path":"/rate","value":"x"}]`, `{"c1":{"__t":"c","target":21},"rate":"x"}`},
		{"object", `[{"op":"add","path":"/map","value":{"a":1,"b":2}}]`, `{"c1":{"__t":"c","target":21},"map":{"a":1,"b":2},"rate":"x"}`},
		{"object is replaced whole", `[{"op":"replace","path":"/map","value":{"b":3}}]`, `{"c1":{"__t":"c","target":21},"map":{"b":3},"rate":"x"}`},
		{"member of an object", `[{"op":"add","path":"/map/c~1d","value":4}]`, `{"c1":{"__t":"c","target":21},"map":{"b":3,"c/d":4},"rate":"x"}`},
		{"remove", `[{"op":"remove","path":"/map"},{"op":"remove","path":"/rate"},{"op":"remove","path":"/none"},{"op":"remove","path":"/none/x"}]`, `{"c1":{"__t":"c","target":21}}`},
		{"component", `[{"op":"add","path":"/c2","value":{"x":1,"$metadata":{}}}]`, `{"c1":{"__t":"c","target":21},"c2":{"__t":"c","x":1}}`},
	} {
		w := b.do("PATCH", "/digitaltwins/d1", tt.patch, "If-Match", "*")
		if w.Code != 202 || w.Body.Len() != 0 || len(w.Header()["ETag"]) != 1 || w.Header().Get("Location") != "https://"+testHost+"/digitaltwins/d1" {
			t.Fatalf("%s: %d %v %s", tt.name, w.Code, w.Header(), w.Body)
		}
		d := b.hub.devices[device.Ref{Device: "d1"}]
		got, want := canonical(t, d.Twin.Desired.AppendDocument(nil)), canonical(t, []byte(tt.desired))
		if got != want {
			t.Errorf("%s: desired is %s, want %s", tt.name, got, want)
		}
		if w.Header()["ETag"][0] != `"`+d.Twin.ETag()+`"` {
			t.Errorf("%s: etag %v", tt.name, w.Header()["ETag"])
		}
	}
}

func canonical(t *testing.T, b []byte) string {
	t.Helper()
	o, err := parseObject(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(marshal(o))
}

// wantShape3 checks status, header and body of an error of the digital twin.
func wantShape3(t *testing.T, w *httptest.ResponseRecorder, status int, name string) {
	t.Helper()
	var body struct {
		ErrorCode           int
		TrackingID, Message string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != status || w.Header().Get("iothub-errorcode") != name ||
		body.ErrorCode/1000 != status || body.TrackingID == "" || body.Message == "" {
		t.Fatalf("status %d %s, want %d %s: %s", w.Code, w.Header().Get("iothub-errorcode"), status, name, w.Body)
	}
}

func TestDigitalTwinErrors(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/d1", `{}`)
	b.must(200, "PATCH", "/twins/d1", `{"properties":{"desired":{"rate":5}}}`)
	for _, tt := range []struct {
		path, patch, match string
		status             int
		name               string
	}{
		{"d1", `{`, "", 400, "IotHubFormatError"},
		{"d1", `{}`, "", 400, "InvalidDigitalTwinJsonPatch"},
		{"d1", `[]`, "", 400, "InvalidDigitalTwinJsonPatch"},
		{"d1", `[{"op":"move","path":"/a","from":"/b"}]`, "", 400, "InvalidDigitalTwinJsonPatch"},
		{"d1", `[{"op":"add","path":"/a"}]`, "", 400, "InvalidDigitalTwinJsonPatch"},
		{"d1", `[{"op":"add","path":"/a","value":null}]`, "", 400, "InvalidDigitalTwinJsonPatch"},
		{"d1", `[{"op":"add","value":1}]`, "", 400, "InvalidDigitalTwinJsonPatch"},
		{"d1", `[{"op":"add","path":"","value":1}]`, "", 400, "InvalidDigitalTwinPatchPath"},
		{"d1", `[{"op":"add","path":"/","value":1}]`, "", 400, "InvalidDigitalTwinPatchPath"},
		{"d1", `[{"op":"add","path":"/$metadata/x","value":1}]`, "", 400, "InvalidDigitalTwinPatchPath"},
		{"d1", `[{"op":"add","path":"/rate/x","value":1}]`, "", 400, "InvalidDigitalTwinPatchPath"},
		{"d1", `[{"op":"add","path":"/a.b","value":1}]`, "", 400, "ArgumentInvalid"},
		{"d1", `[{"op":"add","path":"/a","value":1}]`, "stale", 412, "PreconditionFailed"},
		{"nobody", `[{"op":"add","path":"/a","value":1}]`, "", 404, "DeviceNotFound"},
		{"d1", strings.Repeat(" ", device.MaxPatchBytes+1), "", 413, "MessageTooLarge"},
	} {
		wantShape3(t, b.do("PATCH", "/digitaltwins/"+tt.path, tt.patch, "If-Match", tt.match), tt.status, tt.name)
	}
	wantShape3(t, b.do("GET", "/digitaltwins/nobody", ""), 404, "DeviceNotFound")
	wantShape3(t, b.do("GET", "/digitaltwins/d1/x/y/z", ""), 404, "NotFound")
	wantShape3(t, b.do("POST", "/digitaltwins/d1/commands/c", "null"), 501, "NotImplemented")
	if got := string(b.hub.devices[device.Ref{Device: "d1"}].Twin.Desired.AppendDocument(nil)); got != `{"rate":5}` {
		t.Errorf("a refused patch changed %s", got)
	}
}

func TestDigitalTwinCommandsAreMethods(t *testing.T) {
	for _, tt := range []struct{ path, query, body, method string }{
		{"/digitaltwins/d1/commands/reboot", "", "", "reboot"},
		{"/digitaltwins/d1/commands/reboot", "&responseTimeoutInSeconds=20&connectTimeoutInSeconds=7", `{"delay":1.50}`, "reboot"},
		{"/DigitalTwins/d1/Components/thermostat1/Commands/getMaxMin", "", `"2026-01-01"`, "thermostat1*getMaxMin"},
	} {
		b, f := methodsBench(t)
		f.result = device.MethodResult{Status: 203, Payload: []byte(`{"k":1.0}`)}
		w := b.do("POST", tt.path+"?api-version=2021-04-12"+tt.query, tt.body, "Request-Id", "r-7")
		if w.Code != 200 || w.Body.String() != `{"k":1.0}` || w.Header().Get("x-ms-command-statuscode") != "203" || w.Header().Get("x-ms-request-id") != "r-7" {
			t.Errorf("%s: %d %v %s", tt.path, w.Code, w.Header(), w.Body)
		}
		got := f.calls[0]
		if got.Name != tt.method || string(got.Payload) != tt.body {
			t.Errorf("%s: %q %s", tt.path, got.Name, got.Payload)
		}
		if tt.query != "" && (got.ConnectTimeout != 7*time.Second || got.ResponseTimeout != 20*time.Second-methodMargin) {
			t.Errorf("time-outs %v %v", got.ConnectTimeout, got.ResponseTimeout)
		}
	}
	b, f := methodsBench(t)
	f.err = device.ErrNotOnline
	wantShape3(t, b.do("POST", "/digitaltwins/d1/commands/c", ""), 404, "DeviceNotOnline")
	wantShape3(t, b.do("POST", "/digitaltwins/d1/commands/c?api-version=2021-04-12&connectTimeoutInSeconds=x", ""), 400, "ArgumentInvalid")
	wantShape3(t, b.do("POST", "/digitaltwins/d1/commands/c", "{"), 400, "IotHubFormatError")
}
