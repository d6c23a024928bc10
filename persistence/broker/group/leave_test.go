package group

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestLeave(t *testing.T) {
	t.Run("begins a rebalance", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, f := w.pair()
		r := w.leave(leaver(f, ""))
		w.want(r.ErrorCode, nil)
		w.want(r.Members[0].ErrorCode, nil)
		w.state("PreparingRebalance")
		if r := w.joined(w.join(joinReq(l))); r.Generation != 3 || len(r.Members) != 1 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("of the last makes the group empty", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, f := w.pair()
		w.leave(leaver(f, ""), leaver(l, ""))
		w.state("Empty")
		if w.c.bytes != 0 {
			t.Fatalf("%d bytes left", w.c.bytes)
		}
	})
	t.Run("of the one that is waited for ends the wait", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, f := w.pair()
		j := w.join(joinReq(l))
		w.leave(leaver(f, ""))
		if r := w.joined(j); r.Generation != 3 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("of one that waits answers it", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, _ := w.pair()
		j := w.join(joinReq(l))
		w.leave(leaver(l, ""))
		w.want(w.joined(j).ErrorCode, kerr.UnknownMemberID)
	})
	t.Run("of a pending id", func(t *testing.T) {
		w := newWorld(t, Options{})
		id := w.joined(w.join(joinReq(""))).MemberID
		w.want(w.leave(leaver(id, "")).Members[0].ErrorCode, nil)
		w.want(w.joined(w.join(joinReq(id))).ErrorCode, kerr.UnknownMemberID)
	})
	t.Run("of a static member by its instance", func(t *testing.T) {
		w := newWorld(t, Options{})
		w.want(w.joined(w.join(staticReq("i", ""))).ErrorCode, nil)
		r := w.leave(leaver("", "i"), leaver("", "other"), leaver("x", "i"))
		w.want(r.Members[0].ErrorCode, nil)
		w.want(r.Members[1].ErrorCode, kerr.UnknownMemberID)
		w.want(r.Members[2].ErrorCode, kerr.UnknownMemberID)
		w.state("Empty")
	})
	t.Run("of a fenced static member", func(t *testing.T) {
		w := newWorld(t, Options{})
		old := w.joined(w.join(staticReq("i", ""))).MemberID
		w.join(staticReq("i", ""))
		w.want(w.leave(leaver(old, "i")).Members[0].ErrorCode, kerr.FencedInstanceID)
	})
	t.Run("of strangers", func(t *testing.T) {
		w := newWorld(t, Options{})
		w.want(w.leave(leaver("x", "")).Members[0].ErrorCode, kerr.UnknownMemberID)
		w.pair()
		w.want(w.leave(leaver("x", "")).Members[0].ErrorCode, kerr.UnknownMemberID)
		w.state("Stable")
	})
	t.Run("before version 3 has one error for all", func(t *testing.T) {
		w := newWorld(t, Options{})
		l, _ := w.pair()
		for _, tc := range []struct {
			group, member string
			want          error
		}{{"", l, kerr.InvalidGroupID}, {"other", l, kerr.UnknownMemberID}, {"g", "x", kerr.UnknownMemberID}, {"g", l, nil}} {
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Version, req.Group, req.MemberID = 2, tc.group, tc.member
			w.want(w.leaveReq(req).ErrorCode, tc.want)
		}
	})
}
