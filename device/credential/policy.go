package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Permission is a set of rights of a shared access policy (azure-iot-wire 1.3).
type Permission uint8

// The rights.
const (
	RegistryRead Permission = 1 << iota
	RegistryWrite
	ServiceConnect
	DeviceConnect

	AllPermissions = RegistryRead | RegistryWrite | ServiceConnect | DeviceConnect
)

var permissionNames = [...]string{"RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"}

// Has reports whether all rights of q are in p.
func (p Permission) Has(q Permission) bool { return p&q == q }

// String lists the rights with commas.
func (p Permission) String() string {
	var names []string
	for i, n := range permissionNames {
		if p&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}

// ParsePermission reads what String writes, without regard to case.
func ParsePermission(s string) (Permission, error) {
	var p Permission
next:
	for name := range strings.SplitSeq(s, ",") {
		for i, n := range permissionNames {
			if strings.EqualFold(strings.TrimSpace(name), n) {
				p |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("permission %q, allowed are %s", name, AllPermissions)
	}
	return p, nil
}

// Limits of policies (azure-iot-wire 1.3).
const (
	MaxPolicies        = 16
	MaxServicePolicies = 10 // with ServiceConnect
	maxPolicyName      = 64
)

// Errors of policies.
var (
	ErrPolicy = errors.New("invalid policy")
	// ErrLastOwner refuses a change that would leave nobody with all rights.
	ErrLastOwner = errors.New("the last policy with all rights stays")
)

// Policy is a shared access policy: who holds one of its keys has its rights.
type Policy struct {
	Name        string
	Permissions Permission
	Keys        Keys
}

// BuiltinPolicies makes the five policies that every hub has, with new keys.
func BuiltinPolicies(random io.Reader) ([]Policy, error) {
	out := []Policy{
		{Name: "iothubowner", Permissions: AllPermissions},
		{Name: "service", Permissions: ServiceConnect},
		{Name: "device", Permissions: DeviceConnect},
		{Name: "registryRead", Permissions: RegistryRead},
		{Name: "registryReadWrite", Permissions: RegistryRead | RegistryWrite},
	}
	for i := range out {
		var err error
		if out[i].Keys, err = NewKeys(random); err != nil {
			return nil, fmt.Errorf("policy %s: %w", out[i].Name, err)
		}
	}
	return out, nil
}

// ValidatePolicies checks a set of policies. The error wraps ErrPolicy.
func ValidatePolicies(policies []Policy) error {
	if len(policies) > MaxPolicies {
		return fmt.Errorf("%w: %d policies, %d are allowed", ErrPolicy, len(policies), MaxPolicies)
	}
	names := map[string]bool{}
	service := 0
	for _, p := range policies {
		if p.Name == "" || len(p.Name) > maxPolicyName || strings.ContainsAny(p.Name, "&=; \t\r\n/") {
			return fmt.Errorf("%w: the name %.70q has 1 to %d characters without blanks and & = ; /", ErrPolicy, p.Name, maxPolicyName)
		}
		if names[p.Name] {
			return fmt.Errorf("%w: %s is given twice", ErrPolicy, p.Name)
		}
		names[p.Name] = true
		if p.Permissions == 0 || p.Permissions > AllPermissions {
			return fmt.Errorf("%w: %s has no permissions", ErrPolicy, p.Name)
		}
		if p.Keys.Primary.IsZero() || p.Keys.Secondary.IsZero() {
			return fmt.Errorf("%w: %s needs two keys", ErrPolicy, p.Name)
		}
		if p.Permissions.Has(ServiceConnect) {
			service++
		}
	}
	if service > MaxServicePolicies {
		return fmt.Errorf("%w: %d with ServiceConnect, %d are allowed", ErrPolicy, service, MaxServicePolicies)
	}
	return nil
}

// WithPolicy returns the set with p in place of the policy of its name, or at
// its end. The error wraps ErrPolicy or ErrLastOwner.
func WithPolicy(set []Policy, p Policy) ([]Policy, error) {
	out := slices.Clone(set)
	if i := slices.IndexFunc(out, func(q Policy) bool { return q.Name == p.Name }); i >= 0 {
		out[i] = p
	} else {
		out = append(out, p)
	}
	if err := ValidatePolicies(out); err != nil {
		return nil, err
	}
	return out, mustOwn(out)
}

// WithoutPolicy returns the set without the policy of a name; found is false
// when there is none. The error wraps ErrLastOwner.
func WithoutPolicy(set []Policy, name string) (out []Policy, found bool, err error) {
	out = slices.DeleteFunc(slices.Clone(set), func(p Policy) bool { return p.Name == name })
	return out, len(out) < len(set), mustOwn(out)
}

func mustOwn(set []Policy) error {
	if !slices.ContainsFunc(set, func(p Policy) bool { return p.Permissions.Has(AllPermissions) }) {
		return fmt.Errorf("%w: give %s to another policy first", ErrLastOwner, AllPermissions)
	}
	return nil
}

// storedPolicy is the JSON of a policy in the settings topic.
type storedPolicy struct {
	Format      int    `json:"format"`
	Name        string `json:"name"`
	Permissions string `json:"permissions"`
	Primary     []byte `json:"primary"`   // sealed
	Secondary   []byte `json:"secondary"` // sealed
}

const policyFormat = 1

// SealPolicy returns the stored form of a policy: JSON with sealed keys.
func (s *Sealer) SealPolicy(p Policy) ([]byte, error) {
	out := storedPolicy{Format: policyFormat, Name: p.Name, Permissions: p.Permissions.String()}
	var err error
	if out.Primary, err = s.SealKey(p.Keys.Primary, policyScope(p.Name), Primary); err != nil {
		return nil, err
	}
	if out.Secondary, err = s.SealKey(p.Keys.Secondary, policyScope(p.Name), Secondary); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// OpenPolicy reads what SealPolicy wrote.
func (s *Sealer) OpenPolicy(b []byte) (Policy, error) {
	var in storedPolicy
	if err := json.Unmarshal(b, &in); err != nil || in.Format != policyFormat {
		return Policy{}, fmt.Errorf("%w: stored form of %d bytes", ErrPolicy, len(b))
	}
	perm, err := ParsePermission(in.Permissions)
	if err != nil {
		return Policy{}, fmt.Errorf("%w: %s: %w", ErrPolicy, in.Name, err)
	}
	p := Policy{Name: in.Name, Permissions: perm}
	if p.Keys.Primary, err = s.OpenKey(in.Primary, policyScope(in.Name), Primary); err != nil {
		return Policy{}, err
	}
	if p.Keys.Secondary, err = s.OpenKey(in.Secondary, policyScope(in.Name), Secondary); err != nil {
		return Policy{}, err
	}
	return p, nil
}

func policyScope(name string) string { return "policies/" + name }
