package api

import (
	"reflect"
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
			if strings.HasPrefix(line, `{"next":`) {
				continue
			}
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

// A page begins by time, ends with its limit and says how to go on; the record
// before it in each partition is not read again.
func TestTheAuditTrailIsReadInPages(t *testing.T) {
	b := newAdminBench(t, func(o *AdminOptions) { o.AuditTopic = "log" })
	record := func(partition int32, offset int64, kind string) TopicRecord {
		return TopicRecord{Topic: "log", Partition: partition, Offset: offset, Timestamp: testTime, Key: []byte("d1"),
			Headers: []RecordHeader{{device.HeaderKind, []byte(kind)}}}
	}
	b.topics.records = []TopicRecord{
		record(0, 7, "twin"), record(1, 3, "telemetry"), record(1, 4, "restored"), record(1, 5, "delete"), record(0, 8, "telemetry"), record(0, 9, "twin"),
	}
	for _, tt := range []struct {
		query   string
		lines   int
		next    string // the last line, "" for none
		request TailRequest
	}{
		{"", 3, "", TailRequest{Since: testTime.Add(-24 * time.Hour)}},
		{"?since=start", 3, "", TailRequest{}},
		{"?since=2026-01-02T03:00:00Z&limit=2", 2, `{"next":"0:8,1:6","since":"2026-01-02T03:00:00Z"}`, TailRequest{Since: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)}},
		{"?since=start&limit=1&after=1:3,2:9", 1, `{"next":"0:8,1:3,2:9","since":"start"}`, TailRequest{From: map[int32]int64{1: 3, 2: 9}}},
	} {
		w := b.call("GET", "/api/v1/audit"+tt.query, "")
		var lines []string
		for line := range strings.Lines(w.Body.String()) {
			lines = append(lines, strings.TrimSpace(line))
		}
		next := ""
		if n := len(lines); n > 0 && strings.HasPrefix(lines[n-1], `{"next":`) {
			next, lines = lines[n-1], lines[:n-1]
		}
		if w.Code != 200 || len(lines) != tt.lines || next != tt.next {
			t.Errorf("%s: %d %s\nwant %d lines and %s", tt.query, w.Code, w.Body, tt.lines, tt.next)
		}
		want := tt.request
		want.Topic, want.Partition, want.FromStart = "log", -1, true
		if want.From == nil {
			want.From = map[int32]int64{}
		}
		if got := b.topics.request; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %+v, want %+v", tt.query, got, want)
		}
	}
	for _, q := range []string{"limit=0", "limit=10001", "limit=x", "after=1", "after=-1:4", "since=yesterday"} {
		wantAdminError(t, b.call("GET", "/api/v1/audit?"+q, ""), 400, "ArgumentInvalid")
	}
}
