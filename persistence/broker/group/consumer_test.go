package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fakeTopics are topics by name with their partitions.
type fakeTopics map[string]int32

func (f fakeTopics) TopicByName(name string) ([16]byte, int32, bool) {
	n, ok := f[name]
	return topicID(name), n, ok
}

func (f fakeTopics) TopicName(id [16]byte) (string, bool) {
	for name := range f {
		if topicID(name) == id {
			return name, true
		}
	}
	return "", false
}

func (f fakeTopics) TopicNames() []string { return sortedKeys(f) }

// client is a member of a consumer group as Kafka's client behaves: it owns
// what it was assigned once it has given up what it was not.
type client struct {
	w         *world
	id        string
	instance  string
	epoch     int32
	topics    []string
	assignor  *string
	owned     partitions
	rejoining bool
	full      bool // an answer was lost, so that the next request says all
	rebalance int32
}

func (w *world) client(id string, topics ...string) *client {
	return &client{w: w, id: id, topics: topics, owned: make(partitions), rejoining: true, rebalance: 30_000}
}

func (c *client) request() *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = 1, "g", c.id, c.epoch
	if c.instance != "" {
		req.InstanceID = &c.instance
	}
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	if c.rejoining || c.full {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.ServerAssignor = c.rebalance, c.topics, c.assignor
		if c.topics == nil {
			req.SubscribedTopicNames = []string{}
		}
	}
	if c.rejoining {
		return req
	}
	for _, p := range c.owned.sorted() {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].TopicID != p.topic {
			t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			t.TopicID = p.topic
			req.Topics = append(req.Topics, t)
		}
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, p.index)
	}
	return req
}

// beat sends a heartbeat and takes what it is told.
func (c *client) beat() error {
	r := c.send(c.request())
	return kerr.ErrorForCode(r.ErrorCode)
}

func (c *client) send(req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	r := c.w.c.ConsumerHeartbeat(c.w.now, Client{"app", "/10.0.0.1"}, req)
	if r.ErrorCode == 0 {
		c.take(r)
	}
	return r
}

func (c *client) take(r *kmsg.ConsumerGroupHeartbeatResponse) {
	c.rejoining, c.full = false, false
	c.epoch = r.MemberEpoch
	if r.Assignment != nil {
		c.owned = make(partitions)
		for _, t := range r.Assignment.Topics {
			for _, i := range t.Partitions {
				c.owned[partition{t.TopicID, i}] = struct{}{}
			}
		}
	}
}

func (c *client) must(t *testing.T) {
	t.Helper()
	if err := c.beat(); err != nil {
		t.Fatal(err)
	}
}

func newConsumerWorld(t *testing.T, topics fakeTopics) *world {
	return newWorld(t, Options{Topics: topics})
}

func TestConsumerGroupReconciles(t *testing.T) {
	w := newConsumerWorld(t, fakeTopics{"a": 4})
	x, y := w.client("x", "a"), w.client("y", "a")
	x.must(t)
	if x.epoch != 1 || len(x.owned) != 4 {
		t.Fatalf("epoch %d, %d partitions", x.epoch, len(x.owned))
	}
	y.must(t)
	if y.epoch != 2 || len(y.owned) != 0 {
		t.Fatalf("the second got %d partitions that the first has, in epoch %d", len(y.owned), y.epoch)
	}
	state := func(want string) {
		t.Helper()
		if got := w.c.DescribeConsumer("g").State; got != want {
			t.Fatalf("state %s, want %s", got, want)
		}
	}
	state("Reconciling")
	x.must(t) // is told to give up two
	if x.epoch != 1 || len(x.owned) != 2 {
		t.Fatalf("epoch %d, %d partitions", x.epoch, len(x.owned))
	}
	y.must(t)
	if len(y.owned) != 0 {
		t.Fatal("partitions are given away before they were given up")
	}
	x.must(t) // says that it has
	if x.epoch != 2 {
		t.Fatalf("epoch %d", x.epoch)
	}
	y.must(t)
	if y.epoch != 2 || len(y.owned) != 2 {
		t.Fatalf("epoch %d, %d partitions", y.epoch, len(y.owned))
	}
	state("Stable")
	for p := range x.owned {
		if y.owned.has(p) {
			t.Fatal("both have", p)
		}
	}

	t.Run("when a topic grows", func(t *testing.T) {
		w.c.opts.Topics.(fakeTopics)["a"] = 6
		w.pass(metadataRefresh)
		x.must(t)
		y.must(t)
		if len(x.owned) != 3 || len(y.owned) != 3 {
			t.Fatalf("%d and %d partitions", len(x.owned), len(y.owned))
		}
	})
	t.Run("when a member leaves", func(t *testing.T) {
		y.epoch = leaveEpoch
		y.must(t)
		state("Assigning")
		x.must(t)
		if len(x.owned) != 6 {
			t.Fatalf("%d partitions", len(x.owned))
		}
		state("Stable")
	})
	t.Run("when the last is silent", func(t *testing.T) {
		w.pass(45 * time.Second)
		state("Empty")
		if w.c.bytes != 0 || w.c.Active("g") {
			t.Fatal("something is left")
		}
		if x.beat() != kerr.UnknownMemberID {
			t.Fatal("a member that is gone is known")
		}
	})
}

func TestConsumerHeartbeatRefusals(t *testing.T) {
	empty := ""
	for _, tc := range []struct {
		rule   string
		change func(*kmsg.ConsumerGroupHeartbeatRequest)
		want   error
	}{
		{"no group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" }, kerr.InvalidRequest},
		{"empty instance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = &empty }, kerr.InvalidRequest},
		{"empty rack", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = &empty }, kerr.InvalidRequest},
		{"no member id in version 1", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" }, kerr.InvalidRequest},
		{"no member id in version 0", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Version, r.MemberID = 0, "" }, nil},
		{"no such epoch", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 }, kerr.InvalidRequest},
		{"a dynamic member that will be back", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 }, kerr.InvalidRequest},
		{"no rebalance time-out", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 }, kerr.InvalidRequest},
		{"no partitions said", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil }, kerr.InvalidRequest},
		{"no subscription", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil }, kerr.InvalidRequest},
		{"an empty subscription", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{} }, nil},
		{"unknown assignor", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = text("sticky") }, kerr.UnsupportedAssignor},
		{"bad expression", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = text("(") }, kerr.InvalidRegularExpression},
		{"expression that grows", func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.SubscribedTopicRegex = text("a{1000}a{1000}a{1000}")
		}, kerr.InvalidRegularExpression},
		{"a member of an unknown group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 3 }, kerr.UnknownMemberID},
		{"leaving an unknown group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 }, kerr.UnknownMemberID},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			w := newConsumerWorld(t, fakeTopics{"a": 1})
			req := w.client("x", "a").request()
			tc.change(req)
			r := w.c.ConsumerHeartbeat(w.now, Client{}, req)
			w.want(r.ErrorCode, tc.want)
			if tc.want != nil && r.ErrorMessage == nil {
				t.Fatal("no word about what is wrong")
			}
		})
	}
}

func TestConsumerEpochs(t *testing.T) {
	w := newConsumerWorld(t, fakeTopics{"a": 2})
	x, y := w.client("x", "a"), w.client("y", "a")
	x.must(t)
	y.must(t)
	x.must(t)
	x.must(t)
	y.must(t)
	at := func(c *client, epoch int32) error {
		req := c.request()
		req.MemberEpoch = epoch
		return kerr.ErrorForCode(w.c.ConsumerHeartbeat(w.now, Client{}, req).ErrorCode)
	}
	if err := at(x, x.epoch+1); err != kerr.FencedMemberEpoch {
		t.Fatalf("an epoch that was not given: %v", err)
	}
	if err := at(x, x.epoch-1); err != nil {
		t.Fatalf("the last epoch of a member whose answer was lost: %v", err)
	}
	z := *x
	z.owned = y.owned
	if err := at(&z, x.epoch-1); err != kerr.FencedMemberEpoch {
		t.Fatalf("the last epoch with partitions of others: %v", err)
	}
	x.rejoining, x.epoch = true, 0
	x.must(t)
	if x.epoch != 2 || len(x.owned) != 1 {
		t.Fatalf("a member that joins again: epoch %d, %d partitions", x.epoch, len(x.owned))
	}
}

func TestConsumerRebalanceTimeout(t *testing.T) {
	w := newConsumerWorld(t, fakeTopics{"a": 2})
	x, y := w.client("x", "a"), w.client("y", "a")
	x.must(t)
	y.must(t)
	stuck := x.request() // goes on owning all
	for range 6 {
		w.pass(5 * time.Second)
		y.must(t)
		x.w.c.ConsumerHeartbeat(w.now, Client{}, stuck)
	}
	if len(y.owned) != 0 {
		t.Fatal("taken before its time")
	}
	w.pass(6 * time.Second)
	y.must(t)
	if len(y.owned) != 2 {
		t.Fatalf("%d partitions", len(y.owned))
	}
	if err := x.beat(); err != kerr.UnknownMemberID {
		t.Fatal(err)
	}
}

func TestConsumerStaticMembers(t *testing.T) {
	w := newConsumerWorld(t, fakeTopics{"a": 4})
	x, y := w.client("x", "a"), w.client("y", "a")
	x.instance = "i"
	x.must(t)
	y.must(t)
	for range 3 {
		x.must(t)
		y.must(t)
	}
	had := x.owned
	other := w.client("x2", "a")
	other.instance = "i"
	if err := other.beat(); err != kerr.UnreleasedInstanceID {
		t.Fatal(err)
	}
	x.epoch = leaveStaticEpoch
	if r := x.send(x.request()); r.MemberEpoch != leaveStaticEpoch {
		t.Fatalf("%+v", r)
	}
	y.must(t)
	if len(y.owned) != 2 {
		t.Fatal("the parts of one that will be back are given away")
	}
	other.must(t)
	if len(other.owned) != 2 || other.epoch != y.epoch {
		t.Fatalf("epoch %d, %d partitions", other.epoch, len(other.owned))
	}
	for p := range had {
		if !other.owned.has(p) {
			t.Fatal("the instance has other partitions than before")
		}
	}
	x.epoch = 2
	if err := x.beat(); err != kerr.FencedInstanceID {
		t.Fatal(err)
	}
	t.Run("that do not come back", func(t *testing.T) {
		other.epoch = leaveStaticEpoch
		other.must(t)
		for range 10 {
			w.pass(5 * time.Second)
			y.must(t)
		}
		if len(y.owned) != 4 {
			t.Fatalf("%d partitions", len(y.owned))
		}
	})
}

func TestConsumerRegex(t *testing.T) {
	topics := fakeTopics{"a1": 1, "a2": 1, "b": 1}
	w := newConsumerWorld(t, topics)
	x := w.client("x")
	req := x.request()
	req.SubscribedTopicRegex = text("a.")
	x.send(req)
	if len(x.owned) != 2 {
		t.Fatalf("%d partitions", len(x.owned))
	}
	topics["a3"], topics["ba3"] = 1, 1
	w.pass(metadataRefresh)
	x.must(t)
	if len(x.owned) != 3 {
		t.Fatalf("%d partitions after a topic was made", len(x.owned))
	}
}

func TestConsumerAssignorOfTheMost(t *testing.T) {
	w := newConsumerWorld(t, fakeTopics{"a": 2})
	x := w.client("x", "a")
	x.must(t)
	if d := w.c.DescribeConsumer("g"); d.AssignorName != "uniform" {
		t.Fatal(d.AssignorName)
	}
	y, z := w.client("y", "a"), w.client("z", "a")
	y.assignor, z.assignor = text("range"), text("range")
	y.must(t)
	z.must(t)
	d := w.c.DescribeConsumer("g")
	if d.AssignorName != "range" || len(d.Members) != 3 || d.Epoch != 3 || d.AssignmentEpoch != 3 {
		t.Fatalf("%+v", d)
	}
	if m := d.Members[0]; m.MemberID != "x" || m.TargetAssignment.TopicPartitions[0].Topic != "a" || m.MemberType != 1 {
		t.Fatalf("%+v", m)
	}
}

func TestConsumerCommit(t *testing.T) {
	w := newConsumerWorld(t, fakeTopics{"a": 2})
	x := w.client("x", "a")
	x.must(t)
	for _, tc := range []struct {
		rule   string
		commit Commit
		want   *kerr.Error
	}{
		{"in its epoch", Commit{Member: "x", Generation: 1, Version: 9}, nil},
		{"in another epoch", Commit{Member: "x", Generation: 2, Version: 9}, kerr.StaleMemberEpoch},
		{"before version 9", Commit{Member: "x", Generation: 1, Version: 8}, kerr.UnsupportedVersion},
		{"of a stranger", Commit{Member: "y", Generation: 1, Version: 9}, kerr.UnknownMemberID},
		{"of nobody", Commit{Generation: -1, Version: 9}, kerr.UnknownMemberID},
		{"in a transaction", Commit{Member: "x", Generation: 1, Transactional: true}, nil},
		{"in a transaction of another epoch", Commit{Member: "x", Generation: 0, Transactional: true}, kerr.IllegalGeneration},
	} {
		tc.commit.Group = "g"
		if err := w.c.CheckCommit(w.now, tc.commit); err != tc.want {
			t.Errorf("%s: %v, want %v", tc.rule, err, tc.want)
		}
	}
	for _, tc := range []struct {
		rule   string
		member *string
		epoch  int32
		want   *kerr.Error
	}{
		{"of an administrator", nil, -1, nil},
		{"of a member", text("x"), 1, nil},
		{"of a member in another epoch", text("x"), 0, kerr.StaleMemberEpoch},
		{"of a stranger", text("y"), 1, kerr.UnknownMemberID},
	} {
		if err := w.c.CheckFetch("g", tc.member, tc.epoch); err != tc.want {
			t.Errorf("fetch %s: %v, want %v", tc.rule, err, tc.want)
		}
	}
}

func TestGroupsChangeTheirKindWhenEmpty(t *testing.T) {
	w := newConsumerWorld(t, fakeTopics{"a": 1})
	l, f := w.pair()
	x := w.client("x", "a")
	if err := x.beat(); err != kerr.GroupIDNotFound {
		t.Fatal(err)
	}
	w.leave(leaver(l, ""), leaver(f, ""))
	x.must(t)
	if r := w.joined(w.join(joinReq(""))); kerr.ErrorForCode(r.ErrorCode) != kerr.InconsistentGroupProtocol {
		t.Fatalf("%+v", r)
	}
	if d := w.c.Describe("g", 6, false); kerr.ErrorForCode(d.ErrorCode) != kerr.GroupIDNotFound {
		t.Fatalf("%+v", d)
	}
	x.epoch = leaveEpoch
	x.must(t)
	if r := w.joined(w.join(joinReq(""))); kerr.ErrorForCode(r.ErrorCode) != kerr.MemberIDRequired {
		t.Fatalf("%+v", r)
	}
}

// TestConsumerRandomMembers lets members come, go, be silent and lose answers,
// and topics grow: no partition is ever two members' who both may commit, and
// when all is quiet the members have all partitions, evenly.
func TestConsumerRandomMembers(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		topics := fakeTopics{"a": 4, "b": 3}
		w := newConsumerWorld(t, topics)
		clients := make([]*client, 2+r.IntN(4))
		names := 0
		fresh := func(i int) *client {
			names++
			c := w.client(fmt.Sprint("m", names), "a", "b")
			if i%3 == 0 {
				c.instance = fmt.Sprint("i", i)
			}
			return c
		}
		for i := range clients {
			clients[i] = fresh(i)
		}
		mayCommit := func(c *client) bool {
			return c.epoch > 0 && w.c.CheckCommit(w.now, Commit{Group: "g", Member: c.id, Generation: c.epoch, Version: 9}) == nil
		}
		gone := func(i int, err error) {
			switch err {
			case kerr.UnknownMemberID, kerr.FencedMemberEpoch, kerr.FencedInstanceID, kerr.UnreleasedInstanceID:
				clients[i] = fresh(i)
			case nil:
			default:
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		for range 300 {
			i := r.IntN(len(clients))
			c := clients[i]
			switch n := r.IntN(30); {
			case n == 0 && !c.rejoining:
				c.epoch = leaveEpoch
				if c.instance != "" {
					c.epoch = leaveStaticEpoch
				}
				c.beat()
				clients[i] = fresh(i)
			case n == 1:
				clients[i] = fresh(i) // crashed
			case n == 2:
				topics["a"]++
			case n < 6 && !c.rejoining: // the answer is lost
				w.c.ConsumerHeartbeat(w.now, Client{}, c.request())
				c.full = true
			default:
				gone(i, c.beat())
			}
			if r.IntN(3) == 0 {
				w.pass(time.Duration(r.IntN(10_000)) * time.Millisecond)
			}
			owners := make(map[partition]string)
			for _, c := range clients {
				if !mayCommit(c) {
					continue
				}
				for p := range c.owned {
					if other, ok := owners[p]; ok {
						t.Fatalf("seed %d: %s and %s both have %v", seed, other, c.id, p)
					}
					owners[p] = c.id
				}
			}
		}
		// Those that crashed expire; the others settle.
		for range 60 {
			w.pass(3 * time.Second)
			for i, c := range clients {
				gone(i, c.beat())
			}
		}
		total := 0
		var loads []int
		for _, c := range clients {
			loads = append(loads, len(c.owned))
			total += len(c.owned)
		}
		if want := int(topics["a"] + topics["b"]); total != want || slices.Max(loads)-slices.Min(loads) > 1 {
			t.Fatalf("seed %d: %v of %d partitions", seed, loads, want)
		}
		if s := w.c.DescribeConsumer("g").State; s != "Stable" {
			t.Fatalf("seed %d: state %s", seed, s)
		}
		w.pass(time.Hour)
		if groups, _ := w.c.Members(); groups != 0 || w.c.bytes != 0 || len(w.c.due) != 0 {
			t.Fatalf("seed %d: %d groups, %d bytes left", seed, groups, w.c.bytes)
		}
	}
}
