package credential

import (
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
)

func TestBuiltinPolicies(t *testing.T) {
	list, err := BuiltinPolicies(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := ValidatePolicies(list); err != nil {
		t.Error(err)
	}
	got := ""
	for _, p := range list {
		got += p.Name + ": " + p.Permissions.String() + "\n"
	}
	want := `iothubowner: RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect
service: ServiceConnect
device: DeviceConnect
registryRead: RegistryRead
registryReadWrite: RegistryRead, RegistryWrite
`
	if got != want {
		t.Errorf("got %s", got)
	}
	s := sealer(t, 1)
	for _, p := range list {
		b, err := s.SealPolicy(p)
		if err != nil {
			t.Fatal(err)
		}
		back, err := s.OpenPolicy(b)
		if err != nil || back.Name != p.Name || back.Permissions != p.Permissions || back.Keys.Secondary.Reveal() != p.Keys.Secondary.Reveal() {
			t.Errorf("%s came back as %v, %v", p.Name, back, err)
		}
	}
	for _, bad := range []string{"", "{}", `{"format":2}`, `{"format":1,"permissions":"Magic"}`, `{"format":1,"name":"x","permissions":"RegistryRead","primary":"AA=="}`} {
		if _, err := s.OpenPolicy([]byte(bad)); err == nil {
			t.Errorf("%q opened", bad)
		}
	}
}

func TestInvalidPolicies(t *testing.T) {
	keys := Keys{key(t, first), key(t, second)}
	many := func(n int, p Permission) []Policy {
		var out []Policy
		for i := range n {
			out = append(out, Policy{fmt.Sprint("p", i), p, keys})
		}
		return out
	}
	if err := ValidatePolicies(append(many(10, ServiceConnect), Policy{"x", RegistryRead, keys})); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	for name, list := range map[string][]Policy{
		"17 policies":      many(17, RegistryRead),
		"11 for services":  many(11, ServiceConnect),
		"no name":          {{"", RegistryRead, keys}},
		"name with mark":   {{"a&b", RegistryRead, keys}},
		"no permission":    {{"a", 0, keys}},
		"unknown right":    {{"a", 128, keys}},
		"no secondary key": {{"a", RegistryRead, Keys{Primary: keys.Primary}}},
		"one name twice":   {{"a", RegistryRead, keys}, {"a", RegistryRead, keys}},
	} {
		if err := ValidatePolicies(list); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSomebodyKeepsAllRights(t *testing.T) {
	keys := Keys{key(t, first), key(t, second)}
	owner, reader := Policy{"iothubowner", AllPermissions, keys}, Policy{"reader", RegistryRead, keys}
	set := []Policy{owner, reader}
	if _, found, err := WithoutPolicy(set, "iothubowner"); !found || !errors.Is(err, ErrLastOwner) {
		t.Errorf("the only owner was deleted: %v, %v", found, err)
	}
	less := owner
	less.Permissions = AllPermissions &^ RegistryWrite
	if _, err := WithPolicy(set, less); !errors.Is(err, ErrLastOwner) {
		t.Errorf("the only owner lost a right: %v", err)
	}
	more, err := WithPolicy(set, Policy{"second", AllPermissions, keys})
	if err != nil || len(more) != 3 {
		t.Fatalf("%v, %v", more, err)
	}
	left, found, err := WithoutPolicy(more, "iothubowner")
	if err != nil || !found || len(left) != 2 || len(more) != 3 {
		t.Errorf("one owner of two: %v, %v, %v", left, found, err)
	}
	if _, found, err := WithoutPolicy(set, "nobody"); found || err != nil {
		t.Errorf("unknown: %v, %v", found, err)
	}
	for i := len(set); i < MaxPolicies; i++ {
		if set, err = WithPolicy(set, Policy{fmt.Sprint("p", i), RegistryRead, keys}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := WithPolicy(set, Policy{"one too many", RegistryRead, keys}); !errors.Is(err, ErrPolicy) {
		t.Errorf("17 policies: %v", err)
	}
	if set, err = WithPolicy(set, Policy{"reader", RegistryRead | RegistryWrite, keys}); err != nil || len(set) != MaxPolicies {
		t.Errorf("change at the limit: %v", err)
	}
}
