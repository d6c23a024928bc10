package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

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
