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
