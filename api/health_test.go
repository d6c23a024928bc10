package api

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

type fakeHealth []Component

func (f fakeHealth) Components() []Component { return f }

func TestProbesAndMetricsAreOpen(t *testing.T) {
	reg := prometheus.NewRegistry()
	health := fakeHealth{{Name: "log", State: Available, Critical: true}, {Name: "pipeline temperature", State: Unavailable, Cause: "topic temperature was deleted"}}
	b := newAdminBench(t, func(o *AdminOptions) {
		o.Health, o.Registerer = health, reg
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x 1\n") })
	})
	for path, want := range map[string]string{"/livez": "ok\n", "/readyz": "ok\n", "/metrics": "x 1\n"} {
		if w := b.call("GET", path, "", "Authorization", ""); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	w := b.call("GET", "/healthz?verbose", "", "Authorization", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"status":"degraded"`) || !strings.Contains(w.Body.String(), "topic temperature was deleted") {
		t.Errorf("healthz: %d %s", w.Code, w.Body)
	}
	health[0].State, health[0].Cause = Unavailable, "no answer since 03:04"
	w = b.call("GET", "/readyz", "", "Authorization", "")
	if w.Code != 503 || !strings.Contains(w.Body.String(), "no answer since 03:04") || strings.Contains(w.Body.String(), "temperature") {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	if w := b.call("GET", "/healthz", ""); w.Code != 503 {
		t.Errorf("healthz: %d", w.Code)
	}
	if w := b.call("GET", "/livez", ""); w.Code != 200 {
		t.Errorf("livez: %d", w.Code)
	}
	b.call("GET", "/api/v1/devices", "", "Authorization", "")
	if n := testutil.ToFloat64(b.admin.metrics.denied.WithLabelValues("token")); n != 1 {
		t.Errorf("%v refusals were counted", n)
	}
}
