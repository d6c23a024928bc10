package access

import "github.com/twmb/franz-go/pkg/kmsg"

// Reserved are the names that a server keeps from clients that do not log in.
type Reserved struct {
	// Private topics are hidden. ReadOnly ones may be read.
	Private, ReadOnly []string
	// Prefix, when set, begins the transactional ids and groups that are
	// private; the groups can still be described, for they are written for
	// tools that show lag.
	Prefix string
}

// Empty reports whether nothing is reserved.
func (r Reserved) Empty() bool { return len(r.Private)+len(r.ReadOnly) == 0 && r.Prefix == "" }

// Rules let a principal use all topics, groups and transactional ids but the
// reserved ones. Of the cluster it may look and no more: the right to create
// topics there would cover private ones too.
func (r Reserved) Rules(principal string) []Rule {
	var rules []Rule
	add := func(deny bool, resource kmsg.ACLResourceType, prefix bool, name string, ops ...kmsg.ACLOperation) {
		for _, op := range ops {
			rules = append(rules, Rule{Principal: principal, Resource: resource, Prefix: prefix, Name: name, Operation: op, Deny: deny})
		}
	}
	for _, resource := range []kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeTransactionalId} {
		add(false, resource, false, "*", kmsg.ACLOperationAll)
	}
	add(false, kmsg.ACLResourceTypeCluster, false, ClusterName,
		kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationIdempotentWrite)

	for _, topic := range r.Private {
		add(true, kmsg.ACLResourceTypeTopic, false, topic, kmsg.ACLOperationAll)
	}
	for _, topic := range r.ReadOnly {
		add(true, kmsg.ACLResourceTypeTopic, false, topic,
			kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete,
			kmsg.ACLOperationAlter, kmsg.ACLOperationAlterConfigs)
	}
	if r.Prefix != "" {
		add(true, kmsg.ACLResourceTypeTransactionalId, true, r.Prefix, kmsg.ACLOperationAll)
		add(true, kmsg.ACLResourceTypeGroup, true, r.Prefix, kmsg.ACLOperationRead, kmsg.ACLOperationDelete)
	}
	return rules
}
