package https

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHub admits tokens "good" and certificates, and is its own device.
type fakeHub struct {
	known    string // the only device, if any
	seen     ingest.Credentials
	messages []ingest.Message
	delivery *device.Delivery
	settled  []string
	err      error
}

func (f *fakeHub) Admit(_ context.Context, c ingest.Credentials) (Device, error) {
	f.seen = c
	if c.Token != "good" && len(c.PeerCertificates) == 0 || f.known != "" && c.DeviceID != f.known {
		return nil, fmt.Errorf("%w: of a test", ingest.ErrUnauthorized)
	}
	return f, nil
}

func (f *fakeHub) Publish(_ context.Context, m []ingest.Message) error {
	f.messages = append(f.messages, m...)
	return f.err
}

func (f *fakeHub) Receive(context.Context) (*device.Delivery, error) { return f.delivery, f.err }

func (f *fakeHub) Settle(_ context.Context, lock string, o device.Outcome) error {
	f.settled = append(f.settled, o.String()+" "+lock)
	return f.err
}

const version = "api-version=2021-04-12"

func ask(t *testing.T, f *fakeHub, method, target, body string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "good")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	New(Options{Hub: f}).ServeHTTP(w, r)
	return w.Result()
}

func TestHandlesTellsDevicesFromServices(t *testing.T) {
	for path, want := range map[string]bool{
		"/devices/d/messages/events":                    true,
		"/Devices/d/Messages/deviceBound/":              true,
		"/devices/d/modules/m/messages/events":          true,
		"/devices/d%2Fmessages/x":                       false,
		"/devices/d":                                    false,
		"/devices/messages":                             false,
		"/devices/d/modules/messages":                   false,
		"/devices/d/commands":                           false,
		"/twins/d/messages":                             false,
		"/messages/servicebound/feedback":               false,
		"/devices/query":                                false,
		"/devices/d/modules/m":                          false,
		"/":                                             false,
		"/devices/messages/messages/devicebound/t/x/yz": true,
	} {
		if got := Handles(httptest.NewRequest("GET", path, nil)); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestSendTakesBodyAndPropertyHeaders(t *testing.T) {
	f := &fakeHub{}
	res := ask(t, f, "POST", "/devices/d%201/messages/events?"+version, "hi",
		"IoTHub-MessageId", "m 1", "IoTHub-CorrelationId", "c&1", "iothub-contenttype", "application/json",
		"iothub-contentencoding", "utf-8", "IoTHub-UserId", "u", "IoTHub-Ack", "full", "IoTHub-Expiry", "2026-01-02T03:04:05Z",
		"iothub-app-Level", "a=b/ü", "iothub-app-x", "", "dt-subject", "comp", "iothub-to", "/devices/d/messages/events", "iothub-interface-id", "i")
	if res.StatusCode != 204 {
		t.Fatal(res.Status)
	}
	want := "%24.ce=utf-8&%24.cid=c%261&%24.ct=application%2Fjson&%24.exp=2026-01-02T03%3A04%3A05Z&%24.ifid=i&%24.mid=m%201&%24.sub=comp&%24.uid=u&iothub-ack=full&level=a%3Db%2F%C3%BC&x="
	if len(f.messages) != 1 || string(f.messages[0].Body) != "hi" || f.messages[0].Bag != want {
		t.Errorf("%+v, want bag %s", f.messages, want)
	}
	if f.seen.DeviceID != "d 1" || f.seen.Protocol != "https" || f.seen.Token != "good" || f.seen.Remote.String() != "192.0.2.1:1234" {
		t.Errorf("credentials %+v", f.seen)
	}
}

func TestSendOfAModuleAndWithACertificate(t *testing.T) {
	f := &fakeHub{}
	r := httptest.NewRequest("POST", "/devices/d/modules/m/messages/events?"+version, strings.NewReader(""))
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
	w := httptest.NewRecorder()
	New(Options{Hub: f}).ServeHTTP(w, r)
	if w.Code != 204 || f.seen.ModuleID != "m" || len(f.seen.PeerCertificates) != 1 || f.seen.Token != "" {
		t.Errorf("%d, %+v", w.Code, f.seen)
	}
}

func TestLatin1OfNodeBecomesText(t *testing.T) {
	if got := text("caf\xe9"); got != "café" {
		t.Error(got)
	}
}

func TestErrorsHaveStatusNameAndShape(t *testing.T) {
	const events = "/devices/d/messages/events?" + version
	for _, tc := range []struct {
		name, method, target, body string
		headers                    []string
		err                        error
		status                     int
		code                       string
	}{
		{"no api-version", "POST", "/devices/d/messages/events", "", nil, nil, 400, "InvalidProtocolVersion"},
		{"unknown api-version", "POST", "/devices/d/messages/events?api-version=1", "", nil, nil, 400, "InvalidProtocolVersion"},
		{"no credential", "POST", events, "", []string{"Authorization", ""}, nil, 401, "IotHubUnauthorizedAccess"},
		{"unknown path", "POST", "/devices/d/messages/other?" + version, "", nil, nil, 404, "NotFound"},
		{"module without queue", "GET", "/devices/d/modules/m/messages/devicebound?" + version, "", nil, nil, 404, "NotFound"},
		{"method", "PUT", events, "", nil, nil, 405, "MethodNotAllowed"},
		{"deleted meanwhile", "POST", events, "", nil, ingest.ErrNotFound, 404, "DeviceNotFound"},
		{"body too large", "POST", events, strings.Repeat("x", ingest.MaxMessage+1), nil, nil, 413, "MessageTooLarge"},
		{"body and properties too large", "POST", events, strings.Repeat("x", ingest.MaxMessage-2), []string{"iothub-app-k", "vvv"}, nil, 413, "MessageTooLarge"},
		{"property without name", "POST", events, "", []string{"iothub-app-", "v"}, nil, 400, "ArgumentInvalid"},
		{"batch that is no JSON", "POST", events, `[{"body":"` + "\n", []string{"Content-Type", batchType}, nil, 400, "ArgumentInvalid"},
		{"throttled", "POST", events, "", nil, &ingest.Throttled{What: "x", Wait: 1500 * time.Millisecond}, 429, "ThrottlingException"},
		{"busy", "POST", events, "", nil, ingest.ErrBusy, 503, "ServiceUnavailable"},
		{"too slow", "POST", events, "", nil, context.DeadlineExceeded, 503, "ServiceUnavailable"},
		{"a fault", "POST", events, "", nil, errors.New("secret"), 500, "ServerError"},
		{"lost lock", "DELETE", "/devices/d/messages/devicebound/t?" + version, "", nil, device.ErrLockLost, 412, "DeviceMessageLockLost"},
		{"another lock in If-Match", "DELETE", "/devices/d/messages/devicebound/t?" + version, "", []string{"If-Match", `"u"`}, nil, 412, "DeviceMessageLockLost"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := ask(t, &fakeHub{err: tc.err}, tc.method, tc.target, tc.body, tc.headers...)
			var e struct{ Message, ExceptionMessage string }
			b, _ := io.ReadAll(res.Body)
			if err := json.Unmarshal(b, &e); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			if res.StatusCode != tc.status || res.Header.Get("iothub-errorcode") != tc.code || !strings.HasPrefix(e.Message, "ErrorCode:"+tc.code+";") || e.ExceptionMessage == "" {
				t.Errorf("%s, %s, %s", res.Status, res.Header.Get("iothub-errorcode"), b)
			}
			if strings.Contains(string(b), "secret") {
				t.Errorf("the client learns the cause of a fault: %s", b)
			}
			if got, want := res.Header.Get("Retry-After"), map[int]string{429: "2", 503: "2"}[tc.status]; got != want {
				t.Errorf("Retry-After %q, want %q", got, want)
			}
		})
	}
}

func TestReceiveGivesBodyAndHeaders(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := &fakeHub{delivery: &device.Delivery{
		Command: device.Command{Sequence: 7, Lock: "t-1", Deliveries: 2, Enqueued: at, Expires: at.Add(time.Hour)},
		Content: device.Content{Body: []byte("do"), Bag: "%24.mid=m%201&%24.cid=c&%24.to=x&%24.uid=u&iothub-ack=full&Alarm=a%0Ab&a%20b=%C3%BC"},
	}}
	res := ask(t, f, "GET", "/devices/d/messages/deviceBound/?"+version, "")
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != 200 || string(b) != "do" {
		t.Fatalf("%s %s", res.Status, b)
	}
	got := map[string]string{}
	for k, v := range res.Header {
		got[k] = strings.Join(v, ",")
	}
	for k, want := range map[string]string{
		"ETag": `"t-1"`, "iothub-messageid": "m 1", "iothub-correlationid": "c", "iothub-userid": "u", "iothub-ack": "full",
		"iothub-to": "/devices/d/messages/deviceBound", "iothub-expiry": "2026-01-02T04:04:05.0000000Z",
		"iothub-enqueuedtime": "2026-01-02T03:04:05.0000000Z", "iothub-sequencenumber": "7", "iothub-deliverycount": "2",
		"iothub-app-Alarm": "a%0Ab", "iothub-app-a%20b": "ü",
	} {
		if got[k] != want {
			t.Errorf("%s: %q, want %q", k, got[k], want)
		}
	}
	f.delivery = nil
	if res := ask(t, f, "GET", "/devices/d/messages/devicebound?"+version, ""); res.StatusCode != 204 {
		t.Errorf("an empty queue: %s", res.Status)
	}
}

func TestSettleByPathAndQuery(t *testing.T) {
	f := &fakeHub{}
	const base = "/devices/d/messages/devicebound/"
	for _, r := range [][]string{
		{"DELETE", base + "t1?" + version, "", "If-Match", "t1"},
		{"DELETE", base + "t2?" + version + "&reject", "", "If-Match", `"t2"`},
		{"DELETE", base + "t3?reject=true&" + version, ""},
		{"POST", base + "t%204/abandon?" + version, ""},
	} {
		if res := ask(t, f, r[0], r[1], r[2], r[3:]...); res.StatusCode != 204 {
			t.Errorf("%v: %s", r, res.Status)
		}
	}
	if want := []string{"complete t1", "reject t2", "reject t3", "abandon t 4"}; !reflect.DeepEqual(f.settled, want) {
		t.Errorf("%v, want %v", f.settled, want)
	}
}

func TestBodiesUnderWayAreBounded(t *testing.T) {
	f := &fakeHub{}
	registry := prometheus.NewRegistry()
	s := New(Options{Hub: f, Registerer: registry, Limits: Limits{Bytes: 100}})
	post := func(n int) int {
		r := httptest.NewRequest("POST", "/devices/d/messages/events?"+version, strings.NewReader(strings.Repeat("x", n)))
		r.Header.Set("Authorization", "good")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	for _, tc := range []struct{ n, want int }{{100, 204}, {101, 503}, {100, 204}} {
		if got := post(tc.n); got != tc.want {
			t.Errorf("%d bytes: %d, want %d", tc.n, got, tc.want)
		}
	}
	if s.bytes.Load() != 0 {
		t.Errorf("%d bytes are still counted", s.bytes.Load())
	}
	if got := testutil.ToFloat64(s.metrics.messages); got != 2 {
		t.Errorf("%v messages counted", got)
	}
}
