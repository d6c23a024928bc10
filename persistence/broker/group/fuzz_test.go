package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzCoordinator takes bytes for a sequence of requests of strangers and
// members. Whatever they ask, nothing panics, every request is answered once
// and nothing is remembered of those who are gone.
func FuzzCoordinator(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 1, 1, 0, 2, 0, 9, 200})
	f.Add([]byte("\x00\x00\x00\x01\x00\x02\x06\x00\x01\x06\x01\x01\x09\xff\x07\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		w := newWorld(t, Options{MaxMembers: 3, MaxGroups: 2, MaxBytes: 4000, InitialRebalanceDelay: time.Second, Topics: fakeTopics{"a": 3, "b": 2}})
		next := func() byte {
			if len(in) == 0 {
				return 0
			}
			b := in[0]
			in = in[1:]
			return b
		}
		groups := []string{"g", "h", "i", ""}
		ids := func() string {
			return []string{"", "app-1", "app-2", "i-1", "i-2", "i-3", "x", "1"}[next()%8]
		}
		instance := func() *string { return []*string{nil, nil, text("i"), new(string)}[next()%4] }
		for len(in) > 0 {
			group := groups[next()%4]
			switch next() % 8 {
			case 0, 1:
				req := joinReq(ids())
				req.Group, req.Version, req.InstanceID = group, int16(next()%10), instance()
				req.RebalanceTimeoutMillis = int32(int8(next())) * 1000
				n := min(int(next()), len(in))
				req.Protocols[0].Metadata = in[:n]
				in = in[n:]
				w.join(req)
			case 2:
				req := syncReq(ids(), int32(next()%4), ids(), "part")
				req.Group, req.Version, req.InstanceID = group, int16(next()%6), instance()
				w.syncReq(req)
			case 3:
				req := kmsg.NewPtrLeaveGroupRequest()
				req.Group, req.Version, req.MemberID = group, int16(next()%6), ids()
				m := kmsg.NewLeaveGroupRequestMember()
				m.MemberID, m.InstanceID = ids(), instance()
				req.Members = append(req.Members, m)
				w.leaveReq(req)
			case 4:
				req := kmsg.NewPtrHeartbeatRequest()
				req.Group, req.MemberID, req.InstanceID, req.Generation = group, ids(), instance(), int32(next()%4)
				w.c.Heartbeat(w.now, req)
				w.c.CheckCommit(w.now, Commit{Group: group, Member: ids(), Generation: int32(next()%4) - 1, Version: int16(next() % 10)})
			case 5, 6:
				req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
				req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = group, ids(), int32(next()%8)-3, instance()
				req.Version, req.RebalanceTimeoutMillis = int16(next()%2), int32(int8(next()))
				switch next() % 4 {
				case 0:
					req.SubscribedTopicNames = []string{"a", "b", "a", "none"}
				case 1:
					pattern := string(in[:min(len(in), 5)])
					req.SubscribedTopicRegex = &pattern
				case 2:
					req.SubscribedTopicNames = []string{}
				}
				if next()%2 == 0 {
					req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
				}
				if b := next(); b > 200 {
					req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topicID("a"), Partitions: []int32{int32(int8(b))}})
				}
				w.c.ConsumerHeartbeat(w.now, Client{}, req)
				w.c.DescribeConsumer(group)
			case 7:
				w.pass(time.Duration(next()) * 250 * time.Millisecond)
				w.c.Describe(group, 6, false)
				w.c.List(nil, nil, []string{"stored"})
				if w.c.CheckDeleteGroup(group, false) == nil {
					w.c.Forget(group)
				}
			}
			if w.c.bytes < 0 || w.c.bytes > 4000+1024 {
				t.Fatalf("%d bytes are remembered", w.c.bytes)
			}
		}
		w.pass(2 * time.Hour)
		if n, members := w.c.Members(); n != 0 || members != 0 || w.c.bytes != 0 || len(w.c.due) != 0 {
			t.Fatalf("all are gone, but %d groups, %d members, %d bytes, %d deadlines", n, members, w.c.bytes, len(w.c.due))
		}
		for tk := Ticket(1); tk <= w.last; tk++ {
			if w.got[tk] == nil {
				t.Fatalf("ticket %d was never answered", tk)
			}
		}
	})
}
