package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/device/credential"
)

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
	wantAdminError(t, b.call("GET", "/api/v1/connection-string?device=d1&module=m", ""), 404, "ModuleNotFound")
	log := b.logged.String()
	if !strings.Contains(log, "policy=service") || strings.Contains(log, b.policies["service"].Keys.Primary.Reveal()) || strings.Contains(log, testToken) {
		t.Errorf("log: %s", log)
	}
}
