package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConsumer answers for one group of ConsumerGroupDescribe, version 0
// or 1.
func (c *Coordinator) DescribeConsumer(name string) kmsg.ConsumerGroupDescribeResponseGroup {
	r := kmsg.NewConsumerGroupDescribeResponseGroup()
	r.Group = name
	e := c.groups[name]
	if e == nil {
		return refuseDescribe(r, kerr.GroupIDNotFound, "Group "+name+" not found.")
	}
	g, ok := e.group.(*consumer)
	if !ok {
		return refuseDescribe(r, kerr.GroupIDNotFound, "Group "+name+" is not a consumer group.")
	}
	r.State, r.Epoch, r.AssignmentEpoch = g.stateName(), g.epoch, g.targetEpoch
	r.AssignorName = g.preferred()
	for _, id := range sortedKeys(g.members) {
		m := g.members[id]
		d := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		d.MemberID, d.InstanceID, d.RackID, d.MemberEpoch = id, m.instance, m.rack, m.epoch
		d.ClientID, d.ClientHost = m.clientID, m.host
		d.SubscribedTopics, d.SubscribedTopicRegex = m.topics, text(m.pattern)
		d.MemberType = 1
		d.Assignment.TopicPartitions = g.described(m.assigned)
		d.TargetAssignment.TopicPartitions = g.described(g.target[id])
		r.Members = append(r.Members, d)
	}
	return r
}

func refuseDescribe(r kmsg.ConsumerGroupDescribeResponseGroup, err *kerr.Error, why string) kmsg.ConsumerGroupDescribeResponseGroup {
	r.ErrorCode, r.ErrorMessage = err.Code, &why
	return r
}

// described names the topics of partitions, as far as they still exist.
func (g *consumer) described(set partitions) []kmsg.AssignmentTopicPartition {
	var out []kmsg.AssignmentTopicPartition
	for _, p := range set.sorted() {
		if n := len(out); n == 0 || out[n-1].TopicID != p.topic {
			name, ok := g.c.opts.Topics.TopicName(p.topic)
			if !ok {
				continue
			}
			t := kmsg.NewAssignmentTopicPartition()
			t.TopicID, t.Topic = p.topic, name
			out = append(out, t)
		}
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, p.index)
	}
	return out
}
