package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

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
