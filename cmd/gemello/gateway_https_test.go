package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/ingest/https"
)

// httpsRig answers the requests of devices on a hub of its own.
type httpsRig struct {
	*hubRig
	handler http.Handler
	token   string // of device d1
}

func newHTTPSRig(t *testing.T) *httpsRig {
	r := &httpsRig{hubRig: newHubRig(t)}
	r.makeDevice("d1")
	r.handler = sharedPort{
		devices: https.New(https.Options{Hub: requests{r.gateway}, Logger: slog.New(slog.DiscardHandler)}),
		service: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
	}
	keys, err := credential.NewKeys(new(zeros))
	if err != nil {
		t.Fatal(err)
	}
	r.token = credential.Sign("hub.example.org/devices/d1", time.Now().Add(time.Hour), keys.Primary, "")
	return r
}

func (r *httpsRig) ask(method, target, body string, headers ...string) (*http.Response, string) {
	r.t.Helper()
	q := httptest.NewRequest(method, target, strings.NewReader(body))
	q.Header.Set("Authorization", r.token)
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, q)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return w.Result(), string(b)
}

func (r *httpsRig) want(status int, method, target, body string, headers ...string) (*http.Response, string) {
	r.t.Helper()
	res, b := r.ask(method, target, body, headers...)
	if res.StatusCode != status {
		r.t.Fatalf("%s %s: %s %s, want %d", method, target, res.Status, b, status)
	}
	return res, b
}

func (r *httpsRig) send(body string, ack device.Ack) {
	r.t.Helper()
	c := device.NewCommand{DeviceID: "d1", MessageID: "m-" + body, Ack: ack, Size: len(body), Content: device.Content{Body: []byte(body), Bag: "%24.mid=m-" + body + "&a=b"}, Audit: testAudit}
	if _, err := r.node.SendCommand(r.t.Context(), c); err != nil {
		r.t.Fatal(err)
	}
}

const (
	eventsPath = "/devices/d1/messages/events?api-version=2020-09-30"
	boundPath  = "/devices/d1/messages/devicebound"
	apiV       = "?api-version=2020-09-30"
)

func lockOf(res *http.Response) string { return strings.Trim(res.Header["ETag"][0], `"`) }

func TestDevicesWithoutASessionOverHTTPS(t *testing.T) {
	r := newHTTPSRig(t)
	r.want(204, "POST", eventsPath, `{"t":1}`, "iothub-app-k", "v")
	r.want(204, "POST", eventsPath, `[{"body":"eyJ0IjoyfQ==","properties":{"iothub-app-K":"v"}},{"body":"eyJ0IjozfQ=="}]`, "Content-Type", "application/vnd.microsoft.iothub.json")
	r.want(400, "POST", eventsPath, `[{"body":"eyJ0IjoyfQ=="},{"body":"*"}]`, "Content-Type", "application/vnd.microsoft.iothub.json")
	r.want(http.StatusTeapot, "GET", "/devices/d1"+apiV, "")

	r.want(204, "GET", boundPath+apiV, "")
	for _, body := range []string{"one", "two", "three"} {
		r.send(body, device.AckFull)
	}
	one, b := r.want(200, "GET", boundPath+apiV, "")
	if b != "one" || one.Header["iothub-messageid"][0] != "m-one" || one.Header["iothub-app-a"][0] != "b" || one.Header["iothub-deliverycount"][0] != "1" {
		t.Fatalf("%s, %v", b, one.Header)
	}
	two, b := r.want(200, "GET", boundPath+apiV, "")
	if b != "two" {
		t.Fatal(b)
	}
	r.want(204, "DELETE", boundPath+"/"+lockOf(one)+apiV, "", "If-Match", lockOf(one))
	r.want(412, "DELETE", boundPath+"/"+lockOf(one)+apiV, "", "If-Match", lockOf(one))
	r.want(204, "POST", boundPath+"/"+lockOf(two)+"/abandon"+apiV, "")
	again, b := r.want(200, "GET", boundPath+apiV, "")
	if b != "two" || again.Header["iothub-deliverycount"][0] != "2" || lockOf(again) == lockOf(two) {
		t.Fatalf("%s, %v", b, again.Header)
	}
	r.want(204, "DELETE", boundPath+"/"+lockOf(again)+apiV+"&reject", "", "If-Match", lockOf(again))
	three, _ := r.want(200, "GET", boundPath+apiV, "")
	r.want(204, "DELETE", boundPath+"/"+lockOf(three)+apiV, "")
	if list, err := r.node.Commands(t.Context(), device.Ref{Device: "d1"}); err != nil || len(list) != 0 {
		t.Errorf("%d commands stay, %v", len(list), err)
	}
	ends := map[string]device.CommandEnd{}
	for deadline := time.Now().Add(20 * time.Second); len(ends) < 3; {
		f, err := r.node.ReceiveFeedback(t.Context(), testAudit)
		if errors.Is(err, actors.ErrUnavailable) && time.Now().Before(deadline) {
			continue // another partition is still recovering
		}
		if err != nil || f == nil {
			t.Fatalf("feedback %v, %v", f, err)
		}
		for _, one := range f.Records {
			ends[one.MessageID] = one.End
		}
	}
	if ends["m-one"] != device.EndSuccess || ends["m-two"] != device.EndRejected || ends["m-three"] != device.EndSuccess {
		t.Errorf("%v", ends)
	}
}

func TestRequestsWithoutAGoodCredentialAreRefused(t *testing.T) {
	r := newHTTPSRig(t)
	good := r.token
	for name, token := range map[string]string{
		"none": "", "no token": "Bearer x", "another device's": strings.Replace(good, "d1", "d2", 1),
		"changed": strings.Replace(good, "sig=", "sig=A", 1),
	} {
		r.token = token
		if res, b := r.ask("POST", eventsPath, ""); res.StatusCode != 401 {
			t.Errorf("%s: %s %s", name, res.Status, b)
		}
	}
	p, _ := r.policies.Policy("device")
	r.token = credential.Sign("hub.example.org", time.Now().Add(time.Hour), p.Keys.Primary, "device")
	r.want(204, "POST", eventsPath, "")
	r.want(401, "POST", strings.Replace(eventsPath, "d1", "unknown", 1), "")
	p, _ = r.policies.Policy("service")
	r.token = credential.Sign("hub.example.org", time.Now().Add(time.Hour), p.Keys.Primary, "service")
	r.want(401, "POST", eventsPath, "")
}

// Java polls every 10 ms: it is held back, and finds what came meanwhile.
func TestIdlePollsAreHeldBackAndParallelOnesRefused(t *testing.T) {
	r := newHTTPSRig(t)
	c := defaultThrottle()
	c.DevicePolls = "1/min"
	limiter, err := newLimiter(&c, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	limiter.now = func() time.Time { return now }
	slept := 0
	limiter.sleep = func(_ context.Context, d time.Duration) {
		slept++
		now = now.Add(d)
		if slept == 2 {
			r.send("meanwhile", device.AckNone)
		}
	}
	r.gateway.limiter = limiter
	for i, want := range []int{204, 204, 200} {
		r.want(want, "GET", boundPath+apiV, "")
		if slept != i {
			t.Errorf("poll %d: held back %d times", i, slept)
		}
	}
	limiter.sleep = func(context.Context, time.Duration) {}
	res, _ := r.want(429, "GET", boundPath+apiV, "")
	if res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestMessagesOverTheRateAreRefused(t *testing.T) {
	r := newHTTPSRig(t)
	c := defaultThrottle()
	c.DeviceMessages = "2/min"
	var err error
	if r.gateway.limiter, err = newLimiter(&c, nil); err != nil {
		t.Fatal(err)
	}
	r.want(204, "POST", eventsPath, "")
	r.want(204, "POST", eventsPath, "")
	res, _ := r.want(429, "POST", eventsPath, "")
	if got := res.Header.Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After %q", got)
	}
}

// Each request is written by hand as azure-iot-wire 14 says that the SDK sends it.
func TestRequestsOfOtherSDKFamilies(t *testing.T) {
	r := newHTTPSRig(t)
	const agent = "com.microsoft.azure.sdk.iot.iot-device-client/2.5.0"
	t.Run("Java, HTTPS: abandon is a POST with a one-byte body and a form content type", func(t *testing.T) {
		r.send("x", device.AckNone)
		got, _ := r.want(200, "GET", boundPath+apiV, "", "User-Agent", agent, "iothub-messagelocktimeout", "180")
		r.want(204, "POST", boundPath+"/"+lockOf(got)+"/abandon"+apiV, "\x00", "Content-Type", "application/x-www-form-urlencoded", "User-Agent", agent)
	})
	t.Run("Java, HTTPS: reject is &%3Freject=true", func(t *testing.T) {
		got, _ := r.want(200, "GET", boundPath+apiV, "", "User-Agent", agent)
		r.want(204, "DELETE", boundPath+"/"+lockOf(got)+apiV+"&%3Freject=true", "", "If-Match", lockOf(got), "User-Agent", agent)
		if list, err := r.node.Commands(t.Context(), device.Ref{Device: "d1"}); err != nil || len(list) != 0 {
			t.Errorf("%d commands stay, %v", len(list), err)
		}
	})
	t.Run("Java, HTTPS: batch adds base64Encoded", func(t *testing.T) {
		r.want(204, "POST", eventsPath, `[{"body":"aGk=","base64Encoded":true,"properties":{"iothub-app-a":"b"}},{"body":"aGk=","base64Encoded":true}]`,
			"Content-Type", "application/vnd.microsoft.iothub.json", "User-Agent", agent)
	})
	t.Run("Java, HTTPS: unescaped quotes in property values are invalid JSON", func(t *testing.T) {
		r.want(400, "POST", eventsPath, `[{"body":"aGk=","base64Encoded":true,"properties":{"iothub-app-a":"say "hi""}}]`,
			"Content-Type", "application/vnd.microsoft.iothub.json", "User-Agent", agent)
	})
	t.Run("Java, HTTPS: polls for C2D even without a callback", func(t *testing.T) {
		for range 3 {
			r.want(204, "GET", boundPath+apiV, "", "User-Agent", agent, "iothub-messagelocktimeout", "180")
		}
	})
	t.Run("Node: If-Match without quotes, Accept and a length on GET", func(t *testing.T) {
		r.send("y", device.AckNone)
		got, _ := r.want(200, "GET", boundPath+"?api-version=2021-04-12", "{}", "Content-Length", "2", "Accept", "application/json")
		r.want(204, "DELETE", boundPath+"/"+lockOf(got)+"?api-version=2021-04-12&reject", "", "If-Match", lockOf(got))
	})
	t.Run("Python: Host with the port", func(t *testing.T) {
		q := httptest.NewRequest("POST", eventsPath, strings.NewReader("{}"))
		q.Host = "hub.example.org:443"
		q.Header.Set("Authorization", r.token)
		w := httptest.NewRecorder()
		r.handler.ServeHTTP(w, q)
		if w.Code != 204 {
			t.Error(w.Code, w.Body)
		}
	})
	t.Run("fixed words in any case and one trailing slash", func(t *testing.T) {
		r.want(204, "GET", fmt.Sprintf("/Devices/d1/Messages/deviceBound/%s", apiV), "")
	})
}
