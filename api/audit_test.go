package api

import (
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

func TestAuditTrailIsAViewOfTheLog(t *testing.T) {
	b := newAdminBench(t, func(o *AdminOptions) { o.AuditTopic = "gemello.device-log" })
	record := func(key, kind, actor string, after time.Duration, value string) TopicRecord {
		return TopicRecord{Topic: "gemello.device-log", Partition: 1, Timestamp: testTime.Add(after), Key: []byte(key), Value: []byte(value), Headers: []RecordHeader{
			{device.HeaderKind, []byte(kind)}, {device.HeaderActor, []byte(actor)}, {device.HeaderCredential, []byte("primary")},
			{device.HeaderAddress, []byte("192.0.2.1:5")}, {device.HeaderAudit, []byte("r-" + kind)},
		}}
	}
	b.topics.records = []TopicRecord{
		record("d1", "telemetry", "", 0, `{"t":1}`),
		record("d1", "identity", "policy:registryReadWrite", 0, "keys"),
		record("d1", "twin", "admin", time.Hour, `{"tags":{}}`),
		record("d2", "delete", "admin", time.Hour, ""),
		record("/policies", "setting", "admin", 2*time.Hour, `{"action":"put","object":"policies/x"}`),
	}
	for _, tt := range []struct{ query, want string }{
		{"", "r-identity r-twin r-delete r-setting"},
		{"?device=d1", "r-identity r-twin"},
		{"?actor=admin", "r-twin r-delete r-setting"},
		{"?since=2026-01-02T05:00:00Z", "r-setting"},
		{"?device=policies", ""},
	} {
		w := b.call("GET", "/api/v1/audit"+tt.query, "")
		var got []string
		for line := range strings.Lines(w.Body.String()) {
			_, rest, _ := strings.Cut(line, `"requestId":"`)
			id, _, _ := strings.Cut(rest, `"`)
			got = append(got, id)
		}
		if w.Code != 200 || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %d %s", tt.query, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "keys") || strings.Contains(w.Body.String(), "tags") {
			t.Errorf("a body is shown: %s", w.Body)
		}
	}
	if w := b.call("GET", "/api/v1/audit?since=yesterday", ""); w.Code != 400 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
