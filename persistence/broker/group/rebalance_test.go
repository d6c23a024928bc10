package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestRebalanceEndsWithoutTheLate(t *testing.T) {
	w := newWorld(t, Options{})
	l, f := w.pair()
	j := w.join(joinReq(l))
	for range 11 { // the other one is alive, but does not join
		w.pass(5 * time.Second)
		if err := w.beat(f, 2); err != kerr.RebalanceInProgress {
			t.Fatal(err)
		}
		w.waits(j)
	}
	w.pass(5 * time.Second)
	if r := w.joined(j); r.Generation != 3 || len(r.Members) != 1 {
		t.Fatalf("%+v", r)
	}
	if err := w.beat(f, 2); err != kerr.UnknownMemberID {
		t.Fatal(err)
	}
}

func TestLateLeaderIsReplaced(t *testing.T) {
	w := newWorld(t, Options{})
	_, f := w.pair()
	j := w.join(joinReq(f, "range", "sticky"))
	w.pass(60 * time.Second)
	if r := w.joined(j); r.LeaderID != f || len(r.Members) != 1 {
		t.Fatalf("%+v", r)
	}
}

func TestSessionTimeout(t *testing.T) {
	t.Run("of a member that is silent begins a rebalance", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, f := w.pair()
		for range 2 {
			w.pass(5 * time.Second)
			if err := w.beat(l, 2); err != nil && err != kerr.RebalanceInProgress {
				t.Fatal(err)
			}
		}
		w.state("PreparingRebalance")
		if err := w.beat(f, 2); err != kerr.UnknownMemberID {
			t.Fatal(err)
		}
		if r := w.joined(w.join(joinReq(l))); r.Generation != 3 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("does not run while a member waits", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, f := w.pair()
		j := w.join(joinReq(l))
		for range 6 {
			w.pass(5 * time.Second)
			w.beat(f, 2)
		}
		w.waits(j)
		w.join(joinReq(f))
		if r := w.joined(j); r.Generation != 3 || len(r.Members) != 2 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("of a new member is longer", func(t *testing.T) {
		w := newWorld(t, Options{NewMemberTimeout: 20 * time.Second})
		l, _ := w.pair()
		_, j := w.enter()
		// The leader keeps its session and lets the new one wait.
		for range 4 {
			w.pass(5 * time.Second)
			w.beat(l, 2)
		}
		w.want(w.joined(j).ErrorCode, kerr.UnknownMemberID)
	})
	t.Run("of all leaves an empty group", func(t *testing.T) {
		w := newWorld(t, Options{})
		w.pair()
		w.pass(2 * time.Minute)
		w.state("Empty")
		if w.c.Active("g") || w.c.bytes != 0 {
			t.Fatalf("active %v, %d bytes", w.c.Active("g"), w.c.bytes)
		}
	})
}

func TestPendingSyncTimeout(t *testing.T) {
	w := newWorld(t, Options{})
	l, f := w.pair()
	j1, j2 := w.join(joinReq(l)), w.join(joinReq(f))
	w.want(w.joined(j1).ErrorCode, nil)
	w.want(w.joined(j2).ErrorCode, nil)
	w.want(w.synced(w.sync(l, 3, l, "a", f, "b")).ErrorCode, nil)
	for range 12 { // the follower beats, but never asks for its part
		w.pass(5 * time.Second)
		w.beat(l, 3)
		w.beat(f, 3)
	}
	if err := w.beat(f, 3); err != kerr.UnknownMemberID {
		t.Fatal(err)
	}
	w.state("PreparingRebalance")
}

func TestEmptyGroupIsForgotten(t *testing.T) {
	w := newWorld(t, Options{})
	w.pair()
	w.pass(9 * time.Minute)
	if !w.c.Known("g") {
		t.Fatal("forgotten early")
	}
	w.pass(3 * time.Minute)
	if w.c.Known("g") || len(w.c.due) != 0 {
		t.Fatalf("known %v, %d deadlines", w.c.Known("g"), len(w.c.due))
	}
}

func TestSyncRefusals(t *testing.T) {
	for _, tc := range []struct {
		rule   string
		change func(*kmsg.SyncGroupRequest)
		want   error
	}{
		{"no group", func(r *kmsg.SyncGroupRequest) { r.Group = "" }, kerr.InvalidGroupID},
		{"unknown group", func(r *kmsg.SyncGroupRequest) { r.Group = "other" }, kerr.UnknownMemberID},
		{"unknown member", func(r *kmsg.SyncGroupRequest) { r.MemberID = "x" }, kerr.UnknownMemberID},
		{"unknown instance", func(r *kmsg.SyncGroupRequest) { r.InstanceID = text("i") }, kerr.UnknownMemberID},
		{"past generation", func(r *kmsg.SyncGroupRequest) { r.Generation = 1 }, kerr.IllegalGeneration},
		{"future generation", func(r *kmsg.SyncGroupRequest) { r.Generation = 3 }, kerr.IllegalGeneration},
		{"other protocol", func(r *kmsg.SyncGroupRequest) { r.Protocol = text("sticky") }, kerr.InconsistentGroupProtocol},
		{"other protocol type", func(r *kmsg.SyncGroupRequest) { r.ProtocolType = text("connect") }, kerr.InconsistentGroupProtocol},
		{"no protocol in version 5", func(r *kmsg.SyncGroupRequest) { r.Protocol = nil }, kerr.InconsistentGroupProtocol},
		{"nothing wrong", func(*kmsg.SyncGroupRequest) {}, nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			w := newWorld(t, Options{})
			l, _ := w.pair()
			req := syncReq(l, 2)
			tc.change(req)
			w.want(w.synced(w.syncReq(req)).ErrorCode, tc.want)
		})
	}
	t.Run("while members join", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, f := w.pair()
		w.join(joinReq(l))
		w.want(w.synced(w.sync(f, 2)).ErrorCode, kerr.RebalanceInProgress)
	})
	t.Run("waiting when a rebalance begins", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, f := w.pair()
		w.join(joinReq(l))
		w.join(joinReq(f))
		s := w.sync(f, 3)
		w.waits(s)
		w.join(joinReq(l, "range", "sticky"))
		w.want(w.synced(s).ErrorCode, kerr.RebalanceInProgress)
	})
}

func TestSyncGivesEachItsPart(t *testing.T) {
	w := newWorld(t, Options{})
	l, f := w.pair()
	for _, tc := range []struct{ member, want string }{{l, "a"}, {f, "b"}} {
		r := w.synced(w.sync(tc.member, 2))
		if string(r.MemberAssignment) != tc.want || *r.Protocol != "range" || *r.ProtocolType != "consumer" {
			t.Fatalf("%s: %+v", tc.member, r)
		}
	}
	t.Run("and nothing to whom the leader forgot", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, f := w.pair()
		w.join(joinReq(l))
		w.join(joinReq(f))
		s := w.sync(f, 3)
		w.sync(l, 3, l, "all")
		r := w.synced(s)
		w.want(r.ErrorCode, nil)
		if len(r.MemberAssignment) != 0 {
			t.Fatalf("%q", r.MemberAssignment)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	w := newWorld(t, Options{})
	l, f := w.pair()
	for _, tc := range []struct {
		rule, group, member string
		instance            *string
		generation          int32
		want                error
	}{
		{"no group", "", l, nil, 2, kerr.InvalidGroupID},
		{"unknown group", "other", l, nil, 2, kerr.UnknownMemberID},
		{"unknown member", "g", "x", nil, 2, kerr.UnknownMemberID},
		{"unknown instance", "g", l, text("i"), 2, kerr.UnknownMemberID},
		{"past generation", "g", l, nil, 1, kerr.IllegalGeneration},
		{"alive", "g", l, nil, 2, nil},
	} {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.InstanceID, req.Generation = tc.group, tc.member, tc.instance, tc.generation
		if got := kerr.ErrorForCode(w.c.Heartbeat(w.now, req).ErrorCode); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.rule, got, tc.want)
		}
	}
	w.join(joinReq(l))
	if err := w.beat(f, 2); err != kerr.RebalanceInProgress {
		t.Fatal(err)
	}
	w.join(joinReq(f))
	if err := w.beat(f, 3); err != nil {
		t.Fatalf("heartbeat between join and sync: %v", err)
	}
}

func TestTooLargeAssignment(t *testing.T) {
	w := newWorld(t, Options{MaxBytes: 2000})
	l, f := w.pair()
	w.join(joinReq(l))
	w.join(joinReq(f))
	s := w.sync(f, 3)
	s1 := w.sync(l, 3, l, string(make([]byte, 2000)))
	w.want(w.synced(s).ErrorCode, kerr.UnknownServerError)
	w.want(w.synced(s1).ErrorCode, kerr.UnknownServerError)
	w.state("PreparingRebalance")
}

func TestGenerationsGoOnWhereAnEarlierCoordinatorMayHaveBeen(t *testing.T) {
	w := newWorld(t, Options{})
	w.c.StartAfter(4096)
	_, j := w.enter("range")
	if r := w.joined(j); r.Generation != 4097 || w.c.Generation() != 4097 {
		t.Errorf("generation %d, highest %d", r.Generation, w.c.Generation())
	}
}

func TestAGroupThatWasForgottenGoesOnFromItsGeneration(t *testing.T) {
	w := newWorld(t, Options{})
	l, f := w.pair()
	w.leave(kmsg.LeaveGroupRequestMember{MemberID: l}, kmsg.LeaveGroupRequestMember{MemberID: f})
	last := w.c.Generation()
	w.c.Forget("g")
	if w.c.Known("g") {
		t.Fatal("the group is not forgotten")
	}
	_, j := w.enter("range")
	if r := w.joined(j); r.Generation <= last {
		t.Errorf("generation %d after %d", r.Generation, last)
	}
}
