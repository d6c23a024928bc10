package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/ipfilter"
	"github.com/gemello/gemello/device/throttle"
)

// fakeThrottle has room for some operations of each class.
type fakeThrottle map[throttle.Class]int

func (f fakeThrottle) Take(c throttle.Class, n int) time.Duration {
	if f[c] < n {
		return 2500 * time.Millisecond
	}
	f[c] -= n
	return 0
}

func TestThrottledIs429WithRetryAfter(t *testing.T) {
	b := newBench(t)
	b.service.throttle = fakeThrottle{throttle.Registry: 2, throttle.TwinReads: 1}
	b.must(200, "PUT", "/devices/d1", `{}`)
	b.must(200, "GET", "/twins/d1", "")
	for _, tt := range []struct{ method, path, body string }{
		{"GET", "/twins/d1", ""},
		{"PATCH", "/twins/d1", `{"tags":{}}`},
	} {
		w := b.do(tt.method, tt.path, tt.body)
		wantError(t, w, 429, "ThrottlingException")
		if got := w.Header().Get("Retry-After"); got != "3" {
			t.Errorf("%s %s: Retry-After %q, want the wait in whole seconds", tt.method, tt.path, got)
		}
	}
	b.must(200, "GET", "/devices/d1", "")
	wantError(t, b.do("GET", "/devices/d1", ""), 429, "ThrottlingException")
}

func TestBulkCountsItsItems(t *testing.T) {
	b := newBench(t)
	room := fakeThrottle{throttle.Registry: 5}
	b.service.throttle = room
	b.must(200, "POST", "/devices", `[{"id":"a","importMode":"create"},{"id":"b","importMode":"create"},{"id":"c","importMode":"create"}]`)
	if room[throttle.Registry] != 2 {
		t.Errorf("room for %d is left of 5 after a bulk of 3", room[throttle.Registry])
	}
	wantError(t, b.do("POST", "/devices", `[{"id":"e","importMode":"create"},{"id":"f","importMode":"create"},{"id":"g","importMode":"create"}]`), 429, "ThrottlingException")
}

func TestAWrongKeyUsesUpNothing(t *testing.T) {
	b := newBench(t)
	room := fakeThrottle{throttle.Registry: 1}
	b.service.throttle = room
	wantError(t, b.do("GET", "/devices/d1", "", "Authorization", "SharedAccessSignature sr=x&sig=y&se=1&skn=iothubowner"), 401, "IotHubUnauthorizedAccess")
	if room[throttle.Registry] != 1 {
		t.Error("a refused request was counted")
	}
}

func TestOperationsHaveTheirClass(t *testing.T) {
	for name, want := range map[string]string{
		"list_devices": "registry 1", "get_device": "registry 1", "device_statistics": "registry 1",
		"get_twin": "twin_reads 1", "patch_twin": "twin_updates 1", "replace_twin": "twin_updates 1",
		"query_devices": "queries 1", "invoke_method": "methods 3", "create_job": "jobs 1", "query_jobs": "jobs 1",
		"put_configuration": "configurations 1", "purge_commands": "c2d 1", "digital_twin_command": "methods 3",
	} {
		c, n := cost(name, 9000)
		if got := fmt.Sprint(c, " ", n); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestRejectedAddressesAreUnauthorized(t *testing.T) {
	b := newBench(t)
	f, err := ipfilter.Parse([]string{"reject 192.0.2.0/24"}) // httptest's address
	if err != nil {
		t.Fatal(err)
	}
	b.must(200, "PUT", "/devices/d1", `{}`)
	b.service.accepts = func(a netip.Addr) bool { return f.Accepts(ipfilter.Service, a) }
	for _, header := range [][]string{nil, {"X-Forwarded-For", "10.0.0.1"}, {"Forwarded", "for=10.0.0.1"}, {"X-Real-Ip", "10.0.0.1"}} {
		w := b.do("GET", "/devices/d1", "", header...)
		wantError(t, w, 401, "IotHubUnauthorizedAccess")
		if strings.Contains(w.Body.String(), "192.0.2") {
			t.Errorf("the answer tells of the rule: %s", w.Body)
		}
	}
}

type fakeFilters struct{ configured, rules ipfilter.Filter }

func (f *fakeFilters) Rules() (configured, rules ipfilter.Filter) { return f.configured, f.rules }
func (f *fakeFilters) Replace(_ context.Context, next ipfilter.Filter, _ device.Audit) error {
	f.rules = next
	return nil
}

func TestAFilterDoesNotShutOutItsAuthor(t *testing.T) {
	filters := &fakeFilters{}
	b := newAdminBench(t, func(o *AdminOptions) { o.IPFilters = filters })
	put := func(query, rules string) *httptest.ResponseRecorder {
		return b.call("PUT", "/api/v1/ip-filter"+query, `{"rules":`+rules+`}`)
	}
	shut := `["accept 10.0.0.0/8","reject 0.0.0.0/0"]`
	if w := put("", shut); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "192.0.2.1") || len(filters.rules) != 0 {
		t.Errorf("shut out without force: %d %s", w.Code, w.Body)
	}
	if w := put("", `["accept 192.0.2.1 service","reject 0.0.0.0/0"]`); w.Code != 200 || len(filters.rules) != 2 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := put("?force=true", shut); w.Code != 200 || filters.rules.Texts()[0] != "accept 10.0.0.0/8" {
		t.Errorf("forced: %d %s", w.Code, w.Body)
	}
	if w := put("", `["deny 10.0.0.0/8"]`); w.Code != 400 {
		t.Errorf("no rule: %d %s", w.Code, w.Body)
	}
	if w := b.call("GET", "/api/v1/ip-filter", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `{"configured":[],"rules":["accept 10.0.0.0/8","reject 0.0.0.0/0"]}`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
