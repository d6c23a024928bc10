package conformance

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newMember is one of a group of the new protocol, by hand.
type newMember struct {
	w      *wire
	group  string
	id     string
	epoch  int32
	topics []string
	shares map[[16]byte][]int32 // partitions owned, by topic
}

func (m *newMember) request(epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = m.group, m.id, epoch, -1
	if epoch == 0 {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 20000, m.topics
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return req
}

// beat sends a heartbeat, takes the assignment and owns it at once.
func (m *newMember) beat() *kmsg.ConsumerGroupHeartbeatResponse {
	m.w.t.Helper()
	req := m.request(m.epoch)
	if m.epoch != 0 && m.shares != nil {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for id, partitions := range m.shares {
			rt := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			rt.TopicID, rt.Partitions = id, partitions
			req.Topics = append(req.Topics, rt)
		}
	}
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](m.w, 1, req)
	if resp.ErrorCode == 0 {
		m.epoch = resp.MemberEpoch
		if resp.Assignment != nil {
			m.shares = map[[16]byte][]int32{}
			for _, tp := range resp.Assignment.Topics {
				m.shares[tp.TopicID] = tp.Partitions
			}
		}
	}
	return resp
}

// KIP-848: the coordinator assigns; heartbeats carry the epoch of the member.
func TestConsumerGroupHeartbeat(t *testing.T) {
	if r, ok := apiVersions(t)[68]; !ok || r[1] < 1 {
		t.Skip("not served")
	}
	w := dial(t)
	tp := newTopic(t, w, 3)
	m := &newMember{w: w, group: name(t, "group"), id: name(t, "member"), topics: []string{tp.name}}
	resp := m.beat()
	must(t, "join", resp.ErrorCode)
	if m.epoch < 1 || resp.HeartbeatIntervalMillis <= 0 {
		t.Errorf("joined %+v", resp)
	}
	eventually(t, "the assignment", func() bool {
		must(t, "heartbeat", m.beat().ErrorCode)
		return len(m.shares[tp.id]) == 3
	})
	must(t, "commit", (&member{w: w, group: m.group, id: m.id, generation: m.epoch}).commit(9, tp, 0, 3, ""))
	code(t, "commit of another epoch", (&member{w: w, group: m.group, id: m.id, generation: m.epoch + 1}).commit(9, tp, 0, 3, ""), kerr.StaleMemberEpoch)
	code(t, "commit of a stranger", (&member{w: w, group: m.group, id: "stranger", generation: m.epoch}).commit(9, tp, 0, 3, ""), kerr.UnknownMemberID)

	beat := func(change func(*kmsg.ConsumerGroupHeartbeatRequest)) int16 {
		req := m.request(m.epoch)
		change(req)
		return ask[*kmsg.ConsumerGroupHeartbeatResponse](w, 1, req).ErrorCode
	}
	code(t, "no group", beat(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" }), kerr.InvalidRequest)
	code(t, "no member id", beat(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" }), kerr.InvalidRequest)
	code(t, "stranger", beat(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "stranger" }), kerr.UnknownMemberID)
	code(t, "epoch of the future", beat(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = m.epoch + 5 }), kerr.FencedMemberEpoch)
	code(t, "join with partitions", beat(func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		*r = *m.request(0)
		r.MemberID = name(t, "member")
		r.Topics = append(r.Topics, kmsg.NewConsumerGroupHeartbeatRequestTopic())
	}), kerr.InvalidRequest)
	code(t, "assignor that is not there", beat(func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		*r = *m.request(0)
		r.MemberID, r.ServerAssignor = name(t, "member"), kmsg.StringPtr("mine")
	}), kerr.UnsupportedAssignor)

	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{m.group, name(t, "group")}
	d := ask[*kmsg.ConsumerGroupDescribeResponse](w, 1, describe).Groups
	if len(d) == 2 && d[0].Group != m.group {
		d[0], d[1] = d[1], d[0]
	}
	code(t, "described", d[0].ErrorCode, nil)
	code(t, "group that is not there", d[1].ErrorCode, kerr.GroupIDNotFound)
	if d[0].State != "Stable" || d[0].AssignorName != "uniform" || len(d[0].Members) != 1 || d[0].Members[0].MemberID != m.id || d[0].Members[0].MemberEpoch != m.epoch {
		t.Errorf("described %+v", d[0])
	}
	// A group of the one protocol is none of the other.
	classic := alone(t, w, joinOptions{})
	describe.Groups = []string{classic.group}
	code(t, "classic group", ask[*kmsg.ConsumerGroupDescribeResponse](w, 1, describe).Groups[0].ErrorCode, kerr.GroupIDNotFound)

	second := &newMember{w: dial(t), group: m.group, id: name(t, "member"), topics: m.topics}
	must(t, "second joins", second.beat().ErrorCode)
	eventually(t, "a share for each", func() bool {
		must(t, "heartbeat", m.beat().ErrorCode)
		must(t, "heartbeat", second.beat().ErrorCode)
		return len(m.shares[tp.id])+len(second.shares[tp.id]) == 3 && len(m.shares[tp.id]) > 0 && len(second.shares[tp.id]) > 0
	})
	left := ask[*kmsg.ConsumerGroupHeartbeatResponse](second.w, 1, second.request(-1))
	if left.ErrorCode != 0 || left.MemberEpoch != -1 {
		t.Errorf("leave: %+v", left)
	}
	eventually(t, "all for the one that is left", func() bool {
		must(t, "heartbeat", m.beat().ErrorCode)
		return len(m.shares[tp.id]) == 3
	})
	code(t, "heartbeat of who left", second.beat().ErrorCode, kerr.UnknownMemberID)
}
