package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

var shape1Tracking = regexp.MustCompile(`^Tracking ID:\S+-G:\d+-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d$`)

// wantShape1 checks the body of registry, twin, job and query errors.
func wantShape1(t *testing.T, a *answer, name string) {
	t.Helper()
	var b map[string]string
	a.into(t, &b)
	message, rest, ok := strings.Cut(b["Message"], ";")
	if len(b) != 2 || message != "ErrorCode:"+name || !ok || rest == "" || !shape1Tracking.MatchString(b["ExceptionMessage"]) {
		t.Errorf("not shape 1 of %s: %s", name, a.body)
	}
	wantErrorHeaders(t, a, name)
}

// wantShape2 checks the body of direct methods' errors.
func wantShape2(t *testing.T, a *answer, number int) {
	t.Helper()
	var b map[string]string
	a.into(t, &b)
	if exception, ok := b["ExceptionMessage"]; len(b) != 2 || !ok || exception != "" {
		t.Errorf("not shape 2: %s", a.body)
	}
	wantNumber(t, a, []byte(b["Message"]), number)
}

// wantShape3 checks the body of digital twins' errors and those over MQTT.
func wantShape3(t *testing.T, a *answer, number int) {
	t.Helper()
	wantNumber(t, a, []byte(a.body), number)
}

func wantNumber(t *testing.T, a *answer, body []byte, number int) {
	t.Helper()
	var b struct {
		ErrorCode                         int
		TrackingID, Message, TimestampUTC string
	}
	if err := json.Unmarshal(body, &b); err != nil || b.ErrorCode != number || b.TrackingID == "" || b.Message == "" {
		t.Errorf("%d %s (%v), want %d", a.status, a.body, err, number)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.0000000Z", b.TimestampUTC); err != nil {
		t.Error(err)
	}
}

// wantErrorHeaders checks what each error over HTTP has; name "" is any.
func wantErrorHeaders(t *testing.T, a *answer, name string) {
	t.Helper()
	if got := a.header.Get("iothub-errorcode"); got != name && name != "" || got == "" {
		t.Errorf("iothub-errorcode %q, want %q", got, name)
	}
	if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		t.Errorf("Content-Type %q", kind)
	}
	if a.header.Get("x-ms-request-id") == "" {
		t.Error("no x-ms-request-id")
	}
	if wait := a.header.Get("Retry-After") != ""; wait != (a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable) {
		t.Errorf("%d with Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
}
