package ipfilter

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
)

func TestTheFirstRuleThatFitsDecides(t *testing.T) {
	f, err := Parse([]string{"reject 10.0.0.66", "accept 10.0.0.0/8", "accept 192.0.2.0/24 service", "accept 2001:db8::/32 devices", "reject 0.0.0.0/0", "reject ::/0 devices"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		address          string
		devices, service bool
	}{
		{"10.0.0.66", false, false}, {"10.0.0.67", true, true}, {"::ffff:10.0.0.67", true, true}, {"::ffff:10.0.0.66", false, false},
		{"192.0.2.9", false, true}, {"198.51.100.1", false, false}, {"2001:db8::1", true, true}, {"2001:db9::1", false, true}, {"fe80::1%eth0", false, true},
	} {
		a := netip.MustParseAddr(tt.address)
		if got := f.Accepts(Devices, a); got != tt.devices {
			t.Errorf("%s to devices: %v", a, got)
		}
		if got := f.Accepts(Service, a); got != tt.service {
			t.Errorf("%s to service: %v", a, got)
		}
	}
	if !(Filter{}).Accepts(Devices, netip.Addr{}) || f.Accepts(Devices, netip.Addr{}) {
		t.Error("an unknown address passes only without rules")
	}
}

func TestRulesAreTexts(t *testing.T) {
	good := []string{"accept 10.0.0.0/8", "reject 192.0.2.1/32 devices", "accept ::/0 service"}
	f, err := Parse(good)
	if err != nil || !slices.Equal(f.Texts(), good) {
		t.Errorf("%v, %v", f.Texts(), err)
	}
	for _, bad := range []string{"", "accept", "allow 10.0.0.0/8", "accept 10.0.0.0/33", "accept 10.0.0/8", "accept ::ffff:10.0.0.0/104", "accept 10.0.0.0/8 admin", "accept 10.0.0.0/8 devices service", "accept fe80::1%eth0"} {
		if _, err := ParseRule(bad); !errors.Is(err, ErrRule) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := Parse(slices.Repeat([]string{"accept 10.0.0.1"}, MaxRules+1)); !errors.Is(err, ErrRule) {
		t.Errorf("too many: %v", err)
	}
}

func FuzzParseRule(f *testing.F) {
	f.Add("accept 10.0.0.0/8 devices")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		if again, err := ParseRule(r.String()); err != nil || again != r {
			t.Errorf("%q became %v, %v", r.String(), again, err)
		}
	})
}
