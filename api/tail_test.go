package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

type fakeTopics struct {
	records []TopicRecord
	err     error
	request TailRequest
}

func (f *fakeTopics) Tail(ctx context.Context, r TailRequest, visit func(*TopicRecord) error) error {
	f.request = r
	for i := range f.records {
		if err := visit(&f.records[i]); err != nil {
			return err
		}
	}
	if r.Follow {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.err
}

func TestTailWritesOneRecordALine(t *testing.T) {
	b := newAdminBench(t)
	b.topics.records = []TopicRecord{
		{Topic: "t", Partition: 1, Offset: 7, Timestamp: testTime, Key: []byte("d1"), Value: []byte("{\"a\": 1.10,\n \"b\":\"<é>\"}"), Headers: []RecordHeader{{"kind", []byte("telemetry")}}},
		{Topic: "t", Offset: 8, Timestamp: testTime, Value: []byte("plain\ntext")},
		{Topic: "t", Offset: 9, Timestamp: testTime, Key: []byte{0xff}, Value: []byte{0, 0xff}},
		{Topic: "t", Offset: 10, Timestamp: testTime, Key: []byte("gone")},
	}
	w := b.call("GET", "/api/v1/topics/t/records?from=start&limit=4&partition=1", "")
	want := `{"topic":"t","partition":1,"offset":7,"timestamp":"2026-01-02T03:04:05Z","key":"d1","value":{"a":1.10,"b":"<é>"},"headers":{"kind":"telemetry"}}
{"topic":"t","partition":0,"offset":8,"timestamp":"2026-01-02T03:04:05Z","key":null,"value":"plain\ntext","encoding":"text"}
{"topic":"t","partition":0,"offset":9,"timestamp":"2026-01-02T03:04:05Z","key":"/w==","keyEncoding":"base64","value":"AP8=","encoding":"base64"}
{"topic":"t","partition":0,"offset":10,"timestamp":"2026-01-02T03:04:05Z","key":"gone","value":null}
`
	if got := w.Body.String(); w.Code != 200 || got != want {
		t.Errorf("%d\n got %s\nwant %s", w.Code, got, want)
	}
	if want := (TailRequest{Topic: "t", Partition: 1, FromStart: true, Limit: 4}); !reflect.DeepEqual(b.topics.request, want) {
		t.Errorf("asked for %+v", b.topics.request)
	}
}

func TestTailErrors(t *testing.T) {
	b := newAdminBench(t)
	for _, query := range []string{"from=middle", "limit=0", "limit=x", "partition=-1", "partition=9999999999", "follow=maybe"} {
		wantAdminError(t, b.call("GET", "/api/v1/topics/t/records?"+query, ""), 400, "ArgumentInvalid")
	}
	b.topics.err = fmt.Errorf("%w: topic t", ErrNoObject)
	wantAdminError(t, b.call("GET", "/api/v1/topics/t/records", ""), 404, "NotFound")

	b.topics.records = []TopicRecord{{Topic: "t", Timestamp: testTime}}
	b.topics.err = errors.New("broker lost")
	w := b.call("GET", "/api/v1/topics/t/records", "")
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if w.Code != 200 || len(lines) != 2 || !strings.Contains(lines[1], `"error":{"code":"ServerError"`) || strings.Contains(lines[1], "broker") {
		t.Errorf("an error after the first record: %d %s", w.Code, w.Body)
	}
}

func TestTailFollowsUntilTheClientGoes(t *testing.T) {
	b := newAdminBench(t)
	b.topics.records = []TopicRecord{{Topic: "t", Offset: 1, Timestamp: testTime, Value: []byte("1")}}
	server := httptest.NewServer(b.admin)
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	open := func() (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/topics/t/records?follow=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+testToken)
		return client.Do(r)
	}
	var open1 []*http.Response
	for range maxTails {
		resp, err := open()
		if err != nil {
			t.Fatal(err)
		}
		open1 = append(open1, resp)
	}
	line := make([]byte, 10)
	if _, err := io.ReadFull(open1[0].Body, line); err != nil || string(line) != `{"topic":"` {
		t.Errorf("first line %q, %v", line, err)
	}
	resp, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more than allowed: %d", resp.StatusCode)
	}
	for _, r := range open1 {
		r.Body.Close()
	}
	// The places are given back when the server has noticed.
	for {
		resp, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode == http.StatusOK {
			return
		}
	}
}
