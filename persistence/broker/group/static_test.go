package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// statics makes a stable group of two static members in generation 2.
func statics(w *world) (leader, follower string) {
	w.t.Helper()
	leader = w.joined(w.join(staticReq("one", ""))).MemberID
	w.sync(leader, 1)
	j2 := w.join(staticReq("two", ""))
	w.want(w.joined(w.join(staticReq("one", leader))).ErrorCode, nil)
	follower = w.joined(j2).MemberID
	s := w.sync(follower, 2)
	w.sync(leader, 2, leader, "a", follower, "b")
	w.want(w.synced(s).ErrorCode, nil)
	w.state("Stable")
	return leader, follower
}

func TestStaticMemberComesBack(t *testing.T) {
	t.Run("a follower keeps its part without a rebalance", func(t *testing.T) {
		w := newWorld(t, Options{})
		leader, old := statics(w)
		r := w.joined(w.join(staticReq("two", "")))
		w.want(r.ErrorCode, nil)
		if r.Generation != 2 || r.MemberID == old || r.LeaderID != leader || r.SkipAssignment || len(r.Members) != 0 {
			t.Fatalf("%+v", r)
		}
		if a := w.synced(w.sync(r.MemberID, 2)).MemberAssignment; string(a) != "b" {
			t.Fatalf("assignment %q", a)
		}
		w.state("Stable")

		t.Run("and the old one is fenced", func(t *testing.T) {
			req := syncReq(old, 2)
			req.InstanceID = text("two")
			w.want(w.synced(w.syncReq(req)).ErrorCode, kerr.FencedInstanceID)
			w.want(w.joined(w.join(staticReq("two", old))).ErrorCode, kerr.FencedInstanceID)
			if err := w.beat(old, 2); err != kerr.UnknownMemberID {
				t.Fatal(err)
			}
		})
	})
	t.Run("the leader is told to skip the assignment", func(t *testing.T) {
		w := newWorld(t, Options{})
		statics(w)
		r := w.joined(w.join(staticReq("one", "")))
		if !r.SkipAssignment || r.LeaderID != r.MemberID || len(r.Members) != 2 || r.Generation != 2 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("a leader that can't skip is told that another leads", func(t *testing.T) {
		w := newWorld(t, Options{})
		old, _ := statics(w)
		req := staticReq("one", "")
		req.Version = 8
		r := w.joined(w.join(req))
		if r.LeaderID != old || r.SkipAssignment || len(r.Members) != 0 {
			t.Fatalf("%+v", r)
		}
		w.state("Stable")
	})
	t.Run("with another protocol it begins a rebalance", func(t *testing.T) {
		w := newWorld(t, Options{})
		leader := w.joined(w.join(staticReq("one", "", "range", "sticky"))).MemberID
		w.sync(leader, 1, leader, "a")
		// Alone in the group, so what it likes best is the group's choice.
		j := w.join(staticReq("one", "", "sticky", "range"))
		r := w.joined(j)
		if r.Generation != 2 || *r.Protocol != "sticky" {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("while its join waits, the old one is told", func(t *testing.T) {
		w := newWorld(t, Options{})
		leader, _ := statics(w)
		j := w.join(staticReq("one", leader))
		again := w.join(staticReq("one", ""))
		w.want(w.joined(j).ErrorCode, kerr.FencedInstanceID)
		w.waits(again)
	})
	t.Run("while members sync, they join again", func(t *testing.T) {
		w := newWorld(t, Options{})
		leader, follower := statics(w)
		w.join(staticReq("one", leader))
		w.join(staticReq("two", follower))
		s := w.syncReq(syncReq(follower, 3))
		w.join(staticReq("one", ""))
		w.want(w.synced(s).ErrorCode, kerr.RebalanceInProgress)
		w.state("PreparingRebalance")
	})
}

func TestStaticMemberIsKeptThroughARebalance(t *testing.T) {
	w := newWorld(t, Options{})
	leader, follower := statics(w)
	j := w.join(staticReq("one", leader))
	for range 11 {
		w.pass(5 * time.Second)
		w.beat(follower, 2)
	}
	w.waits(j)
	w.pass(5 * time.Second)
	if r := w.joined(j); r.Generation != 3 || len(r.Members) != 2 {
		t.Fatalf("the one that did not join was removed: %+v", r)
	}
	t.Run("until its session ends", func(t *testing.T) {
		w.sync(leader, 3, leader, "a")
		for range 5 {
			w.pass(5 * time.Second)
			w.beat(leader, 3)
		}
		w.state("PreparingRebalance")
		if _, members := w.c.Members(); members != 1 {
			t.Fatalf("%d members", members)
		}
	})
}

func TestStaticMemberThatComesBackUnsyncedMustSync(t *testing.T) {
	w := newWorld(t, Options{})
	leader, follower := statics(w)
	w.join(staticReq("one", leader))
	w.join(staticReq("two", follower))
	w.sync(leader, 3, leader, "a", follower, "b")
	id := w.joined(w.join(staticReq("two", ""))).MemberID
	for range 12 {
		w.pass(5 * time.Second)
		w.beat(leader, 3)
		w.beat(id, 3)
	}
	if err := w.beat(id, 3); err != kerr.UnknownMemberID {
		t.Fatal(err)
	}
}

func TestStaticMembersWithoutTimeToJoinAreWaitedFor(t *testing.T) {
	w := newWorld(t, Options{})
	hasty := func(r *kmsg.JoinGroupRequest) *kmsg.JoinGroupRequest {
		r.Version, r.RebalanceTimeoutMillis = 3, 0
		return r
	}
	id := w.joined(w.join(hasty(staticReq("one", "")))).MemberID
	w.sync(id, 1, id, "a")
	w.waits(w.join(hasty(joinReq(""))))
	w.leave(leaver("app-2", "")) // nobody has joined the rebalance that it began
	w.pass(5 * time.Second)
	if err := w.beat(id, 1); err != kerr.UnknownMemberID && err != kerr.RebalanceInProgress {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	w.state("Empty")
}
