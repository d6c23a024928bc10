package device

import (
	"errors"
	"slices"
	"testing"
)

func TestRefsReadBackWhatTheyWrite(t *testing.T) {
	for _, r := range []Ref{{Device: "d1"}, {Device: "d1", Module: "m1"}, {Device: "d%2F", Module: "$edgeHub"}} {
		if got := ParseRef(r.String()); got != r {
			t.Errorf("ParseRef(%q) = %v", r.String(), got)
		}
		if got := ParseKey(r.Key()); got != r {
			t.Errorf("ParseKey(%q) = %v", r.Key(), got)
		}
		if err := r.Valid(); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func TestModulesSortRightBehindTheirDevice(t *testing.T) {
	sorted := []Ref{{"d", ""}, {"d", "!"}, {"d", "z"}, {"d!", ""}, {"d1", ""}}
	for i := range sorted[1:] {
		if sorted[i].Key() >= sorted[i+1].Key() {
			t.Errorf("%v does not sort before %v", sorted[i], sorted[i+1])
		}
	}
}

func TestRefRefusesIDsThatNoEntityMayHave(t *testing.T) {
	for _, r := range []Ref{{}, {Device: "a/b"}, {Device: "d", Module: "a/b"}, {Device: "d", Module: "\x00"}, {Module: "m"}} {
		if err := r.Valid(); !errors.Is(err, ErrArgument) {
			t.Errorf("%q: %v", r, err)
		}
	}
}

func TestNotFoundSaysWhatIsMissing(t *testing.T) {
	if err := (Ref{Device: "d"}).NotFound(); !errors.Is(err, ErrNotFound) || err.Error() != "device not found: d" {
		t.Error(err)
	}
	if err := (Ref{"d", "m"}).NotFound(); !errors.Is(err, ErrModuleNotFound) || errors.Is(err, ErrNotFound) || err.Error() != "module not found: d/m" {
		t.Error(err)
	}
}

func TestModuleIdentityKeepsWhatOnlyModulesHave(t *testing.T) {
	auth := Auth{Primary: []byte{1}, Secondary: []byte{2}}
	c := Change{Wanted: Identity{DeviceID: "d", ModuleID: "m", ManagedBy: "fleet", Status: Disabled, StatusReason: "x", IoTEdge: true, DeviceScope: "s", ParentScopes: []string{"s"}, Auth: auth}}
	got, err := c.Apply(nil, Position{Offset: 7, Time: noon})
	if err != nil {
		t.Fatal(err)
	}
	if got.Ref() != (Ref{"d", "m"}) || got.ManagedBy != "fleet" {
		t.Errorf("made %+v", got)
	}
	if got.Status != Enabled || got.StatusReason != "" || got.IoTEdge || got.DeviceScope != "" || len(got.ParentScopes) > 0 {
		t.Errorf("a module got what only devices have: %+v", got)
	}
	for _, tt := range []struct {
		match   string
		current *Identity
		want    error
	}{{"", &got, ErrModuleExists}, {"*", nil, ErrModuleNotFound}, {"other", &got, ErrPrecondition}} {
		c.IfMatch = tt.match
		if _, err := c.Apply(tt.current, Position{Offset: 8}); !errors.Is(err, tt.want) {
			t.Errorf("If-Match %q: %v, want %v", tt.match, err, tt.want)
		}
	}
	b, err := c.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var back Change
	if err := back.UnmarshalBinary(b); err != nil || back.Wanted.ModuleID != "m" || back.Wanted.ManagedBy != "fleet" || !slices.Equal(back.Wanted.Auth.Primary, auth.Primary) {
		t.Errorf("stored form gives %+v, %v", back.Wanted, err)
	}
}
