package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestWhoMayCommit(t *testing.T) {
	lost := "app-" + NewID()
	for _, tc := range []struct {
		rule      string
		make      func(*world) (leader string) // nil: no group
		commit    Commit                       // member "leader" stands for the leader
		want      error
		wantInTxn error
	}{
		{"no group id", nil, Commit{Group: "", Generation: -1}, nil, kerr.InvalidGroupID},
		{"no member of no group", nil, Commit{Generation: -1}, nil, nil},
		{"a generation of no group", nil, Commit{Generation: 1, Member: "x", Version: 9}, kerr.GroupIDNotFound, kerr.IllegalGeneration},
		{"a generation of no group, before version 9", nil, Commit{Generation: 1, Member: "x", Version: 8}, kerr.IllegalGeneration, kerr.IllegalGeneration},
		{"a member of an earlier coordinator", nil, Commit{Generation: 1, Member: lost, Version: 9}, kerr.UnknownMemberID, kerr.UnknownMemberID},
		{"no member of a stored group", onlyStored, Commit{Generation: -1}, nil, nil},
		{"a member of a stored group", onlyStored, Commit{Generation: 1, Member: "x", Version: 9}, kerr.UnknownMemberID, kerr.UnknownMemberID},
		{"no member of an empty group", emptied, Commit{Generation: -1}, nil, nil},
		{"a member of an empty group", emptied, Commit{Generation: 2, Member: "x"}, kerr.UnknownMemberID, kerr.UnknownMemberID},
		{"a member", paired, Commit{Generation: 2, Member: "leader"}, nil, nil},
		{"a member of the past generation", paired, Commit{Generation: 1, Member: "leader"}, kerr.IllegalGeneration, kerr.IllegalGeneration},
		{"a member without generation", paired, Commit{Generation: -1, Member: "leader"}, kerr.IllegalGeneration, kerr.IllegalGeneration},
		{"a stranger", paired, Commit{Generation: 2, Member: "x"}, kerr.UnknownMemberID, kerr.UnknownMemberID},
		{"an unknown instance", paired, Commit{Generation: 2, Member: "leader", Instance: text("i")}, kerr.UnknownMemberID, kerr.UnknownMemberID},
		{"nobody in particular", paired, Commit{Generation: -1}, kerr.UnknownMemberID, nil},
		{"a member that is to join", rejoining, Commit{Generation: 2, Member: "leader"}, nil, nil},
		{"a member that is to sync", syncing, Commit{Generation: 1, Member: "leader"}, kerr.RebalanceInProgress, nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			for _, txn := range []bool{false, true} {
				w := newWorld(t, Options{})
				c, want := tc.commit, tc.want
				if c.Transactional = txn; txn {
					want = tc.wantInTxn
				}
				if tc.rule != "no group id" {
					c.Group = "g"
				}
				if tc.make != nil {
					if l := tc.make(w); c.Member == "leader" {
						c.Member = l
					}
				}
				c.Stored = w.stored["g"]
				got := error(nil)
				if err := w.c.CheckCommit(w.now, c); err != nil {
					got = err
				}
				if got != want {
					t.Errorf("transactional %v: %v, want %v", txn, got, want)
				}
			}
		})
	}
}

func onlyStored(w *world) string { w.stored["g"] = true; return "" }
func paired(w *world) string     { l, _ := w.pair(); return l }
func syncing(w *world) string    { l, _ := w.enter(); return l }
func emptied(w *world) string {
	l, f := w.pair()
	w.leave(leaver(l, ""), leaver(f, ""))
	return l
}
func rejoining(w *world) string {
	l, f := w.pair()
	w.join(joinReq(f, "range", "sticky"))
	return l
}

func TestCommitKeepsTheSession(t *testing.T) {
	w := newWorld(t, Options{})
	l, _ := w.pair()
	for range 5 {
		w.pass(5 * time.Second)
		if err := w.c.CheckCommit(w.now, Commit{Group: "g", Member: l, Generation: 2, Version: 8}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhichOffsetsMayBeDeleted(t *testing.T) {
	w := newWorld(t, Options{})
	if _, err := w.c.CheckDelete("g", w.stored["g"]); err != kerr.GroupIDNotFound {
		t.Fatal(err)
	}
	w.stored["g"] = true
	if sub, err := w.c.CheckDelete("g", w.stored["g"]); err != nil || sub("topic-of-range") {
		t.Fatal(err)
	}
	l, f := w.pair()
	sub, err := w.c.CheckDelete("g", w.stored["g"])
	if err != nil || !sub("topic-of-range") || sub("other") {
		t.Fatal(err, "not the topics that members subscribed to")
	}
	w.leave(leaver(l, ""), leaver(f, ""))
	if sub, err := w.c.CheckDelete("g", w.stored["g"]); err != nil || sub("topic-of-range") {
		t.Fatal(err)
	}
	req := joinReq("")
	req.Group, req.ProtocolType, req.Version = "workers", "connect", 3
	w.join(req)
	if _, err := w.c.CheckDelete("workers", false); err != kerr.NonEmptyGroup {
		t.Fatal(err)
	}
}
