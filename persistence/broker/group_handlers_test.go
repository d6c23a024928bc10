package broker

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/group"
)

// fill produces the numbers from..to-1, each to the partition of its remainder.
func fill(t testing.TB, s *Server, topic string, partitions, from, to int) {
	t.Helper()
	cl := client(t, s)
	var records []*kgo.Record
	for i := from; i < to; i++ {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: []byte(strconv.Itoa(i))})
	}
	if err := cl.ProduceSync(bounded(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// tally counts values that consumers saw.
type tally struct {
	mu   sync.Mutex
	seen map[string]int
	by   map[string]int // by consumer
	wake chan struct{}
}

func newTally() *tally {
	return &tally{seen: make(map[string]int), by: make(map[string]int), wake: make(chan struct{}, 1)}
}

func (y *tally) add(who string, r *kgo.Record) {
	y.mu.Lock()
	y.seen[string(r.Value)]++
	y.by[who]++
	y.mu.Unlock()
	signal(y.wake)
}

// until waits for n different values.
func (y *tally) until(t testing.TB, n int) {
	t.Helper()
	ctx := bounded(t)
	for {
		y.mu.Lock()
		have := len(y.seen)
		y.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-y.wake:
		case <-ctx.Done():
			t.Fatalf("%d of %d values", have, n)
		}
	}
}

// consume polls until the client is closed, and commits what it saw before it
// polls again.
func consume(t testing.TB, s *Server, y *tally, who string, opts ...kgo.Opt) (stop func()) {
	t.Helper()
	cl := client(t, s, append([]kgo.Opt{
		kgo.ConsumerGroup("g"), kgo.ConsumeTopics("in"), kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ClientID(who), kgo.HeartbeatInterval(100 * time.Millisecond), kgo.SessionTimeout(6 * time.Second),
		kgo.FetchMaxWait(100 * time.Millisecond),
	}, opts...)...)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			fs := cl.PollRecords(ctx, 50)
			fs.EachRecord(func(r *kgo.Record) { y.add(who, r) })
			if err := cl.CommitUncommittedOffsets(bounded(t)); err != nil {
				t.Errorf("%s: commit: %v", who, err)
			}
			cl.AllowRebalance()
		}
	})
	return func() { cancel(); done.Wait(); cl.CloseAllowingRebalance() }
}

func TestGroupConsumes(t *testing.T) {
	for _, tc := range []struct {
		rule string
		opts []kgo.Opt
	}{
		{"range", []kgo.Opt{kgo.Balancers(kgo.RangeBalancer())}},
		{"sticky", []kgo.Opt{kgo.Balancers(kgo.StickyBalancer())}},
		{"cooperative", []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}},
		{"assigned by the coordinator", []kgo.Opt{kgo.ServerSideBalancer()}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			const partitions = 6
			s := start(t, Options{})
			o := s.groups.options()
			o.ConsumerHeartbeatInterval = 50 * time.Millisecond
			s.groups.c = group.New(o)
			createTopic(t, s, "in", partitions)
			fill(t, s, "in", partitions, 0, 300)
			y := newTally()
			stopA := consume(t, s, y, "a", tc.opts...)
			y.until(t, 300)
			stopB := consume(t, s, y, "b", tc.opts...)
			groupMembers(t, s, 2)
			fill(t, s, "in", partitions, 300, 600)
			y.until(t, 600)
			stopA()
			groupMembers(t, s, 1)
			fill(t, s, "in", partitions, 600, 900)
			y.until(t, 900)
			stopB()
			for v, n := range y.seen {
				if n != 1 {
					t.Errorf("%s was seen %d times", v, n)
				}
			}
			if y.by["b"] < 300 {
				t.Errorf("the second member saw %d records", y.by["b"])
			}
			offsets, err := kadm.NewClient(client(t, s)).FetchOffsets(bounded(t), "g")
			if err != nil || len(offsets["in"]) != partitions {
				t.Errorf("%v: %v", offsets, err)
			}
			for p, o := range offsets["in"] {
				if o.At != 900/partitions {
					t.Errorf("partition %d is committed up to %d", p, o.At)
				}
			}
		})
	}
}

// groupMembers waits until the group is stable with n members.
func groupMembers(t testing.TB, s *Server, n int) {
	t.Helper()
	ctx := bounded(t)
	for {
		s.groups.mu.Lock()
		_, members := s.groups.c.Members()
		stable := false
		for _, l := range s.groups.c.List(nil, nil, nil) {
			stable = l.GroupState == "Stable"
		}
		s.groups.mu.Unlock()
		if members == n && stable {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%d members, stable %v", members, stable)
		}
	}
}

func TestStaticMemberRestartsWithoutRebalance(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "in", 2)
	fill(t, s, "in", 2, 0, 20)
	y := newTally()
	eager := kgo.Balancers(kgo.RangeBalancer()) // cooperative members join twice
	stopA := consume(t, s, y, "a", kgo.InstanceID("one"), eager)
	stopB := consume(t, s, y, "b", kgo.InstanceID("two"), eager)
	groupMembers(t, s, 2)
	y.until(t, 20)
	epoch := func() int32 {
		w := dial(t, s)
		defer w.nc.Close()
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID = "g", memberOf(t, s, "two")
		for g := int32(0); ; g++ {
			req.Generation = g
			if r := ask[*kmsg.HeartbeatResponse](w, req, 4); kerr.ErrorForCode(r.ErrorCode) != kerr.IllegalGeneration {
				return g
			}
		}
	}
	before, member := epoch(), memberOf(t, s, "one")
	stopA() // a static member does not leave
	stopA = consume(t, s, y, "a2", kgo.InstanceID("one"), eager)
	fill(t, s, "in", 2, 20, 40)
	y.until(t, 40)
	if after := epoch(); after != before {
		t.Errorf("generation %d, then %d", before, after)
	}
	if memberOf(t, s, "one") == member {
		t.Error("the member id is the same")
	}
	stopA()
	stopB()
}

func memberOf(t testing.TB, s *Server, instance string) string {
	t.Helper()
	s.groups.mu.Lock()
	defer s.groups.mu.Unlock()
	for _, m := range s.groups.c.Describe("g", 5, false).Members {
		if m.InstanceID != nil && *m.InstanceID == instance {
			return m.MemberID
		}
	}
	t.Fatalf("no member of instance %s", instance)
	return ""
}

func TestSessionEndsByTheClock(t *testing.T) {
	s := start(t, Options{})
	w := dial(t, s)
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = "g", "consumer", 6000, 100
	req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range"})
	first := ask[*kmsg.JoinGroupResponse](w, req, 3) // never syncs, so that it is removed in 100 ms
	if first.ErrorCode != 0 {
		t.Fatalf("%+v", first)
	}
	groupState(t, s, "Empty")
	if s.groups.active("g") {
		t.Error("the storage is told that the group has members")
	}
}

func groupState(t testing.TB, s *Server, want string) {
	t.Helper()
	ctx := bounded(t)
	for {
		s.groups.mu.Lock()
		got := s.groups.c.Describe("g", 5, false).State
		s.groups.mu.Unlock()
		if got == want {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("state %s, want %s", got, want)
		}
	}
}

func TestGroupAdministration(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "in", 2)
	fill(t, s, "in", 2, 0, 10)
	y := newTally()
	stop := consume(t, s, y, "a")
	y.until(t, 10)
	groupMembers(t, s, 1)
	adm := kadm.NewClient(client(t, s))
	ctx := bounded(t)

	if l, err := adm.ListGroups(ctx); err != nil || l["g"].State != "Stable" || l["g"].ProtocolType != "consumer" {
		t.Errorf("%v %v", l, err)
	}
	d, err := adm.DescribeGroups(ctx, "g", "none")
	if err != nil || d["g"].State != "Stable" || len(d["g"].Members) != 1 || d["none"].State != "Dead" {
		t.Errorf("%v %v", d, err)
	}
	if got, _ := d["g"].Members[0].Assigned.AsConsumer(); got == nil || len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 2 {
		t.Errorf("assigned %v", got)
	}
	if r, err := adm.DeleteGroups(ctx, "g"); err != nil || r["g"].Err != kerr.NonEmptyGroup {
		t.Errorf("%v %v", r, err)
	}
	if r, err := adm.DeleteOffsets(ctx, "g", kadm.TopicsSet{"in": {0: {}}}); err != nil || r["in"][0] != kerr.GroupSubscribedToTopic {
		t.Errorf("%v %v", r, err)
	}
	stop()
	groupState(t, s, "Empty")
	if r, err := adm.DeleteOffsets(ctx, "g", kadm.TopicsSet{"in": {0: {}}}); err != nil || r["in"][0] != nil {
		t.Errorf("%v %v", r, err)
	}
	if o, err := adm.FetchOffsets(ctx, "g"); err != nil || len(o["in"]) != 1 || o["in"][1].At != 5 {
		t.Errorf("%v %v", o, err)
	}
	if r, err := adm.DeleteGroups(ctx, "g", "none"); err != nil || r["g"].Err != nil || r["none"].Err != kerr.GroupIDNotFound {
		t.Errorf("%v %v", r, err)
	}
	if o, err := adm.FetchOffsets(ctx, "g"); err != nil || len(o) != 0 {
		t.Errorf("%v %v", o, err)
	}
}

func TestGroupsSurviveARestart(t *testing.T) {
	o := Options{Dir: t.TempDir(), SyncWrites: true}
	s, err := Start(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	createTopic(t, s, "in", 1)
	w := dial(t, s)
	commit := func(member string, generation int32) error {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.MemberID, req.Generation = "g", member, generation
		req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "in", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Offset: 7, LeaderEpoch: -1}}}}
		return kerr.ErrorForCode(ask[*kmsg.OffsetCommitResponse](w, req, 9).Topics[0].Partitions[0].ErrorCode)
	}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = "g", "consumer", 6000, 6000
	req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range"})
	member := ask[*kmsg.JoinGroupResponse](w, req, 3).MemberID
	w.nc.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = start(t, o)
	w = dial(t, s)
	if err := commit(member, 1); err != kerr.UnknownMemberID {
		t.Errorf("a member of the time before: %v", err)
	}
	if err := commit("stranger", 1); err != kerr.GroupIDNotFound {
		t.Errorf("a stranger: %v", err)
	}
	if err := commit("", -1); err != nil {
		t.Errorf("nobody in particular: %v", err)
	}
	if err := commit("stranger", 1); err != kerr.UnknownMemberID {
		t.Errorf("a stranger to a group with offsets: %v", err)
	}
	d := kmsg.NewPtrDescribeGroupsRequest()
	d.Groups = []string{"g"}
	if got := ask[*kmsg.DescribeGroupsResponse](w, d, 6).Groups[0]; got.State != "Empty" || got.ErrorCode != 0 {
		t.Errorf("%+v", got)
	}
}

func TestOffsetsOfAllVersions(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "in", 2)
	topic, _ := s.log.Topic("in")
	w := dial(t, s)
	for v := int16(2); v <= 10; v++ {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = fmt.Sprint("g", v), -1
		long := string(make([]byte, maxOffsetMetadata+1))
		meta := "m"
		part := func(p int32, meta *string) kmsg.OffsetCommitRequestTopicPartition {
			return kmsg.OffsetCommitRequestTopicPartition{Partition: p, Offset: int64(v), LeaderEpoch: -1, Metadata: meta}
		}
		req.Topics = []kmsg.OffsetCommitRequestTopic{
			{Topic: "in", TopicID: topic.ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{part(0, &meta), part(1, &long), part(2, nil)}},
			{Topic: "none", TopicID: [16]byte{1}, Partitions: []kmsg.OffsetCommitRequestTopicPartition{part(0, nil)}},
		}
		unknown := error(kerr.UnknownTopicOrPartition)
		if v >= 10 {
			unknown = kerr.UnknownTopicID
		}
		resp := ask[*kmsg.OffsetCommitResponse](w, req, v)
		var got []error
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				got = append(got, kerr.ErrorForCode(p.ErrorCode))
			}
		}
		if want := []error{nil, kerr.OffsetMetadataTooLarge, kerr.UnknownTopicOrPartition, unknown}; !slices.Equal(got, want) {
			t.Errorf("commit version %d: %v, want %v", v, got, want)
		}
	}
	for v := int16(1); v <= 10; v++ {
		for _, all := range []bool{false, true} {
			if all && v < 2 {
				continue
			}
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Group = "g9"
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = "g9"
			if !all {
				req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "in", Partitions: []int32{0, 1}}}
				g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "in", TopicID: topic.ID, Partitions: []int32{0, 1}}}
			}
			req.Groups = append(req.Groups, g)
			resp := ask[*kmsg.OffsetFetchResponse](w, req, v)
			var got []string
			for _, t := range resp.Topics {
				for _, p := range t.Partitions {
					got = append(got, fmt.Sprint(t.Topic, p.Partition, " ", p.Offset, " ", *p.Metadata, p.ErrorCode))
				}
			}
			for _, g := range resp.Groups {
				for _, t := range g.Topics {
					name := t.Topic
					if t.TopicID == topic.ID && v >= 10 {
						name = "in"
					}
					for _, p := range t.Partitions {
						got = append(got, fmt.Sprint(name, p.Partition, " ", p.Offset, " ", *p.Metadata, p.ErrorCode))
					}
				}
			}
			want := []string{"in0 9 m0", "in1 -1 0"}
			if all {
				want = want[:1]
			}
			if !slices.Equal(got, want) {
				t.Errorf("fetch version %d, all %v: %q, want %q", v, all, got, want)
			}
		}
	}
}
