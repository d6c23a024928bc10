package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// world drives a coordinator through time and keeps every reply.
type world struct {
	t      *testing.T
	c      *Coordinator
	now    time.Time
	last   Ticket
	got    map[Ticket]kmsg.Response
	stored map[string]bool
}

func newWorld(t *testing.T, o Options) *world {
	w := &world{
		t: t, now: time.Unix(1_700_000_000, 0),
		got: make(map[Ticket]kmsg.Response), stored: make(map[string]bool),
	}
	ids := 0
	o.NewID = func() string { ids++; return fmt.Sprint(ids) }
	w.c = New(o)
	return w
}

func (w *world) take(replies []Reply) {
	w.t.Helper()
	for _, r := range replies {
		if w.got[r.Ticket] != nil {
			w.t.Fatalf("ticket %d answered twice", r.Ticket)
		}
		w.got[r.Ticket] = r.Response
	}
}

// pass lets time pass and tells it at every deadline on the way.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for range 100_000 {
		at, ok := w.c.Deadline()
		if !ok || at.After(end) {
			w.now = end
			return
		}
		if at.After(w.now) {
			w.now = at
		}
		w.take(w.c.Tick(w.now))
	}
	w.t.Fatal("the coordinator's clock does not advance")
}

func (w *world) join(req *kmsg.JoinGroupRequest) Ticket {
	w.t.Helper()
	w.last++
	w.take(w.c.Join(w.now, Client{"app", "/10.0.0.1"}, req, w.last))
	return w.last
}

// enter joins as a new dynamic member and returns its id and the ticket of
// the join that waits.
func (w *world) enter(protocols ...string) (string, Ticket) {
	w.t.Helper()
	id := w.joined(w.join(joinReq("", protocols...))).MemberID
	return id, w.join(joinReq(id, protocols...))
}

func (w *world) joined(t Ticket) *kmsg.JoinGroupResponse {
	w.t.Helper()
	r, ok := w.got[t].(*kmsg.JoinGroupResponse)
	if !ok {
		w.t.Fatalf("join %d is not answered", t)
	}
	return r
}

func (w *world) sync(member string, generation int32, assignments ...string) Ticket {
	w.t.Helper()
	return w.syncReq(syncReq(member, generation, assignments...))
}

func (w *world) syncReq(req *kmsg.SyncGroupRequest) Ticket {
	w.t.Helper()
	w.last++
	w.take(w.c.Sync(w.now, req, w.last))
	return w.last
}

func (w *world) synced(t Ticket) *kmsg.SyncGroupResponse {
	w.t.Helper()
	r, ok := w.got[t].(*kmsg.SyncGroupResponse)
	if !ok {
		w.t.Fatalf("sync %d is not answered", t)
	}
	return r
}

func (w *world) beat(member string, generation int32) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, "g", member, generation
	return kerr.ErrorForCode(w.c.Heartbeat(w.now, req).ErrorCode)
}

func (w *world) leave(members ...kmsg.LeaveGroupRequestMember) *kmsg.LeaveGroupResponse {
	w.t.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group, req.Members = 5, "g", members
	return w.leaveReq(req)
}

func (w *world) leaveReq(req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	w.t.Helper()
	w.last++
	w.take(w.c.Leave(w.now, req, w.last))
	r, ok := w.got[w.last].(*kmsg.LeaveGroupResponse)
	if !ok {
		w.t.Fatal("leave is not answered")
	}
	return r
}

func leaver(id, instance string) kmsg.LeaveGroupRequestMember {
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = id, text(instance)
	return m
}

// pair makes a stable group of two dynamic members in generation 2, of which
// the first leads.
func (w *world) pair() (leader, follower string) {
	w.t.Helper()
	leader, j1 := w.enter()
	w.want(w.joined(j1).ErrorCode, nil)
	follower, j2 := w.enter()
	w.waits(j2)
	w.sync(leader, 1)
	if err := w.beat(leader, 1); err != kerr.RebalanceInProgress {
		w.t.Fatalf("heartbeat: %v", err)
	}
	j1 = w.join(joinReq(leader))
	if g := w.joined(j1).Generation; g != 2 || w.joined(j2).Generation != 2 {
		w.t.Fatalf("generation %d, want 2", g)
	}
	s2 := w.sync(follower, 2)
	w.waits(s2)
	s1 := w.sync(leader, 2, leader, "a", follower, "b")
	w.want(w.synced(s1).ErrorCode, nil)
	w.want(w.synced(s2).ErrorCode, nil)
	w.state("Stable")
	return leader, follower
}

func (w *world) waits(t Ticket) {
	w.t.Helper()
	if r := w.got[t]; r != nil {
		w.t.Fatalf("ticket %d was answered: %+v", t, r)
	}
}

func (w *world) want(code int16, want error) {
	w.t.Helper()
	if got := kerr.ErrorForCode(code); got != want {
		w.t.Fatalf("error %v, want %v", got, want)
	}
}

func (w *world) state(want string) {
	w.t.Helper()
	if got := w.c.Describe("g", 5, w.stored["g"]).State; got != want {
		w.t.Fatalf("state %s, want %s", got, want)
	}
}

// joinReq joins group g as a consumer; no protocols is one named range.
func joinReq(member string, protocols ...string) *kmsg.JoinGroupRequest {
	if len(protocols) == 0 {
		protocols = []string{"range"}
	}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 9, "g", member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 60_000
	for _, p := range protocols {
		jp := kmsg.NewJoinGroupRequestProtocol()
		meta := kmsg.ConsumerMemberMetadata{Topics: []string{"topic-of-" + p}}
		jp.Name, jp.Metadata = p, meta.AppendTo(nil)
		req.Protocols = append(req.Protocols, jp)
	}
	return req
}

// staticReq joins as an instance.
func staticReq(instance, member string, protocols ...string) *kmsg.JoinGroupRequest {
	req := joinReq(member, protocols...)
	req.InstanceID = &instance
	return req
}

// syncReq asks for an assignment; assignments are pairs of member and bytes.
func syncReq(member string, generation int32, assignments ...string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 5, "g", member, generation
	req.ProtocolType, req.Protocol = text("consumer"), text("range")
	for i := 0; i < len(assignments); i += 2 {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = assignments[i], []byte(assignments[i+1])
		req.GroupAssignment = append(req.GroupAssignment, a)
	}
	return req
}
