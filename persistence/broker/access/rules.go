package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ClusterName is the one resource of the cluster type.
const ClusterName = "kafka-cluster"

// Rule allows or denies an operation on the resources that its name fits, as a
// Kafka ACL: a literal name fits itself, the literal "*" everything, a prefix
// all that begins with it.
type Rule struct {
	Principal string // name without "User:"; "*" is everybody
	Resource  kmsg.ACLResourceType
	Prefix    bool
	Name      string
	Operation kmsg.ACLOperation // ACLOperationAll is every one
	Deny      bool
}

// Rules answer what a principal may do. Of rules that fit, a denying one wins;
// what no rule allows is denied. It is immutable, and so safe for concurrent
// use.
type Rules struct {
	all  []Rule
	of   map[string]*index // by principal
	open bool
}

// index finds the rules for a name without looking at all of them.
type index struct {
	literal map[target]verdicts
	prefix  []prefixed
}

type target struct {
	resource kmsg.ACLResourceType
	name     string
}

type prefixed struct {
	target
	verdicts
}

// verdicts are sets of operations, a bit each.
type verdicts struct{ allow, deny uint32 }

// NewRules puts rules in order. The error names a rule that makes no sense.
func NewRules(rules []Rule) (*Rules, error) {
	r := &Rules{all: slices.Clone(rules), of: map[string]*index{}}
	for _, rule := range rules {
		if rule.Principal == "" || rule.Name == "" {
			return nil, fmt.Errorf("access rule %v: principal and name must not be empty", rule)
		}
		if rule.Operation < kmsg.ACLOperationAll || rule.Operation > kmsg.ACLOperationIdempotentWrite {
			return nil, fmt.Errorf("access rule %v: an operation is needed", rule)
		}
		switch rule.Resource {
		case kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeCluster, kmsg.ACLResourceTypeTransactionalId:
		default:
			return nil, fmt.Errorf("access rule %v: want a topic, group, transactional id or cluster", rule)
		}
		x := r.of[rule.Principal]
		if x == nil {
			x = &index{literal: map[target]verdicts{}}
			r.of[rule.Principal] = x
		}
		at := target{rule.Resource, rule.Name}
		if !rule.Prefix {
			x.literal[at] = x.literal[at].with(rule)
			continue
		}
		i := slices.IndexFunc(x.prefix, func(p prefixed) bool { return p.target == at })
		if i < 0 {
			i = len(x.prefix)
			x.prefix = append(x.prefix, prefixed{target: at})
		}
		x.prefix[i].verdicts = x.prefix[i].with(rule)
	}
	return r, nil
}

// Open are rules that let everybody do everything.
func Open() *Rules { return &Rules{open: true} }

// List returns all rules as given.
func (r *Rules) List() []Rule { return slices.Clone(r.all) }

// Restricted reports whether anything is denied to anybody.
func (r *Rules) Restricted() bool { return !r.open }

func (v verdicts) with(rule Rule) verdicts {
	if rule.Deny {
		v.deny |= bits(rule.Operation)
	} else {
		v.allow |= bits(rule.Operation) | implied(rule.Operation)
	}
	return v
}

func bits(op kmsg.ACLOperation) uint32 {
	if op == kmsg.ACLOperationAll {
		return ^uint32(0)
	}
	return 1 << uint(op)
}

// implied are the operations that come with an allowed one: who may change or
// read a thing may know that it is there. Nothing comes with a denied one.
func implied(op kmsg.ACLOperation) uint32 {
	switch op {
	case kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter:
		return bits(kmsg.ACLOperationDescribe)
	case kmsg.ACLOperationAlterConfigs:
		return bits(kmsg.ACLOperationDescribeConfigs)
	}
	return 0
}

// Allowed reports whether the principal may do the operation to the resource.
func (r *Rules) Allowed(p Principal, op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) bool {
	if p.Super || r.open {
		return true
	}
	v := r.of[p.Name].find(resource, name).and(r.of["*"].find(resource, name))
	return v.allow&^v.deny&bits(op) != 0
}

func (v verdicts) and(w verdicts) verdicts {
	return verdicts{v.allow | w.allow, v.deny | w.deny}
}

func (x *index) find(resource kmsg.ACLResourceType, name string) verdicts {
	if x == nil {
		return verdicts{}
	}
	v := x.literal[target{resource, name}].and(x.literal[target{resource, "*"}])
	for _, p := range x.prefix {
		if p.resource == resource && strings.HasPrefix(name, p.name) {
			v = v.and(p.verdicts)
		}
	}
	return v
}

// AllowedSome reports whether there is a resource of the type that the
// principal may do the operation to. It is what an idempotent producer needs
// before it names a topic (KIP-679). A denied prefix hides the allowed names and
// prefixes that begin with it.
func (r *Rules) AllowedSome(p Principal, op kmsg.ACLOperation, resource kmsg.ACLResourceType) bool {
	if p.Super || r.open {
		return true
	}
	for _, rule := range r.all {
		if rule.Deny || rule.Resource != resource || rule.Principal != "*" && rule.Principal != p.Name ||
			(bits(rule.Operation)|implied(rule.Operation))&bits(op) == 0 {
			continue
		}
		if !r.hidden(p, op, rule) {
			return true
		}
	}
	return false
}

// hidden reports whether denying rules take all that the rule allows.
func (r *Rules) hidden(p Principal, op kmsg.ACLOperation, rule Rule) bool {
	wild := !rule.Prefix && rule.Name == "*"
	for _, deny := range r.all {
		if !deny.Deny || deny.Resource != rule.Resource || deny.Principal != "*" && deny.Principal != p.Name ||
			bits(deny.Operation)&bits(op) == 0 {
			continue
		}
		switch {
		case !deny.Prefix && deny.Name == "*":
			return true
		case deny.Prefix && !wild && strings.HasPrefix(rule.Name, deny.Name):
			return true
		case !deny.Prefix && !rule.Prefix && deny.Name == rule.Name:
			return true
		}
	}
	return false
}
