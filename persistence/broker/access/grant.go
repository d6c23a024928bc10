package access

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Grant is what a user of a shared log is given, in one word and a prefix of
// topics: "read:orders." or "admin:*".
type Grant struct {
	May    Right
	Prefix string // of topics; empty is all
}

// Right is what a grant allows; each includes those before it.
type Right int

// The rights: to consume, to produce as well, and to create, delete and
// configure topics as well.
const (
	Read Right = iota + 1
	Write
	Admin
)

var rightNames = []string{Read: "read", Write: "write", Admin: "admin"}

// ParseGrant reads RIGHT:PREFIX, where PREFIX "*" is all topics.
func ParseGrant(s string) (Grant, error) {
	word, prefix, ok := strings.Cut(s, ":")
	for right := Read; ok && prefix != "" && right <= Admin; right++ {
		if word == rightNames[right] {
			prefix = strings.TrimSuffix(prefix, "*")
			if strings.HasSuffix(prefix, "*") {
				break // no topic has such a name
			}
			return Grant{May: right, Prefix: prefix}, nil
		}
	}
	return Grant{}, fmt.Errorf("grant %q: allowed: read:PREFIX, write:PREFIX or admin:PREFIX, with * for all topics", s)
}

// String is what ParseGrant reads.
func (g Grant) String() string {
	if g.May < Read || g.May > Admin {
		return "none"
	}
	if g.Prefix == "" {
		return rightNames[g.May] + ":*"
	}
	return rightNames[g.May] + ":" + g.Prefix
}

// Rules are the ACLs a user needs for it: those of the topics; its consumer
// groups, and for writing its transactional ids, under any name that begins
// with the prefix or the user's own name.
func (g Grant) Rules(user string) []Rule {
	var rules []Rule
	add := func(resource kmsg.ACLResourceType, prefix string, ops ...kmsg.ACLOperation) {
		r := Rule{Principal: user, Resource: resource, Prefix: prefix != "", Name: prefix}
		if prefix == "" {
			r.Name = "*"
		}
		for _, op := range ops {
			r.Operation = op
			rules = append(rules, r)
		}
	}
	names := []string{g.Prefix, user}
	if g.Prefix == "" {
		names = names[:1]
	}
	add(kmsg.ACLResourceTypeTopic, g.Prefix, kmsg.ACLOperationRead, kmsg.ACLOperationDescribeConfigs)
	for _, name := range names {
		add(kmsg.ACLResourceTypeGroup, name, kmsg.ACLOperationRead)
	}
	if g.May >= Write {
		add(kmsg.ACLResourceTypeTopic, g.Prefix, kmsg.ACLOperationWrite)
		for _, name := range names {
			add(kmsg.ACLResourceTypeTransactionalId, name, kmsg.ACLOperationWrite)
		}
	}
	if g.May >= Admin {
		add(kmsg.ACLResourceTypeTopic, g.Prefix, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete,
			kmsg.ACLOperationAlter, kmsg.ACLOperationAlterConfigs)
		for _, name := range names {
			add(kmsg.ACLResourceTypeGroup, name, kmsg.ACLOperationDelete)
		}
	}
	rules = append(rules, Rule{Principal: user, Resource: kmsg.ACLResourceTypeCluster, Name: ClusterName, Operation: kmsg.ACLOperationDescribe})
	return rules
}
