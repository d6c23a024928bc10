package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gemello/gemello/device"
)

// fakeMethods answers calls; a call waits for hold, when set.
type fakeMethods struct {
	mu     sync.Mutex // guards calls
	calls  []device.MethodCall
	ids    []string
	result device.MethodResult
	err    error
	hold   chan struct{}
}

func (f *fakeMethods) InvokeMethod(_ context.Context, ref device.Ref, c device.MethodCall) (device.MethodResult, error) {
	id := ref.String()
	f.mu.Lock()
	f.calls = append(f.calls, c)
	f.ids = append(f.ids, id)
	f.mu.Unlock()
	if f.hold != nil {
		<-f.hold
	}
	return f.result, f.err
}

func methodsBench(t *testing.T) (*bench, *fakeMethods) {
	b := newBench(t)
	f := &fakeMethods{result: device.MethodResult{Status: 200, Payload: []byte("null")}}
	b.service.methods = f
	return b, f
}

func TestMethodPayloadsPassExactly(t *testing.T) {
	b, f := methodsBench(t)
	for _, payload := range []string{"null", `""`, `"foo"`, "{}", `{"k":1.50}`, "[]", "0", "false", `"<&>"`} {
		f.result = device.MethodResult{Status: -3, Payload: []byte(payload)}
		w := b.do("POST", "/twins/dev%3A1/methods", `{"methodName":"a*b","payload":`+payload+`,"responseTimeoutInSeconds":20,"connectTimeoutInSeconds":7}`)
		if w.Code != 200 || w.Body.String() != `{"status":-3,"payload":`+payload+`}` || w.Header().Get("Content-Type") != jsonType {
			t.Errorf("%s: %d %s", payload, w.Code, w.Body)
		}
		got := f.calls[len(f.calls)-1]
		if string(got.Payload) != payload || got.Name != "a*b" || f.ids[len(f.ids)-1] != "dev:1" {
			t.Errorf("the hub got %s %q of %s", got.Payload, got.Name, f.ids[len(f.ids)-1])
		}
		if got.ConnectTimeout != 7*time.Second || got.ResponseTimeout != 20*time.Second-methodMargin {
			t.Errorf("time-outs %v %v", got.ConnectTimeout, got.ResponseTimeout)
		}
	}
	// What is left out has its default (Python).
	b.must(200, "POST", "/twins/d/methods", `{"methodName":"m"}`)
	if got := f.calls[len(f.calls)-1]; len(got.Payload) != 0 || got.ConnectTimeout != 0 || got.ResponseTimeout != 30*time.Second-methodMargin {
		t.Errorf("defaults: %+v", got)
	}
}

// wantShape2 checks status, header and the body of a direct method's error.
func wantShape2(t *testing.T, w *httptest.ResponseRecorder, status, number int, name string) {
	t.Helper()
	if w.Code != status || w.Header().Get("iothub-errorcode") != name {
		t.Fatalf("status %d %s, want %d %s: %s", w.Code, w.Header().Get("iothub-errorcode"), status, name, w.Body)
	}
	var outer struct{ Message, ExceptionMessage *string }
	if err := json.Unmarshal(w.Body.Bytes(), &outer); err != nil || outer.Message == nil || outer.ExceptionMessage == nil || *outer.ExceptionMessage != "" {
		t.Fatalf("not shape 2: %v %s", err, w.Body)
	}
	var inner struct {
		ErrorCode                         int
		TrackingID, Message, TimestampUTC string
	}
	if err := json.Unmarshal([]byte(*outer.Message), &inner); err != nil || inner.ErrorCode != number || inner.TrackingID == "" || inner.Message == "" || inner.TimestampUTC == "" {
		t.Fatalf("inner error %v: %s", err, *outer.Message)
	}
}

func TestMethodErrorsHaveShape2(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		number int
		name   string
	}{
		{device.ErrNotFound, 404, 404001, "DeviceNotFound"},
		{device.ErrNotOnline, 404, 404103, "DeviceNotOnline"},
		{device.ErrConnection, 404, 404104, "DeviceConnectionClosedRemotely"},
		{device.ErrNoAnswer, 504, 504101, "GatewayTimeout"},
		{device.ErrBadAnswer, 502, 502000, "InvalidResponseWhileProxying"},
		{ErrThrottled, 429, 429001, "ThrottlingException"},
		{ErrUnavailable, 503, 503001, "ServiceUnavailable"},
	} {
		b, f := methodsBench(t)
		f.err = fmt.Errorf("method of device d: %w", tt.err)
		wantShape2(t, b.do("POST", "/twins/d/methods", `{"methodName":"m"}`), tt.status, tt.number, tt.name)
	}
}

func TestBadMethodRequestsNeverReachTheHub(t *testing.T) {
	b, f := methodsBench(t)
	for _, tt := range []struct {
		body   string
		status int
		number int
		name   string
	}{
		{"", 400, 400006, "IotHubFormatError"},
		{"{", 400, 400006, "IotHubFormatError"},
		{"{}", 400, 400005, "ArgumentNull"},
		{`{"methodName":5}`, 400, 400004, "ArgumentInvalid"},
		{`{"methodName":"` + strings.Repeat("m", device.MaxMethodName+1) + `"}`, 400, 400004, "ArgumentInvalid"},
		{`{"methodName":"m","responseTimeoutInSeconds":4}`, 400, 400004, "ArgumentInvalid"},
		{`{"methodName":"m","responseTimeoutInSeconds":301}`, 400, 400004, "ArgumentInvalid"},
		{`{"methodName":"m","connectTimeoutInSeconds":301}`, 400, 400004, "ArgumentInvalid"},
		{`{"methodName":"m","connectTimeoutInSeconds":-1}`, 400, 400004, "ArgumentInvalid"},
		{`{"methodName":"m","payload":"` + strings.Repeat("x", device.MaxMethodPayload-1) + `"}`, 413, 413001, "MessageTooLarge"},
		{`{"methodName":"m","payload":"` + strings.Repeat("x", maxMethodBody) + `"}`, 413, 413001, "MessageTooLarge"},
	} {
		wantShape2(t, b.do("POST", "/twins/d/methods", tt.body), tt.status, tt.number, tt.name)
	}
	wantShape2(t, b.do("POST", "/twins/d/methods", "{}", "Authorization", "x"), 401, 401002, "IotHubUnauthorizedAccess")
	wantShape2(t, b.do("POST", "/twins/d/methods", "{}", "Authorization", b.token("registryReadWrite", "", 1)), 401, 401002, "IotHubUnauthorizedAccess")
	wantShape2(t, b.do("POST", "/twins/d/methods?x=1", "{}"), 400, 400001, "InvalidProtocolVersion")
	wantShape2(t, b.do("GET", "/twins/d/methods", ""), 405, 405000, "MethodNotAllowed")
	if len(f.calls) != 0 {
		t.Errorf("%d calls", len(f.calls))
	}
	b.must(200, "POST", "/twins/d/methods", `{"methodName":"m","payload":"`+strings.Repeat("x", device.MaxMethodPayload-2)+`"}`)
}

// A request that is repeated while the first is open makes the device act once,
// even if the first one's client has gone; requests that only share the id don't
// join.
func TestRepeatedMethodRequestJoinsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := methodsBench(t)
		f.hold = make(chan struct{})
		const body = `{"methodName":"m"}`
		answers := make(chan int, 8)
		send := func(ctx context.Context, device, id, body string) {
			r := httptest.NewRequest("POST", "https://"+testHost+"/twins/"+device+"/methods?api-version=2021-04-12", strings.NewReader(body)).WithContext(ctx)
			r.Header.Set("Authorization", b.token("iothubowner", "", time.Hour))
			if id != "" {
				r.Header.Set("Request-Id", id)
			}
			w := httptest.NewRecorder()
			b.service.ServeHTTP(w, r)
			answers <- w.Code
		}
		calls := func() int {
			synctest.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.calls)
		}
		first, gone := context.WithCancel(t.Context())
		go send(first, "d", "r1", body)
		if n := calls(); n != 1 {
			t.Fatalf("%d calls after the first request", n)
		}
		gone()
		go send(t.Context(), "d", "r1", body)
		if n := calls(); n != 1 {
			t.Errorf("%d calls after the same request", n)
		}
		go send(t.Context(), "d", "r1", `{"methodName":"n"}`)
		go send(t.Context(), "d", "r2", body)
		go send(t.Context(), "e", "r1", body)
		go send(t.Context(), "d", "", body)
		go send(t.Context(), "d", "", body)
		if n := calls(); n != 6 {
			t.Errorf("%d calls after five other requests", n)
		}
		close(f.hold)
		for range 7 {
			if code := <-answers; code != 200 {
				t.Errorf("status %d", code)
			}
		}
		if n := len(b.service.open.m); n != 0 {
			t.Errorf("%d calls are kept", n)
		}
	})
}
