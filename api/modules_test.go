package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestModulesAreCreatedReadUpdatedAndDeleted(t *testing.T) {
	b := newBench(t)
	const path = "/devices/d1/modules/m1"
	wantError(t, b.do("PUT", path, `{}`), 404, "DeviceNotFound")
	b.must(200, "PUT", "/devices/d1", `{"deviceId":"d1"}`)
	wantError(t, b.do("GET", path, ""), 404, "ModuleNotFound")
	made := b.must(201, "PUT", path, `{"deviceId":"d1","moduleId":"m1","managedBy":"fleet","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`)
	if made["moduleId"] != "m1" || made["managedBy"] != "fleet" || made["deviceId"] != "d1" {
		t.Errorf("made %v", made)
	}
	for _, member := range []string{"status", "capabilities", "deviceScope", "parentScopes"} {
		if v, ok := made[member]; ok {
			t.Errorf("a module has %s: %v", member, v)
		}
	}
	key := func(m map[string]any) any {
		return m["authentication"].(map[string]any)["symmetricKey"].(map[string]any)["primaryKey"]
	}
	device := b.must(200, "GET", "/devices/d1", "")
	if key(made) == nil || key(made) == key(device) {
		t.Errorf("the module's key %v is not its own", key(made))
	}
	wantError(t, b.do("PUT", path, `{}`), 409, "ModuleAlreadyExistsOnDevice")
	wantError(t, b.do("PUT", path, `{}`, "If-Match", `"other"`), 412, "PreconditionFailed")
	wantError(t, b.do("PUT", path, `{"moduleId":"m2"}`, "If-Match", `*`), 400, "ArgumentInvalid")
	updated := b.must(200, "PUT", path, `{"managedBy":"other"}`, "If-Match", `"`+made["etag"].(string)+`"`)
	if updated["managedBy"] != "other" || key(updated) != key(made) {
		t.Errorf("updated %v", updated)
	}
	b.must(201, "PUT", "/devices/d1/modules/m0", `{}`)
	w := b.do("GET", "/devices/d1/modules", "")
	var list []struct{ ModuleID string }
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list) != 2 || list[0].ModuleID != "m0" || list[1].ModuleID != "m1" {
		t.Errorf("list %s, %v", w.Body, err)
	}
	if w := b.do("DELETE", path, "", "If-Match", `"*"`); w.Code != http.StatusNoContent || w.Body.Len() > 0 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	wantError(t, b.do("DELETE", path, ""), 404, "ModuleNotFound")
	wantError(t, b.do("GET", "/devices/d9/modules", ""), 404, "DeviceNotFound")
}

func TestModuleTwinsFollowTheRulesOfTwins(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/d1", `{}`)
	b.must(201, "PUT", "/devices/d1/modules/m1", `{}`)
	const path = "/twins/d1/modules/m1"
	twin := b.must(200, "PATCH", path, `{"tags":{"a":1},"properties":{"desired":{"rate":5}}}`)
	if twin["moduleId"] != "m1" || twin["deviceId"] != "d1" || twin["version"] != float64(3) {
		t.Errorf("twin %v", twin)
	}
	if own := b.must(200, "GET", "/twins/d1", ""); own["version"] != float64(2) || own["moduleId"] != nil {
		t.Errorf("the device's twin %v", own)
	}
	wantError(t, b.do("PATCH", path, `{"tags":{"a":2}}`, "If-Match", `"abc"`), 412, "PreconditionFailed")
	twin = b.must(200, "PUT", path, `{"properties":{"desired":{"x":1}}}`, "If-Match", `"`+twin["etag"].(string)+`"`)
	if len(twin["tags"].(map[string]any)) != 0 {
		t.Errorf("replaced twin %v", twin)
	}
	wantError(t, b.do("GET", "/twins/d1/modules/m2", ""), 404, "ModuleNotFound")
}

func TestBulkTakesModules(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/d1", `{}`)
	b.must(200, "POST", "/devices", `[{"id":"d1","moduleId":"m1","importMode":"create","managedBy":"x","tags":{"a":1}},{"id":"d1","moduleId":"m2","importMode":"Create"},{"id":"d1","importMode":"updateTwin","tags":{"b":1}}]`)
	if m := b.must(200, "GET", "/twins/d1/modules/m1", ""); m["tags"].(map[string]any)["a"] != float64(1) {
		t.Errorf("twin %v", m)
	}
	w := b.do("POST", "/devices", `[{"id":"d1","moduleId":"m1","importMode":"create"},{"id":"d1","moduleId":"m2","importMode":"delete"},{"id":"d1","moduleId":"m2","importMode":"delete"}]`)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "ModuleAlreadyExistsOnDevice") || !strings.Contains(w.Body.String(), "DeviceDefinedMultipleTimes") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	wantError(t, b.do("GET", "/devices/d1/modules/m2", ""), 404, "ModuleNotFound")
}

func TestModuleIDsThatLookEncodedAreFound(t *testing.T) {
	b := newBench(t)
	b.must(200, "PUT", "/devices/d1", `{}`)
	b.must(201, "PUT", "/devices/d1/modules/m%2541", `{}`)
	if m := b.must(200, "GET", "/devices/d1/modules/m%41", ""); m["moduleId"] != "m%41" {
		t.Errorf("%v", m)
	}
	wantError(t, b.do("PUT", "/devices/d1/modules/a%2Fb", `{}`), 400, "ArgumentInvalid")
}
