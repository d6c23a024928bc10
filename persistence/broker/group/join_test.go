package group

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestJoinRefusals(t *testing.T) {
	change := func(f func(*kmsg.JoinGroupRequest)) func(*world) *kmsg.JoinGroupRequest {
		return func(*world) *kmsg.JoinGroupRequest { r := joinReq(""); f(r); return r }
	}
	inPair := func(f func(*kmsg.JoinGroupRequest)) func(*world) *kmsg.JoinGroupRequest {
		return func(w *world) *kmsg.JoinGroupRequest { w.pair(); r := joinReq(""); f(r); return r }
	}
	for _, tc := range []struct {
		rule string
		req  func(*world) *kmsg.JoinGroupRequest
		want error
	}{
		{"no group", change(func(r *kmsg.JoinGroupRequest) { r.Group = "" }), kerr.InvalidGroupID},
		{"session too short", change(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 5_999 }), kerr.InvalidSessionTimeout},
		{"session too long", change(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 30*60_000 + 1 }), kerr.InvalidSessionTimeout},
		{"no protocols", change(func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }), kerr.InconsistentGroupProtocol},
		{"no protocol type", change(func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" }), kerr.InconsistentGroupProtocol},
		{"member id that a new group did not give", change(func(r *kmsg.JoinGroupRequest) { r.MemberID = "x" }), kerr.UnknownMemberID},
		{"member id that a group did not give", inPair(func(r *kmsg.JoinGroupRequest) { r.MemberID = "x" }), kerr.UnknownMemberID},
		{"other protocol type", inPair(func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" }), kerr.InconsistentGroupProtocol},
		{"no protocol in common", inPair(func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Name = "sticky" }), kerr.InconsistentGroupProtocol},
		{"instance that the group does not know", inPair(func(r *kmsg.JoinGroupRequest) { r.MemberID, r.InstanceID = "x", text("i") }), kerr.UnknownMemberID},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			w := newWorld(t, Options{})
			r := w.joined(w.join(tc.req(w)))
			w.want(r.ErrorCode, tc.want)
			if r.Generation != -1 || r.Protocol != nil {
				t.Fatalf("a refusal tells of generation %d, protocol %v", r.Generation, r.Protocol)
			}
		})
	}
	t.Run("a refused join leaves no group behind", func(t *testing.T) {
		w := newWorld(t, Options{})
		r := joinReq("")
		r.Protocols = nil
		w.join(r)
		if groups, _ := w.c.Members(); groups != 0 {
			t.Fatalf("%d groups", groups)
		}
		if _, ok := w.c.Deadline(); ok {
			t.Fatal("a deadline without a group")
		}
	})
}

func TestMemberIDIsRequired(t *testing.T) {
	w := newWorld(t, Options{})
	r := w.joined(w.join(joinReq("")))
	w.want(r.ErrorCode, kerr.MemberIDRequired)
	if r.MemberID != "app-1" {
		t.Fatalf("member id %q", r.MemberID)
	}
	if w.c.Active("g") {
		t.Fatal("a pending member counts as one")
	}
	r = w.joined(w.join(joinReq("app-1")))
	w.want(r.ErrorCode, nil)
	if r.Generation != 1 || r.LeaderID != "app-1" || *r.Protocol != "range" || *r.ProtocolType != "consumer" || len(r.Members) != 1 {
		t.Fatalf("%+v", r)
	}

	t.Run("not before version 4", func(t *testing.T) {
		w := newWorld(t, Options{})
		req := joinReq("")
		req.Version = 3
		w.want(w.joined(w.join(req)).ErrorCode, nil)
	})
	t.Run("not of static members", func(t *testing.T) {
		w := newWorld(t, Options{})
		r := w.joined(w.join(staticReq("i", "")))
		w.want(r.ErrorCode, nil)
		if r.MemberID != "i-1" || *r.Members[0].InstanceID != "i" {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("and given for the session time-out only", func(t *testing.T) {
		w := newWorld(t, Options{})
		id := w.joined(w.join(joinReq(""))).MemberID
		w.pass(10 * time.Second)
		w.want(w.joined(w.join(joinReq(id))).ErrorCode, kerr.UnknownMemberID)
		if w.c.bytes != 0 {
			t.Fatalf("%d bytes left", w.c.bytes)
		}
	})
	t.Run("and an id given is waited for", func(t *testing.T) {
		w := newWorld(t, Options{})
		leader, follower := w.pair()
		id := w.joined(w.join(joinReq(""))).MemberID
		w.state("Stable")
		j := w.join(joinReq(leader))
		j2 := w.join(joinReq(follower))
		w.waits(j)
		w.waits(j2)
		w.pass(10 * time.Second) // the session of the pending one
		if r := w.joined(j); r.Generation != 3 || len(r.Members) != 2 {
			t.Fatalf("%+v", r)
		}
		w.want(w.joined(w.join(joinReq(id))).ErrorCode, kerr.UnknownMemberID)
	})
}

func TestLeaderAloneIsToldMembers(t *testing.T) {
	w := newWorld(t, Options{})
	a, j1 := w.enter("sticky", "range")
	w.sync(a, 1)
	b, j2 := w.enter("range")
	j1 = w.join(joinReq(a, "sticky", "range"))
	r1, r2 := w.joined(j1), w.joined(j2)
	if r1.LeaderID != a || r2.LeaderID != a || r2.MemberID != b {
		t.Fatalf("leader %s, %s", r1.LeaderID, r2.LeaderID)
	}
	if *r1.Protocol != "range" || *r2.Protocol != "range" {
		t.Fatalf("protocol %s is not the one that both know", *r1.Protocol)
	}
	if len(r1.Members) != 2 || len(r2.Members) != 0 {
		t.Fatalf("members %d, %d", len(r1.Members), len(r2.Members))
	}
	if r1.Members[1].MemberID != b || !slices.Equal(r1.Members[1].ProtocolMetadata, joinReq("", "range").Protocols[0].Metadata) {
		t.Fatalf("%+v", r1.Members[1])
	}
}

func TestMostVotesChooseTheProtocol(t *testing.T) {
	w := newWorld(t, Options{InitialRebalanceDelay: time.Second})
	_, j1 := w.enter("a", "b")
	w.enter("b", "a")
	w.enter("b", "a")
	w.pass(3 * time.Second)
	if p := *w.joined(j1).Protocol; p != "b" {
		t.Fatalf("protocol %s", p)
	}
}

func TestRejoinOfAStableGroup(t *testing.T) {
	t.Run("a follower that says the same is told the generation", func(t *testing.T) {
		w := newWorld(t, Options{})
		_, f := w.pair()
		r := w.joined(w.join(joinReq(f)))
		if r.ErrorCode != 0 || r.Generation != 2 || len(r.Members) != 0 {
			t.Fatalf("%+v", r)
		}
		w.state("Stable")
	})
	t.Run("a follower that says something else begins a rebalance", func(t *testing.T) {
		w := newWorld(t, Options{})
		_, f := w.pair()
		w.waits(w.join(joinReq(f, "range", "sticky")))
		w.state("PreparingRebalance")
	})
	t.Run("the leader begins a rebalance", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, _ := w.pair()
		w.waits(w.join(joinReq(l)))
		w.state("PreparingRebalance")
	})
	t.Run("while members sync, the same join is told the same", func(t *testing.T) {
		w := newWorld(t, Options{})
		a, j := w.enter()
		first := w.joined(j)
		again := w.joined(w.join(joinReq(a)))
		if again.Generation != first.Generation || len(again.Members) != 1 {
			t.Fatalf("%+v", again)
		}
	})
	t.Run("a join repeated while it waits answers the earlier one", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, _ := w.pair()
		j := w.join(joinReq(l))
		again := w.join(joinReq(l))
		w.want(w.joined(j).ErrorCode, kerr.RebalanceInProgress)
		w.waits(again)
	})
}

func TestInitialRebalanceDelay(t *testing.T) {
	const delay = 100 * time.Millisecond
	t.Run("members that come in time are in the first generation", func(t *testing.T) {
		w := newWorld(t, Options{InitialRebalanceDelay: delay})
		_, j1 := w.enter()
		w.waits(j1)
		w.pass(delay / 2)
		_, j2 := w.enter()
		w.pass(delay / 2)
		w.waits(j1) // another delay, since a member came
		w.pass(delay)
		if r := w.joined(j1); r.Generation != 1 || len(r.Members) != 2 || w.joined(j2).Generation != 1 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("a member alone waits once", func(t *testing.T) {
		w := newWorld(t, Options{InitialRebalanceDelay: delay})
		_, j := w.enter()
		w.pass(delay - time.Millisecond)
		w.waits(j)
		w.pass(time.Millisecond)
		w.want(w.joined(j).ErrorCode, nil)
	})
	t.Run("not longer than the rebalance time-out", func(t *testing.T) {
		w := newWorld(t, Options{InitialRebalanceDelay: delay})
		short := func(id string) *kmsg.JoinGroupRequest {
			r := joinReq(id)
			r.RebalanceTimeoutMillis = 250
			return r
		}
		id := w.joined(w.join(short(""))).MemberID
		j := w.join(short(id))
		for range 10 {
			w.join(short(w.joined(w.join(short(""))).MemberID))
			w.pass(delay / 2)
		}
		w.want(w.joined(j).ErrorCode, nil)
	})
}

func TestMaxMembers(t *testing.T) {
	w := newWorld(t, Options{MaxMembers: 2})
	l, f := w.pair()
	w.want(w.joined(w.join(joinReq(""))).ErrorCode, kerr.GroupMaxSizeReached)
	w.join(joinReq(l))
	w.want(w.joined(w.join(joinReq(f))).ErrorCode, nil)
}

func TestMaxBytes(t *testing.T) {
	w := newWorld(t, Options{MaxBytes: 4 * memberOverhead})
	var last error
	for range 10 {
		last = kerr.ErrorForCode(w.joined(w.join(joinReq(""))).ErrorCode)
	}
	if last != kerr.GroupMaxSizeReached {
		t.Fatalf("pending ids without end: %v", last)
	}
	w.pass(time.Minute)
	if w.c.bytes != 0 {
		t.Fatalf("%d bytes left", w.c.bytes)
	}
	w.want(w.joined(w.join(joinReq(""))).ErrorCode, kerr.MemberIDRequired)
}

func TestMaxGroups(t *testing.T) {
	w := newWorld(t, Options{MaxGroups: 2})
	enter := func(group string) error {
		r := joinReq("")
		r.Group, r.Version = group, 3
		return kerr.ErrorForCode(w.joined(w.join(r)).ErrorCode)
	}
	if enter("a") != nil || enter("b") != nil {
		t.Fatal("two groups do not fit")
	}
	if err := enter("c"); err != kerr.CoordinatorNotAvailable {
		t.Fatal(err)
	}
	w.pass(time.Minute) // members of a and b expire
	if err := enter("c"); err != nil {
		t.Fatal(err)
	}
}

func TestGivenIDs(t *testing.T) {
	if id := "app-" + NewID(); !given(id) {
		t.Fatalf("%s is not known again", id)
	}
	for _, id := range []string{"", "app", "app-9f1c2a44-5b0e-4c6e-9d9a-6b1de5f1c111", "app-9f1c2a44-5b0e-8c6e-9d9a-6b1de5f1c111"} {
		if given(id) {
			t.Errorf("%q was never given", id)
		}
	}
	if NewID() == NewID() {
		t.Fatal("an id twice")
	}
}
