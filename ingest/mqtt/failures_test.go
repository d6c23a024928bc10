package mqtt

import (
	"net/netip"
	"testing"
	"time"
)

func TestFailuresOfAnAddressDelayIt(t *testing.T) {
	f := newFailures(2, time.Second)
	now := time.Hour
	add := func(a string) time.Duration { return f.add(netip.MustParseAddr(a), now) }
	for i, want := range []time.Duration{0, 0, 1, 2, 4, 8, 16, 32, 32} {
		if got := add("192.0.2.1"); got != want*time.Second {
			t.Errorf("failure %d: %v, want %v s", i+1, got, want)
		}
	}
	if add("192.0.2.2") != 0 {
		t.Error("a neighbour is delayed")
	}
	if add("::ffff:192.0.2.1") == 0 {
		t.Error("the mapped form of an address is another address")
	}
	for range 2 {
		add("2001:db8::1")
	}
	if add("2001:db8::2") == 0 {
		t.Error("a /64 has many attempts")
	}
	now += time.Minute
	if add("192.0.2.1") != 0 {
		t.Error("still delayed after a minute")
	}
}

func TestFailureTableIsBounded(t *testing.T) {
	f := newFailures(1, time.Second)
	a := netip.MustParseAddr("10.0.0.0")
	for range failureAddresses + 10 {
		f.add(a, time.Hour)
		a = a.Next()
	}
	if len(f.m) != failureAddresses {
		t.Errorf("%d addresses", len(f.m))
	}
	f.forget(time.Hour + time.Minute)
	if len(f.m) != 0 {
		t.Errorf("%d addresses after a minute", len(f.m))
	}
	if f.add(netip.Addr{}, time.Hour) != 0 {
		t.Error("no address is delayed")
	}
}
