package device

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	pos1 = Position{Partition: 3, Offset: 41, Time: noon}
	pos2 = Position{Partition: 3, Offset: 77, Time: noon.Add(time.Hour)}
)

func sas(id string) Identity {
	return Identity{DeviceID: id, Auth: Auth{Primary: []byte("sealed-p"), Secondary: []byte("sealed-s")}}
}

func TestCreateThenUpdate(t *testing.T) {
	create := Change{Wanted: sas("d1")}
	first, err := create.Apply(nil, pos1)
	if err != nil {
		t.Fatal(err)
	}
	if first.ETag != "NDE=" || first.GenerationID != "1767355200000-3-41" || !first.StatusUpdated.IsZero() {
		t.Errorf("created %+v", first)
	}
	again, _ := create.Apply(nil, pos1)
	if !reflect.DeepEqual(first, again) {
		t.Error("the same change at the same position gave another identity")
	}
	update := Change{Wanted: sas("d1"), IfMatch: first.ETag, KeepPrimary: true}
	update.Wanted.Status = Disabled
	update.Wanted.Auth.Primary = []byte("made for want of one")
	update.Wanted.Auth.Secondary = []byte("new")
	second, err := update.Apply(&first, pos2)
	if err != nil {
		t.Fatal(err)
	}
	if second.GenerationID != first.GenerationID || second.ETag != "Nzc=" || !second.StatusUpdated.Equal(pos2.Time) {
		t.Errorf("updated %+v", second)
	}
	if string(second.Auth.Primary) != "sealed-p" || string(second.Auth.Secondary) != "new" {
		t.Errorf("keys %s %s", second.Auth.Primary, second.Auth.Secondary)
	}
}

func TestConditionsOfAChange(t *testing.T) {
	create := Change{Wanted: sas("d1")}
	current, err := create.Apply(nil, pos1)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		match   string
		current *Identity
		want    error
	}{
		{"create of a new one", "", nil, nil},
		{"create of one that is there", "", &current, ErrExists},
		{"update of any", "*", &current, nil},
		{"update of none", "*", nil, ErrNotFound},
		{"update with the etag", current.ETag, &current, nil},
		{"update with an old etag", "xx", &current, ErrPrecondition},
		{"update of none with an etag", "xx", nil, ErrNotFound},
	}
	for _, tt := range tests {
		c := Change{Wanted: sas("d1"), IfMatch: tt.match}
		if _, err := c.Apply(tt.current, pos2); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestChangeOfTypeForgetsCredentials(t *testing.T) {
	create := Change{Wanted: sas("d1")}
	current, err := create.Apply(nil, pos1)
	if err != nil {
		t.Fatal(err)
	}
	c := Change{Wanted: sas("d1"), IfMatch: "*"}
	c.Wanted.Auth.Type = AuthSelfSigned
	c.Wanted.Auth.PrimaryThumbprint = strings.Repeat("ab", 32)
	next, err := c.Apply(&current, pos2)
	if err != nil {
		t.Fatal(err)
	}
	if next.Auth.Primary != nil || next.Auth.PrimaryThumbprint != strings.Repeat("AB", 32) {
		t.Errorf("%+v", next.Auth)
	}
	back := Change{Wanted: sas("d1"), IfMatch: "*", KeepPrimary: true, KeepSecondary: true}
	last, err := back.Apply(&next, pos2)
	if err != nil || string(last.Auth.Primary) != "sealed-p" || last.Auth.PrimaryThumbprint != "" {
		t.Errorf("back to keys: %+v, %v", last.Auth, err)
	}
}

func TestEdgeDevicesGetAScopeThatStays(t *testing.T) {
	c := Change{Wanted: sas("e1")}
	c.Wanted.IoTEdge = true
	first, err := c.Apply(nil, pos1)
	if err != nil || !strings.HasPrefix(first.DeviceScope, "ms-azure-iot-edge://e1-") {
		t.Fatalf("scope %q, %v", first.DeviceScope, err)
	}
	c.IfMatch = "*"
	if second, err := c.Apply(&first, pos2); err != nil || second.DeviceScope != first.DeviceScope {
		t.Errorf("scope %q, %v", second.DeviceScope, err)
	}
	c.Wanted.DeviceScope = "ms-azure-iot-edge://other-1"
	if _, err := c.Apply(&first, pos2); !errors.Is(err, ErrArgument) {
		t.Errorf("another scope: %v", err)
	}
}

func TestInvalidIdentities(t *testing.T) {
	for name, spoil := range map[string]func(*Identity){
		"id":            func(id *Identity) { id.DeviceID = "a/b" },
		"status":        func(id *Identity) { id.Status = 7 },
		"type":          func(id *Identity) { id.Auth.Type = 9 },
		"reason":        func(id *Identity) { id.StatusReason = strings.Repeat("x", 129) },
		"scope":         func(id *Identity) { id.DeviceScope = strings.Repeat("x", 257) },
		"parents":       func(id *Identity) { id.ParentScopes = make([]string, 17) },
		"parent":        func(id *Identity) { id.ParentScopes = []string{strings.Repeat("x", 257)} },
		"no keys":       func(id *Identity) { id.Auth = Auth{} },
		"key length":    func(id *Identity) { id.Auth.Primary = make([]byte, 1025) },
		"no thumbprint": func(id *Identity) { id.Auth = Auth{Type: AuthSelfSigned} },
		"thumbprint":    func(id *Identity) { id.Auth = Auth{Type: AuthSelfSigned, PrimaryThumbprint: strings.Repeat("g", 40)} },
	} {
		c := Change{Wanted: sas("d1")}
		spoil(&c.Wanted)
		if _, err := c.Apply(nil, pos1); !errors.Is(err, ErrArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
