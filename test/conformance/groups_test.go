package conformance

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// member is one of a classic group, by hand.
type member struct {
	w          *wire
	group      string
	id         string
	instance   string // of a static member
	generation int32
}

type joinOptions struct {
	version   int16 // 0: 9
	session   time.Duration
	rebalance time.Duration
	kind      string   // "": consumer
	protocols []string // nil: range; metadata is the protocol's name and the member's
}

func (m *member) joinRequest(o joinOptions) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = m.group, m.id, "consumer"
	if o.kind != "" {
		req.ProtocolType = o.kind
	}
	if m.instance != "" {
		req.InstanceID = &m.instance
	}
	if o.session == 0 {
		o.session = 30 * time.Second
	}
	if o.rebalance == 0 {
		o.rebalance = 20 * time.Second
	}
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(o.session.Milliseconds()), int32(o.rebalance.Milliseconds())
	if o.protocols == nil {
		o.protocols = []string{"range"}
	}
	for _, p := range o.protocols {
		rp := kmsg.NewJoinGroupRequestProtocol()
		rp.Name, rp.Metadata = p, subscription("topic-of-"+p)
		req.Protocols = append(req.Protocols, rp)
	}
	return req
}

// subscription is what a consumer sends as metadata.
func subscription(topics ...string) []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Topics = topics
	return s.AppendTo(nil)
}

// join asks to join, with a member id of its own first (KIP-394), and waits.
func (m *member) join(o joinOptions) *kmsg.JoinGroupResponse {
	m.w.t.Helper()
	if o.version == 0 {
		o.version = 9
	}
	m.identify(o)
	resp := ask[*kmsg.JoinGroupResponse](m.w, o.version, m.joinRequest(o))
	if resp.ErrorCode == 0 {
		m.id, m.generation = resp.MemberID, resp.Generation
	}
	return resp
}

// identify gets a member id.
func (m *member) identify(o joinOptions) {
	m.w.t.Helper()
	if m.id != "" || m.instance != "" {
		return
	}
	resp := ask[*kmsg.JoinGroupResponse](m.w, 9, m.joinRequest(o))
	if resp.ErrorCode != kerr.MemberIDRequired.Code || resp.MemberID == "" {
		m.w.t.Fatalf("first join: %v, member %q; want MEMBER_ID_REQUIRED and an id", kerr.ErrorForCode(resp.ErrorCode), resp.MemberID)
	}
	m.id = resp.MemberID
}

// joining sends the join alone; wait with joined.
func (m *member) joining(o joinOptions) (wait func() *kmsg.JoinGroupResponse) {
	m.w.t.Helper()
	m.identify(o)
	req := m.joinRequest(o)
	id := m.w.send(9, req)
	return func() *kmsg.JoinGroupResponse {
		m.w.t.Helper()
		resp := m.w.recv(req, id).(*kmsg.JoinGroupResponse)
		if resp.ErrorCode == 0 {
			m.id, m.generation = resp.MemberID, resp.Generation
		}
		return resp
	}
}

func (m *member) syncRequest(plan map[string]string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	if m.instance != "" {
		req.InstanceID = &m.instance
	}
	for id, a := range plan {
		ra := kmsg.NewSyncGroupRequestGroupAssignment()
		ra.MemberID, ra.MemberAssignment = id, []byte(a)
		req.GroupAssignment = append(req.GroupAssignment, ra)
	}
	return req
}

func (m *member) sync(plan map[string]string) *kmsg.SyncGroupResponse {
	m.w.t.Helper()
	return ask[*kmsg.SyncGroupResponse](m.w, 5, m.syncRequest(plan))
}

func (m *member) heartbeat() int16 {
	m.w.t.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	if m.instance != "" {
		req.InstanceID = &m.instance
	}
	return ask[*kmsg.HeartbeatResponse](m.w, 4, req).ErrorCode
}

func (m *member) leave() int16 {
	m.w.t.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = m.group
	rm := kmsg.NewLeaveGroupRequestMember()
	rm.MemberID = m.id
	if m.instance != "" {
		rm.InstanceID = &m.instance
	}
	req.Members = append(req.Members, rm)
	resp := ask[*kmsg.LeaveGroupResponse](m.w, 5, req)
	if resp.ErrorCode != 0 {
		return resp.ErrorCode
	}
	return resp.Members[0].ErrorCode
}

// alone returns the only member of a new group, in its first generation.
func alone(t testing.TB, w *wire, o joinOptions) *member {
	t.Helper()
	m := &member{w: w, group: name(t, "group")}
	resp := m.join(o)
	must(t, "join", resp.ErrorCode)
	must(t, "sync", m.sync(map[string]string{m.id: "plan"}).ErrorCode)
	return m
}

func describeGroup(w *wire, group string) kmsg.DescribeGroupsResponseGroup {
	w.t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	return ask[*kmsg.DescribeGroupsResponse](w, 5, req).Groups[0]
}

// JoinGroup and SyncGroup: one leads and learns of all, the others learn their
// share from it.
func TestGroupJoinAndSync(t *testing.T) {
	a := &member{w: dial(t), group: name(t, "group")}
	b := &member{w: dial(t), group: a.group}
	ra := a.join(joinOptions{protocols: []string{"range", "sticky"}})
	must(t, "join", ra.ErrorCode)
	if ra.LeaderID != a.id || ra.MemberID != a.id || ra.Generation != 1 || *ra.Protocol != "range" || *ra.ProtocolType != "consumer" || len(ra.Members) != 1 {
		t.Errorf("first: %+v", ra)
	}
	rs := a.sync(map[string]string{a.id: "all"})
	if rs.ErrorCode != 0 || string(rs.MemberAssignment) != "all" || *rs.Protocol != "range" || *rs.ProtocolType != "consumer" {
		t.Errorf("sync: %+v", rs)
	}
	must(t, "heartbeat", a.heartbeat())
	if d := describeGroup(a.w, a.group); d.State != "Stable" || d.ProtocolType != "consumer" || d.Protocol != "range" || len(d.Members) != 1 || string(d.Members[0].MemberAssignment) != "all" || d.Members[0].ClientID != "conformance" || d.Members[0].ClientHost != "/127.0.0.1" {
		t.Errorf("described %+v", d)
	}

	// The second makes the group think again; sticky is what both can do.
	wait := b.joining(joinOptions{protocols: []string{"sticky"}})
	eventually(t, "the rebalance", func() bool { return a.heartbeat() == kerr.RebalanceInProgress.Code })
	if d := describeGroup(a.w, a.group); d.State != "PreparingRebalance" {
		t.Errorf("state %s", d.State)
	}
	ra = a.join(joinOptions{protocols: []string{"range", "sticky"}})
	rb := wait()
	must(t, "join", ra.ErrorCode)
	must(t, "join", rb.ErrorCode)
	if ra.Generation != 2 || rb.Generation != 2 || ra.LeaderID != rb.LeaderID || *ra.Protocol != "sticky" || *rb.Protocol != "sticky" {
		t.Errorf("second generation: %+v, %+v", ra, rb)
	}
	leader, follower := ra, rb
	ml, mf := a, b
	if rb.LeaderID == b.id {
		leader, follower, ml, mf = rb, ra, b, a
	}
	if len(leader.Members) != 2 || len(follower.Members) != 0 {
		t.Errorf("members told: leader %d, follower %d", len(leader.Members), len(follower.Members))
	}
	for _, x := range leader.Members {
		if !slices.Equal(x.ProtocolMetadata, subscription("topic-of-sticky")) {
			t.Errorf("metadata of %s: %q", x.MemberID, x.ProtocolMetadata)
		}
	}
	req := mf.syncRequest(nil)
	req.Protocol = kmsg.StringPtr("sticky")
	id := mf.w.send(5, req)
	if d := describeGroup(dial(t), a.group); d.State != "CompletingRebalance" {
		t.Errorf("state %s", d.State)
	}
	lreq := ml.syncRequest(map[string]string{ml.id: "one", mf.id: "two"})
	lreq.Protocol = kmsg.StringPtr("sticky")
	ls := ask[*kmsg.SyncGroupResponse](ml.w, 5, lreq)
	fs := mf.w.recv(req, id).(*kmsg.SyncGroupResponse)
	if string(ls.MemberAssignment) != "one" || string(fs.MemberAssignment) != "two" {
		t.Errorf("assignments %q, %q", ls.MemberAssignment, fs.MemberAssignment)
	}
	// One leaves: the other is told.
	must(t, "leave", mf.leave())
	eventually(t, "the rebalance", func() bool { return ml.heartbeat() == kerr.RebalanceInProgress.Code })
	if r := ml.join(joinOptions{}); r.ErrorCode != 0 || r.Generation != 3 || len(r.Members) != 1 {
		t.Errorf("third generation: %+v", r)
	}
}

// What the requests of members are refused for: error codes of the protocol
// guide.
func TestGroupErrors(t *testing.T) {
	w := dial(t)
	m := alone(t, w, joinOptions{})
	other := func(change func(*member)) *member {
		x := *m
		change(&x)
		return &x
	}
	stranger := other(func(x *member) { x.id = "stranger" })
	stale := other(func(x *member) { x.generation = 0 })
	future := other(func(x *member) { x.generation = 9 })
	absent := other(func(x *member) { x.group = name(t, "group") })

	code(t, "heartbeat of a stranger", stranger.heartbeat(), kerr.UnknownMemberID)
	code(t, "heartbeat of the past", stale.heartbeat(), kerr.IllegalGeneration)
	code(t, "heartbeat of the future", future.heartbeat(), kerr.IllegalGeneration)
	code(t, "heartbeat of no group", absent.heartbeat(), kerr.UnknownMemberID)
	code(t, "sync of a stranger", stranger.sync(nil).ErrorCode, kerr.UnknownMemberID)
	code(t, "sync of the past", stale.sync(nil).ErrorCode, kerr.IllegalGeneration)
	code(t, "sync of no group", absent.sync(nil).ErrorCode, kerr.UnknownMemberID)
	code(t, "leave of a stranger", stranger.leave(), kerr.UnknownMemberID)
	code(t, "leave of no group", absent.leave(), kerr.UnknownMemberID)
	req := m.syncRequest(nil)
	req.Protocol = kmsg.StringPtr("sticky")
	code(t, "sync for another protocol", ask[*kmsg.SyncGroupResponse](w, 5, req).ErrorCode, kerr.InconsistentGroupProtocol)
	// A sync that comes again is answered with the plan.
	if r := m.sync(nil); r.ErrorCode != 0 || string(r.MemberAssignment) != "plan" {
		t.Errorf("sync again: %v, %q", kerr.ErrorForCode(r.ErrorCode), r.MemberAssignment)
	}

	code(t, "join of a stranger", stranger.join(joinOptions{}).ErrorCode, kerr.UnknownMemberID)
	code(t, "join of no group under an id", absent.join(joinOptions{}).ErrorCode, kerr.UnknownMemberID)
	code(t, "session too short", (&member{w: w, group: m.group, id: "x"}).join(joinOptions{session: 10 * time.Millisecond}).ErrorCode, kerr.InvalidSessionTimeout)
	code(t, "session too long", (&member{w: w, group: m.group, id: "x"}).join(joinOptions{session: 24 * time.Hour}).ErrorCode, kerr.InvalidSessionTimeout)
	code(t, "no name", (&member{w: w, id: "x"}).join(joinOptions{}).ErrorCode, kerr.InvalidGroupID)
	code(t, "protocol that others can't", (&member{w: w, group: m.group, id: ""}).joinDirect(joinOptions{protocols: []string{"mine"}}), kerr.InconsistentGroupProtocol)
	code(t, "another kind", (&member{w: w, group: m.group, id: ""}).joinDirect(joinOptions{kind: "connect"}), kerr.InconsistentGroupProtocol)
	code(t, "no protocols", (&member{w: w, group: name(t, "group"), id: ""}).joinDirect(joinOptions{protocols: []string{}}), kerr.InconsistentGroupProtocol)
	must(t, "the member is still there", m.heartbeat())
}

// joinDirect joins without asking for an id first and returns the error.
func (m *member) joinDirect(o joinOptions) int16 {
	m.w.t.Helper()
	return ask[*kmsg.JoinGroupResponse](m.w, 9, m.joinRequest(o)).ErrorCode
}

// Before KIP-394 (JoinGroup version 4) a member joins without an id.
func TestGroupJoinOfOldClients(t *testing.T) {
	if apiVersions(t)[11][0] > 3 {
		t.Skip("not served")
	}
	w := dial(t)
	m := &member{w: w, group: name(t, "group")}
	resp := ask[*kmsg.JoinGroupResponse](w, 3, m.joinRequest(joinOptions{}))
	if resp.ErrorCode != 0 || resp.MemberID == "" || resp.Generation != 1 {
		t.Errorf("%+v", resp)
	}
}

// session.timeout.ms: who is not heard of is out.
func TestGroupSessionTimeout(t *testing.T) {
	t.Parallel()
	m := alone(t, dial(t), joinOptions{session: 6 * time.Second})
	eventually(t, "the end of the session", func() bool {
		d := describeGroup(m.w, m.group)
		return d.State == "Empty" && len(d.Members) == 0
	})
	code(t, "heartbeat", m.heartbeat(), kerr.UnknownMemberID)
}

// rebalance.timeout.ms: who does not join again in time is left behind.
func TestGroupRebalanceTimeout(t *testing.T) {
	slow := alone(t, dial(t), joinOptions{rebalance: time.Second})
	b := &member{w: dial(t), group: slow.group}
	wait := b.joining(joinOptions{rebalance: time.Second})
	r := wait()
	if r.ErrorCode != 0 || r.LeaderID != b.id || len(r.Members) != 1 {
		t.Errorf("%+v", r)
	}
	code(t, "the slow one", slow.heartbeat(), kerr.UnknownMemberID)
}

// A follower asks for a new plan when it joins anew with other metadata; with
// the same it is told the generation that is (JoinGroup of a stable group).
func TestGroupJoinAgain(t *testing.T) {
	a := &member{w: dial(t), group: name(t, "group")}
	b := &member{w: dial(t), group: a.group}
	must(t, "join", a.join(joinOptions{}).ErrorCode)
	must(t, "sync", a.sync(map[string]string{a.id: "x"}).ErrorCode)
	wait := b.joining(joinOptions{})
	eventually(t, "the rebalance", func() bool { return a.heartbeat() == kerr.RebalanceInProgress.Code })
	ra := a.join(joinOptions{})
	wait()
	leader, follower := a, b
	if ra.LeaderID != a.id {
		leader, follower = b, a
	}
	req := follower.syncRequest(nil)
	id := follower.w.send(5, req)
	must(t, "sync", leader.sync(map[string]string{a.id: "x", b.id: "y"}).ErrorCode)
	must(t, "sync", follower.w.recv(req, id).(*kmsg.SyncGroupResponse).ErrorCode)

	if r := follower.join(joinOptions{}); r.ErrorCode != 0 || r.Generation != 2 {
		t.Errorf("follower again: %+v", r)
	}
	// The leader always gets a new round.
	wait = leader.joining(joinOptions{})
	eventually(t, "the rebalance", func() bool { return follower.heartbeat() == kerr.RebalanceInProgress.Code })
	follower.join(joinOptions{})
	if r := wait(); r.ErrorCode != 0 || r.Generation != 3 {
		t.Errorf("leader again: %+v", r)
	}
}

// KIP-345: a static member comes back under its instance id without a
// rebalance, and who was it is shut out.
func TestGroupStaticMembers(t *testing.T) {
	old := &member{w: dial(t), group: name(t, "group"), instance: "i1"}
	r := old.join(joinOptions{})
	must(t, "join without an id", r.ErrorCode)
	must(t, "sync", old.sync(map[string]string{old.id: "plan"}).ErrorCode)
	if d := describeGroup(old.w, old.group); len(d.Members) != 1 || d.Members[0].InstanceID == nil || *d.Members[0].InstanceID != "i1" {
		t.Errorf("described %+v", d)
	}

	fresh := &member{w: dial(t), group: old.group, instance: "i1"}
	r = fresh.join(joinOptions{})
	must(t, "join again", r.ErrorCode)
	// KIP-814: the leader that comes back keeps the generation's plan.
	if fresh.id == old.id || r.Generation != 1 || r.LeaderID != fresh.id || !r.SkipAssignment || len(r.Members) != 1 {
		t.Errorf("again: %+v", r)
	}
	if s := fresh.sync(nil); s.ErrorCode != 0 || string(s.MemberAssignment) != "plan" {
		t.Errorf("sync: %v %q", kerr.ErrorForCode(s.ErrorCode), s.MemberAssignment)
	}
	code(t, "heartbeat of the old one", old.heartbeat(), kerr.FencedInstanceID)
	code(t, "sync of the old one", old.sync(nil).ErrorCode, kerr.FencedInstanceID)
	code(t, "leave of the old one", old.leave(), kerr.FencedInstanceID)
	code(t, "join of the old one", old.join(joinOptions{}).ErrorCode, kerr.FencedInstanceID)
	must(t, "heartbeat of the new one", fresh.heartbeat())
	// An administrator removes it by its instance id.
	admin := &member{w: dial(t), group: old.group, instance: "i1"}
	must(t, "removal", admin.leave())
	if d := describeGroup(old.w, old.group); d.State != "Empty" {
		t.Errorf("state %s", d.State)
	}
	code(t, "removal again", admin.leave(), kerr.UnknownMemberID)
}

// DescribeGroups, ListGroups and DeleteGroups.
func TestGroupAdministration(t *testing.T) {
	w := dial(t)
	m := alone(t, w, joinOptions{})
	find := func(states, types []string) *kmsg.ListGroupsResponseGroup {
		req := kmsg.NewPtrListGroupsRequest()
		req.StatesFilter, req.TypesFilter = states, types
		version := min(apiVersions(t)[16][1], 5)
		for _, g := range ask[*kmsg.ListGroupsResponse](w, version, req).Groups {
			if g.Group == m.group {
				return &g
			}
		}
		return nil
	}
	if g := find(nil, nil); g == nil || g.ProtocolType != "consumer" || g.GroupState != "Stable" {
		t.Errorf("listed %+v", g)
	}
	if find([]string{"Stable"}, nil) == nil || find([]string{"Empty", "Dead"}, nil) != nil {
		t.Error("filter by state")
	}
	if apiVersions(t)[16][1] >= 5 && (find(nil, []string{"classic"}) == nil || find(nil, []string{"consumer"}) != nil) {
		t.Error("filter by type")
	}
	remove := func(group string) int16 {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{group}
		return ask[*kmsg.DeleteGroupsResponse](w, 2, req).Groups[0].ErrorCode
	}
	code(t, "delete with members", remove(m.group), kerr.NonEmptyGroup)
	code(t, "delete of nothing", remove(name(t, "group")), kerr.GroupIDNotFound)
	if d := describeGroup(w, name(t, "group")); d.ErrorCode != 0 || d.State != "Dead" {
		t.Errorf("nothing described: %+v", d)
	}
	if apiVersions(t)[15][1] >= 6 {
		// KIP-1043.
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{name(t, "group")}
		code(t, "nothing described in version 6", ask[*kmsg.DescribeGroupsResponse](w, 6, req).Groups[0].ErrorCode, kerr.GroupIDNotFound)
	}
	must(t, "leave", m.leave())
	if g := find([]string{"Empty"}, nil); g == nil {
		t.Error("not listed as empty")
	}
	must(t, "delete", remove(m.group))
	if find(nil, nil) != nil {
		t.Error("listed after its end")
	}
}
