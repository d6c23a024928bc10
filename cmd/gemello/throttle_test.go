package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/device/ipfilter"
	"github.com/gemello/gemello/device/throttle"
	"github.com/gemello/gemello/ingest"
)

// newTestLimiter has a clock that moves when somebody sleeps.
func newTestLimiter(t *testing.T, c ThrottleConfig) (l *limiter, slept *time.Duration) {
	t.Helper()
	l, err := newLimiter(&c, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	slept = new(time.Duration)
	l.now = func() time.Time { return now }
	l.sleep = func(_ context.Context, d time.Duration) { *slept += d; now = now.Add(d) }
	return l, slept
}

func TestTheHubIsNotThrottledByDefault(t *testing.T) {
	c := defaultConfig().Throttle
	rates, err := c.rates()
	if err != nil || len(rates) != 0 {
		t.Errorf("%v, %v", rates, err)
	}
	l, slept := newTestLimiter(t, c)
	for range 10_000 {
		l.message(t.Context(), new(usage))
		if l.Take(throttle.Queries, 1) > 0 {
			t.Fatal("a query was refused")
		}
	}
	if *slept > 0 {
		t.Errorf("messages were delayed by %v", *slept)
	}
}

func TestMessagesOverTheRateAreDelayedAndNotRefused(t *testing.T) {
	l, slept := newTestLimiter(t, ThrottleConfig{Units: 1, D2C: "10/s"})
	u := new(usage)
	for range 30 {
		l.message(t.Context(), u)
	}
	if *slept != 2*time.Second {
		t.Errorf("30 messages at 10/s slept %v, want 2s", *slept)
	}
}

func TestOneDeviceUsesUpItsOwnRateOnly(t *testing.T) {
	l, slept := newTestLimiter(t, ThrottleConfig{Units: 1, DeviceMessages: "5/s", DeviceRequests: "2/s", DeviceConnections: "2/min"})
	flood, calm := new(usage), new(usage)
	for range 10 {
		l.message(t.Context(), flood)
	}
	if *slept != time.Second {
		t.Errorf("the flood slept %v", *slept)
	}
	before := *slept
	l.message(t.Context(), calm)
	if *slept != before {
		t.Error("another device waits for the flood")
	}
	for i, want := range []bool{true, true, false} {
		if err := l.request(throttle.TwinReads, flood); (err == nil) != want || err != nil && !errors.Is(err, ingest.ErrBusy) {
			t.Errorf("request %d: %v", i, err)
		}
		if err := l.connection("d1"); (err == nil) != want || err != nil && !errors.Is(err, ingest.ErrBusy) {
			t.Errorf("connect %d: %v", i, err)
		}
	}
	if err := errors.Join(l.request(throttle.TwinReads, calm), l.connection("d2")); err != nil {
		t.Errorf("another device: %v", err)
	}
}

func TestOwnRatesReplaceThePresets(t *testing.T) {
	c := ThrottleConfig{Preset: "s1", Units: 2, Queries: "7/s", Registry: "off"}
	rates, err := c.rates()
	if err != nil {
		t.Fatal(err)
	}
	if _, limited := rates[throttle.Registry]; limited || rates[throttle.Queries].String() != "7/s" || rates[throttle.C2D].String() != "200/min" {
		t.Errorf("%v", rates)
	}
}

func TestConnectsAreLimitedAfterTheCredential(t *testing.T) {
	r := newHubRig(t)
	r.makeDevice("d1")
	r.gateway.limiter, _ = newTestLimiter(t, ThrottleConfig{Units: 1, DeviceConnections: "2/h"})
	for range 5 {
		if _, _, err := r.connect("d1", "service", credential.Primary); !errors.Is(err, ingest.ErrUnauthorized) {
			t.Fatalf("a wrong credential: %v", err)
		}
	}
	for i, want := range []error{nil, nil, ingest.ErrBusy} {
		if _, _, err := r.connect("d1", "device", credential.Primary); !errors.Is(err, want) {
			t.Errorf("connect %d: %v, want %v", i, err, want)
		}
	}
}

func TestFilterOfTheSettingsRejectsDevices(t *testing.T) {
	r := newHubRig(t)
	r.makeDevice("d1")
	filters, err := openIPFilters(r.node, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.gateway.accepts = filters.accepts(ipfilter.Devices)
	for _, tt := range []struct {
		rules string
		want  error
	}{
		{"reject 192.0.2.7/32 devices", ingest.ErrUnauthorized}, // the address of the rig's devices
		{"reject 192.0.2.0/24 service", nil},
		{"reject 192.0.2.0/24", ingest.ErrUnauthorized},
	} {
		f, err := ipfilter.Parse([]string{tt.rules})
		if err != nil {
			t.Fatal(err)
		}
		if err := filters.Replace(t.Context(), f, testAudit); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.connect("d1", "device", credential.Primary); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.rules, err, tt.want)
		}
	}
	again, err := openIPFilters(r.node, ipfilter.Filter{{Accept: true, Net: netip.MustParsePrefix("192.0.2.7/32")}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if !again.accepts(ipfilter.Devices)(netip.MustParseAddr("192.0.2.7")) || again.accepts(ipfilter.Devices)(netip.MustParseAddr("192.0.2.8")) {
		t.Error("the rules of the configuration don't come before those of the settings")
	}
}
