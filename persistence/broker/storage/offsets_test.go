package storage

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestOffsetsOfATransactionAppearWithItsCommit(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 2)
	pid, e := mustInit(t, l, "x")
	off := func(p int32, o int64) []Offset {
		return []Offset{{TopicPartition: at("a", p), Offset: o, LeaderEpoch: 3, Metadata: "m"}}
	}
	if err := l.CommitOffsets(ctx, "g", off(0, 5)); err != nil {
		t.Fatal(err)
	}
	if err := l.AddOffsets(ctx, "x", pid, e, "g", off(0, 10), false); err != kerr.InvalidTxnState {
		t.Errorf("a group that was not announced: %v", err)
	}
	if err := l.AddGroup(ctx, "x", pid, e, "g"); err != nil {
		t.Fatal(err)
	}
	for p := range int32(2) {
		if err := l.AddOffsets(ctx, "x", pid, e, "g", off(p, 10), false); err != nil {
			t.Fatal(err)
		}
	}
	want := func(rule string, first, second int64, pending bool) {
		t.Helper()
		got := l.CommittedOffsets("g")
		if len(got) != 2 || got[0].Offset.Offset != first || got[1].Offset.Offset != second || got[0].Pending != pending || got[1].Pending != pending {
			t.Errorf("%s: %+v", rule, got)
		}
	}
	want("before the end", 5, -1, true)
	if _, _, err := l.EndTxn(ctx, "x", pid, e, true, false); err != nil {
		t.Fatal(err)
	}
	want("committed", 10, 10, false)
	if got := l.CommittedOffsets("g")[0]; got.LeaderEpoch != 3 || got.Metadata != "m" {
		t.Errorf("%+v", got)
	}

	if err := l.AddOffsets(ctx, "x", pid, e, "g", off(0, 20), true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.EndTxn(ctx, "x", pid, e, false, false); err != nil {
		t.Fatal(err)
	}
	want("aborted", 10, 10, false)

	if err := l.AddOffsets(ctx, "x", pid, e, "g", off(0, 30), true); err != nil {
		t.Fatal(err)
	}
	if err := l.CommitOffsets(ctx, "g", off(0, 31)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.EndTxn(ctx, "x", pid, e, true, false); err != nil {
		t.Fatal(err)
	}
	want("a later commit stays", 31, 10, false)
}

func TestCommitsOfOffsetsAreRefused(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	for _, tt := range []struct {
		rule  string
		group string
		o     Offset
		want  error
	}{
		{"an unknown topic", "g", Offset{TopicPartition: at("b", 0)}, kerr.UnknownTopicOrPartition},
		{"long metadata", "g", Offset{TopicPartition: at("a", 0), Metadata: strings.Repeat("m", 4097)}, kerr.OffsetMetadataTooLarge},
		{"a long group id", strings.Repeat("g", 40000), Offset{TopicPartition: at("a", 0)}, kerr.InvalidGroupID},
	} {
		if err := l.CommitOffsets(ctx, tt.group, []Offset{{TopicPartition: at("a", 0)}, tt.o}); err != tt.want {
			t.Errorf("%s: %v", tt.rule, err)
		}
	}
	if got := l.Groups(); len(got) != 0 {
		t.Errorf("all or none, but there is %v", got)
	}
}

func TestOffsetsGoWithTheirTopicAndGroup(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	mustCreate(t, l, "b", 1)
	both := []Offset{{TopicPartition: at("a", 0)}, {TopicPartition: at("b", 0)}}
	for _, g := range []string{"g", "h"} {
		if err := l.CommitOffsets(ctx, g, both); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.CommitOffsets(ctx, "only b", both[1:]); err != nil {
		t.Fatal(err)
	}
	pid, e := mustInit(t, l, "x")
	if err := l.AddOffsets(ctx, "x", pid, e, "g", both, true); err != nil {
		t.Fatal(err)
	}
	if err := l.DeleteTopic(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if got := l.Groups(); !slices.Equal(got, []string{"g", "h"}) {
		t.Errorf("after a topic went: %v", got)
	}
	if _, _, err := l.EndTxn(ctx, "x", pid, e, true, false); err != nil {
		t.Fatal(err)
	}
	if got := l.CommittedOffsets("g"); len(got) != 1 || got[0].Topic != "a" {
		t.Errorf("%+v", got)
	}
	if err := l.DeleteOffsets(ctx, "h", []TopicPartition{at("a", 0), at("never", 3)}); err != nil {
		t.Fatal(err)
	}
	if err := l.DeleteGroup(ctx, "g"); err != nil {
		t.Fatal(err)
	}
	if got := l.Groups(); len(got) != 0 {
		t.Errorf("in the end: %v", got)
	}
}

func TestOffsetsExpireOnceAGroupHasNoMembers(t *testing.T) {
	c := newClock()
	o := c.options(vfs.NewMem())
	active := map[string]bool{"busy": true}
	o.GroupActive = func(g string) bool { return active[g] }
	l := open(t, o)
	defer l.Close()
	mustCreate(t, l, "a", 1)
	for _, g := range []string{"busy", "idle"} {
		if err := l.CommitOffsets(ctx, g, []Offset{{TopicPartition: at("a", 0)}}); err != nil {
			t.Fatal(err)
		}
	}
	round := func(d time.Duration, want ...string) {
		t.Helper()
		c.move(d)
		if err := l.expireOffsets(ctx); err != nil {
			t.Fatal(err)
		}
		if got := l.Groups(); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	round(7*24*time.Hour, "busy", "idle")
	round(time.Hour, "busy")
	active["busy"] = false
	round(7*24*time.Hour, "busy")
	round(time.Hour)
}
