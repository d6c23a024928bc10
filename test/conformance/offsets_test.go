package conformance

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commit commits an offset as the member; generation -1 and no id is a commit
// from outside the group.
func (m *member) commit(version int16, tp topic, partition int32, offset int64, metadata string) int16 {
	m.w.t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation, req.RetentionTimeMillis = m.group, m.id, m.generation, -1
	if m.instance != "" {
		req.InstanceID = &m.instance
	}
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = tp.name, tp.id
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = partition, offset, 0, &metadata
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return ask[*kmsg.OffsetCommitResponse](m.w, version, req).Topics[0].Partitions[0].ErrorCode
}

func outside(w *wire, group string) *member { return &member{w: w, group: group, generation: -1} }

// offsets fetches by group, all when there is no topic.
func offsets(w *wire, group string, stable bool, tps ...topic) kmsg.OffsetFetchResponseGroup {
	w.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = stable
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	for _, tp := range tps {
		rt := kmsg.NewOffsetFetchRequestGroupTopic()
		rt.Topic, rt.Partitions = tp.name, []int32{0}
		g.Topics = append(g.Topics, rt)
	}
	req.Groups = append(req.Groups, g)
	return ask[*kmsg.OffsetFetchResponse](w, 8, req).Groups[0]
}

func offsetOf(t testing.TB, w *wire, group string, tp topic) int64 {
	t.Helper()
	g := offsets(w, group, false, tp)
	must(t, "OffsetFetch", g.ErrorCode)
	must(t, "OffsetFetch", g.Topics[0].Partitions[0].ErrorCode)
	return g.Topics[0].Partitions[0].Offset
}

// OffsetCommit and OffsetFetch, from outside a group.
func TestOffsetsWithoutMembers(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	group := name(t, "group")
	if o := offsetOf(t, w, group, tp); o != -1 {
		t.Errorf("of no group: %d", o)
	}
	if g := offsets(w, group, false); g.ErrorCode != 0 || len(g.Topics) != 0 {
		t.Errorf("all of no group: %+v", g)
	}
	must(t, "commit", outside(w, group).commit(8, tp, 0, 42, "note"))
	for _, g := range []kmsg.OffsetFetchResponseGroup{offsets(w, group, false, tp), offsets(w, group, false)} {
		if len(g.Topics) != 1 || g.Topics[0].Topic != tp.name || len(g.Topics[0].Partitions) != 1 {
			t.Fatalf("%+v", g)
		}
		if p := g.Topics[0].Partitions[0]; p.ErrorCode != 0 || p.Offset != 42 || *p.Metadata != "note" || p.LeaderEpoch != 0 {
			t.Errorf("%+v", p)
		}
	}
	// Before version 8 there is one group a request.
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic, rt.Partitions = tp.name, []int32{0}
	req.Topics = append(req.Topics, rt)
	for version := max(apiVersions(t)[9][0], 1); version <= 7; version++ {
		if p := ask[*kmsg.OffsetFetchResponse](w, version, req).Topics[0].Partitions[0]; p.Offset != 42 {
			t.Errorf("v%d: %+v", version, p)
		}
	}
	code(t, "metadata of 4097 bytes", outside(w, group).commit(8, tp, 0, 43, strings.Repeat("x", 4097)), kerr.OffsetMetadataTooLarge)
	code(t, "partition that is not there", outside(w, group).commit(8, tp, 7, 43, ""), kerr.UnknownTopicOrPartition)
	code(t, "topic that is not there", outside(w, group).commit(8, topic{name: name(t, "absent")}, 0, 43, ""), kerr.UnknownTopicOrPartition)
	code(t, "generation of no group", (&member{w: w, group: name(t, "group"), id: "x", generation: 3}).commit(8, tp, 0, 1, ""), kerr.IllegalGeneration)
	if o := offsetOf(t, w, group, tp); o != 42 {
		t.Errorf("after refusals: %d", o)
	}
	if d := describeGroup(w, group); d.State != "Empty" {
		t.Errorf("state %s", d.State)
	}
}

// Offsets by topic id: OffsetCommit and OffsetFetch version 10 (KIP-848).
func TestOffsetsByTopicID(t *testing.T) {
	if apiVersions(t)[8][1] < 10 || apiVersions(t)[9][1] < 10 {
		t.Skip("not served")
	}
	w := dial(t)
	tp := newTopic(t, w, 1)
	group := name(t, "group")
	must(t, "commit", outside(w, group).commit(10, tp, 0, 7, ""))
	code(t, "unknown id", outside(w, group).commit(10, topic{id: [16]byte{9}}, 0, 7, ""), kerr.UnknownTopicID)
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	rt := kmsg.NewOffsetFetchRequestGroupTopic()
	rt.TopicID, rt.Partitions = tp.id, []int32{0}
	g.Topics = append(g.Topics, rt)
	req.Groups = append(req.Groups, g)
	resp := ask[*kmsg.OffsetFetchResponse](w, 10, req)
	if got := resp.Groups[0].Topics[0]; got.TopicID != tp.id || got.Partitions[0].Offset != 7 {
		t.Errorf("%+v", got)
	}
}

// Within a group only its members commit, and of the generation that is.
func TestOffsetsOfMembers(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	m := alone(t, w, joinOptions{})
	must(t, "commit", m.commit(8, tp, 0, 5, ""))
	stale, stranger := *m, *m
	stale.generation--
	stranger.id = "stranger"
	code(t, "of the past", stale.commit(8, tp, 0, 6, ""), kerr.IllegalGeneration)
	code(t, "of a stranger", stranger.commit(8, tp, 0, 6, ""), kerr.UnknownMemberID)
	code(t, "from outside", outside(w, m.group).commit(8, tp, 0, 6, ""), kerr.UnknownMemberID)
	if o := offsetOf(t, w, m.group, tp); o != 5 {
		t.Errorf("offset %d", o)
	}
	must(t, "leave", m.leave())
	must(t, "from outside when it is empty", outside(w, m.group).commit(8, tp, 0, 7, ""))

	static := &member{w: w, group: name(t, "group"), instance: "i"}
	must(t, "join", static.join(joinOptions{}).ErrorCode)
	must(t, "sync", static.sync(map[string]string{static.id: "x"}).ErrorCode)
	old := *static
	must(t, "join again", (&member{w: w, group: static.group, instance: "i"}).join(joinOptions{}).ErrorCode)
	code(t, "of the static member that was replaced", old.commit(8, tp, 0, 1, ""), kerr.FencedInstanceID)
}

// OffsetDelete (KIP-496): not of topics that members subscribe to.
func TestOffsetDelete(t *testing.T) {
	w := dial(t)
	tp, used := newTopic(t, w, 1), newTopic(t, w, 1)
	group := name(t, "group")
	remove := func(group string, tp topic) (int16, int16) {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		rt := kmsg.NewOffsetDeleteRequestTopic()
		rt.Topic = tp.name
		rp := kmsg.NewOffsetDeleteRequestTopicPartition()
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp := ask[*kmsg.OffsetDeleteResponse](w, 0, req)
		if resp.ErrorCode != 0 {
			return resp.ErrorCode, 0
		}
		return 0, resp.Topics[0].Partitions[0].ErrorCode
	}
	c, _ := remove(group, tp)
	code(t, "no group", c, kerr.GroupIDNotFound)
	must(t, "commit", outside(w, group).commit(8, tp, 0, 5, ""))
	must(t, "commit", outside(w, group).commit(8, used, 0, 6, ""))
	m := &member{w: w, group: group}
	m.identify(joinOptions{})
	req := m.joinRequest(joinOptions{})
	req.Protocols[0].Metadata = subscription(used.name)
	resp := ask[*kmsg.JoinGroupResponse](w, 9, req)
	must(t, "join", resp.ErrorCode)
	m.generation = resp.Generation
	must(t, "sync", m.sync(map[string]string{m.id: "x"}).ErrorCode)
	_, c = remove(group, used)
	code(t, "of a topic that is subscribed to", c, kerr.GroupSubscribedToTopic)
	a, b := remove(group, tp)
	must(t, "of another", a)
	must(t, "of another", b)
	if o := offsetOf(t, w, group, tp); o != -1 {
		t.Errorf("offset %d after its deletion", o)
	}
	if o := offsetOf(t, w, group, used); o != 6 {
		t.Errorf("offset %d", o)
	}
}

// The offsets of a topic go with it.
func TestOffsetsGoWithTheirTopic(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	group := name(t, "group")
	must(t, "commit", outside(w, group).commit(8, tp, 0, 5, ""))
	deleteTopic(t, w, tp.name)
	eventually(t, "the end of the offsets", func() bool {
		return len(offsets(w, group, false).Topics) == 0
	})
}

func (o *owner) commitOffsets(version int16, m *member, tp topic, offset int64) int16 {
	o.w.t.Helper()
	return settled(o.w.t, func() int16 {
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = o.txnID, m.group, o.id, o.epoch
		req.Generation, req.MemberID = m.generation, m.id
		if m.instance != "" {
			req.InstanceID = &m.instance
		}
		rt := kmsg.NewTxnOffsetCommitRequestTopic()
		rt.Topic = tp.name
		rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		rp.Offset, rp.LeaderEpoch = offset, -1
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		return ask[*kmsg.TxnOffsetCommitResponse](o.w, version, req).Topics[0].Partitions[0].ErrorCode
	})
}

// KIP-98 and KIP-447: offsets in a transaction count when it commits; until
// then a reader that wants stable ones is told to wait.
func TestOffsetsInTransactions(t *testing.T) {
	w := dial(t)
	in, out := newTopic(t, w, 1), newTopic(t, w, 1)
	group := name(t, "group")
	must(t, "commit", outside(w, group).commit(8, in, 0, 1, ""))
	o := newOwner(t, w, name(t, "txn"), time.Minute)
	txn := func(offset int64) {
		t.Helper()
		must(t, "AddOffsetsToTxn", addOffsets(o, 3, group))
		must(t, "TxnOffsetCommit", o.commitOffsets(3, outside(w, group), in, offset))
		o.write(out, 0, "x")
	}
	stable := func() int16 { return offsets(w, group, true, in).Topics[0].Partitions[0].ErrorCode }

	txn(10)
	if got := offsetOf(t, w, group, in); got != 1 {
		t.Errorf("open: offset %d", got)
	}
	code(t, "stable while open", stable(), kerr.UnstableOffsetCommit)
	must(t, "commit", o.end(true))
	eventually(t, "the commit", func() bool { return stable() == 0 })
	if got := offsetOf(t, w, group, in); got != 10 {
		t.Errorf("committed: offset %d", got)
	}

	txn(20)
	must(t, "abort", o.end(false))
	eventually(t, "the abort", func() bool { return stable() == 0 })
	if got := offsetOf(t, w, group, in); got != 10 {
		t.Errorf("aborted: offset %d", got)
	}

	// Offsets alone are a transaction too.
	must(t, "AddOffsetsToTxn", addOffsets(o, 3, group))
	must(t, "TxnOffsetCommit", o.commitOffsets(3, outside(w, group), in, 30))
	must(t, "commit", o.end(true))
	eventually(t, "the commit", func() bool { return offsetOf(t, w, group, in) == 30 })

	// The later of two in a transaction counts.
	must(t, "AddOffsetsToTxn", addOffsets(o, 3, group))
	must(t, "TxnOffsetCommit", o.commitOffsets(3, outside(w, group), in, 50))
	must(t, "TxnOffsetCommit", o.commitOffsets(3, outside(w, group), in, 40))
	must(t, "commit", o.end(true))
	eventually(t, "the commit", func() bool { return offsetOf(t, w, group, in) == 40 })

	// A commit beside an open transaction is overtaken by its end.
	must(t, "AddOffsetsToTxn", addOffsets(o, 3, group))
	must(t, "TxnOffsetCommit", o.commitOffsets(3, outside(w, group), in, 60))
	must(t, "plain commit", outside(w, group).commit(8, in, 0, 55, ""))
	if got := offsetOf(t, w, group, in); got != 55 {
		t.Errorf("plain commit beside: offset %d", got)
	}
	must(t, "abort", o.end(false))
	eventually(t, "the abort", func() bool { return stable() == 0 })
	if got := offsetOf(t, w, group, in); got != 55 {
		t.Errorf("after the abort: offset %d", got)
	}
}

// KIP-447: a transaction's offsets are refused to members that are no more.
func TestOffsetsInTransactionsOfMembers(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	m := alone(t, w, joinOptions{})
	o := newOwner(t, w, name(t, "txn"), time.Minute)
	must(t, "AddOffsetsToTxn", addOffsets(o, 3, m.group))
	stale, stranger := *m, *m
	stale.generation--
	stranger.id = "stranger"
	code(t, "of the past", o.commitOffsets(3, &stale, tp, 1), kerr.IllegalGeneration)
	code(t, "of a stranger", o.commitOffsets(3, &stranger, tp, 1), kerr.UnknownMemberID)
	must(t, "of a member", o.commitOffsets(3, m, tp, 2))
	// From outside: before KIP-447 that is how it was done.
	must(t, "from outside", o.commitOffsets(3, outside(w, m.group), tp, 3))
	fenced := *o
	fenced.epoch--
	if fenced.epoch < 0 {
		fresh := newOwner(t, w, o.txnID, time.Minute)
		fenced, *o = *o, *fresh
	}
	// Clients take both codes for the same.
	if c := fenced.commitOffsets(3, m, tp, 9); c != kerr.InvalidProducerEpoch.Code && c != kerr.ProducerFenced.Code {
		t.Errorf("of a producer that was replaced: %v", kerr.ErrorForCode(c))
	}
	code(t, "of a producer that was replaced, to AddOffsetsToTxn", addOffsets(&fenced, 3, m.group), kerr.ProducerFenced)
}
