package ipfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrRule is returned for text that is no rule, or too many of them.
var ErrRule = errors.New("invalid IP filter rule")

// MaxRules bounds a filter.
const MaxRules = 100

// Target is what a rule is about.
type Target string

// The targets; the empty one is both.
const (
	Both    Target = ""
	Devices Target = "devices" // connections of devices, on any protocol
	Service Target = "service" // the service REST interface
)

// Rule accepts or rejects the addresses of a network.
type Rule struct {
	Accept bool
	Net    netip.Prefix
	Target Target
}

// ParseRule reads "accept 10.0.0.0/8" or "reject 2001:db8::/32 devices". An
// address alone is a network of one.
func ParseRule(text string) (Rule, error) {
	words := strings.Fields(text)
	bad := func() (Rule, error) {
		return Rule{}, fmt.Errorf("%w: %.80q; allowed: accept|reject CIDR [devices|service]", ErrRule, text)
	}
	if len(words) < 2 || len(words) > 3 || words[0] != "accept" && words[0] != "reject" {
		return bad()
	}
	r := Rule{Accept: words[0] == "accept"}
	if a, err := netip.ParseAddr(words[1]); err == nil && a.Zone() == "" {
		r.Net = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
	} else if p, err := netip.ParsePrefix(words[1]); err == nil && !p.Addr().Is4In6() {
		r.Net = p.Masked()
	} else {
		return bad()
	}
	if len(words) == 3 {
		if r.Target = Target(words[2]); r.Target != Devices && r.Target != Service {
			return bad()
		}
	}
	return r, nil
}

// String is what ParseRule reads.
func (r Rule) String() string {
	word := "reject"
	if r.Accept {
		word = "accept"
	}
	return strings.TrimSpace(word + " " + r.Net.String() + " " + string(r.Target))
}

// Filter is a list of rules in order. The zero Filter accepts everything.
type Filter []Rule

// Parse reads a list of rules.
func Parse(texts []string) (Filter, error) {
	if len(texts) > MaxRules {
		return nil, fmt.Errorf("%w: %d of them, %d are allowed", ErrRule, len(texts), MaxRules)
	}
	f := make(Filter, len(texts))
	for i, t := range texts {
		var err error
		if f[i], err = ParseRule(t); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Texts are what Parse reads.
func (f Filter) Texts() []string {
	out := make([]string, len(f))
	for i := range f {
		out[i] = f[i].String()
	}
	return out
}

// Accepts reports whether an address may reach a target. An address that is not
// known passes only a filter without rules.
func (f Filter) Accepts(t Target, a netip.Addr) bool {
	if !a.IsValid() {
		return len(f) == 0
	}
	a = a.Unmap().WithZone("")
	for _, r := range f {
		if (r.Target == Both || r.Target == t) && r.Net.Contains(a) {
			return r.Accept
		}
	}
	return true
}
