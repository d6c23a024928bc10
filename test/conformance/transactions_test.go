package conformance

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// owner is a transactional producer that speaks by hand, in the versions of
// KIP-98 (before KIP-890 part 2).
type owner struct {
	w     *wire
	txnID string
	id    int64
	epoch int16
	seq   map[int32]int32 // next by partition
}

func newOwner(t testing.TB, w *wire, txnID string, timeout time.Duration) *owner {
	t.Helper()
	o := &owner{w: w, txnID: txnID, seq: map[int32]int32{}}
	var resp *kmsg.InitProducerIDResponse
	must(t, "InitProducerId", settled(t, func() int16 {
		resp = initProducer(w, 4, txnID, timeout, -1, -1)
		return resp.ErrorCode
	}))
	o.id, o.epoch = resp.ProducerID, resp.ProducerEpoch
	return o
}

func (o *owner) add(tp topic, partitions ...int32) int16 {
	o.w.t.Helper()
	return settled(o.w.t, func() int16 {
		resp := addPartitions(o, 3, tp, partitions...)
		return resp.Topics[0].Partitions[0].ErrorCode
	})
}

func addPartitions(o *owner, version int16, tp topic, partitions ...int32) *kmsg.AddPartitionsToTxnResponse {
	o.w.t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = o.txnID, o.id, o.epoch
	rt := kmsg.NewAddPartitionsToTxnRequestTopic()
	rt.Topic, rt.Partitions = tp.name, partitions
	req.Topics = append(req.Topics, rt)
	return ask[*kmsg.AddPartitionsToTxnResponse](o.w, version, req)
}

func (o *owner) batch(partition int32, v ...string) []byte {
	b := batch{producer: o.id, epoch: o.epoch, seq: o.seq[partition], txn: true, records: values(v...)}.bytes()
	return b
}

func (o *owner) put(tp topic, partition int32, v ...string) kmsg.ProduceResponseTopicPartition {
	o.w.t.Helper()
	p := produceTo(o.w, 9, tp, partition, o.txnID, o.batch(partition, v...))
	if p.ErrorCode == 0 {
		o.seq[partition] += int32(len(v))
	}
	return p
}

// write adds the partition and writes to it.
func (o *owner) write(tp topic, partition int32, v ...string) int64 {
	o.w.t.Helper()
	must(o.w.t, "AddPartitionsToTxn", o.add(tp, partition))
	p := o.put(tp, partition, v...)
	must(o.w.t, "produce", p.ErrorCode)
	return p.BaseOffset
}

func endTxn(o *owner, version int16, commit bool) *kmsg.EndTxnResponse {
	o.w.t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = o.txnID, o.id, o.epoch, commit
	return ask[*kmsg.EndTxnResponse](o.w, version, req)
}

func (o *owner) end(commit bool) int16 {
	o.w.t.Helper()
	return settled(o.w.t, func() int16 { return endTxn(o, 3, commit).ErrorCode })
}

// KIP-98: records of a transaction are read committed together or not at all;
// the last stable offset is where the first open one begins; a marker takes an
// offset; aborted ones are told by their first offset.
func TestTransactionCommitAndAbort(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 2)
	o := newOwner(t, w, name(t, "txn"), time.Minute)

	put(t, w, tp, 0, "before")
	o.write(tp, 0, "a", "b")
	o.write(tp, 1, "c")
	put(t, w, tp, 0, "after")
	p := fetchFrom(w, tp, 0, 0, fetchOptions{committed: true})
	if p.HighWatermark != 4 || p.LastStableOffset != 1 || !slices.Equal(valuesOf(parse(t, p.RecordBatches)), []string{"before"}) {
		t.Errorf("open: high %d, stable %d, %v", p.HighWatermark, p.LastStableOffset, valuesOf(parse(t, p.RecordBatches)))
	}
	if got := valuesOf(readAll(t, w, tp, 0, 0, false)); !slices.Equal(got, []string{"before", "a", "b", "after"}) {
		t.Errorf("open, uncommitted: %v", got)
	}
	if l := listOffset(w, 7, tp, 0, -1, true); l.Offset != 1 {
		t.Errorf("latest committed %d, want 1", l.Offset)
	}
	must(t, "commit", o.end(true))
	eventually(t, "the end of the transaction", func() bool {
		return fetchFrom(w, tp, 0, 0, fetchOptions{}).LastStableOffset == 5 && fetchFrom(w, tp, 1, 0, fetchOptions{}).LastStableOffset == 2
	})
	rs := readAll(t, w, tp, 0, 0, true)
	if got := valuesOf(rs); !slices.Equal(got, []string{"before", "a", "b", "after"}) {
		t.Errorf("committed: %v", got)
	}
	// The marker: key is version 0 and type 1 for commit, 0 for abort.
	if m := rs[len(rs)-1]; !m.control || !m.txn || m.key != "\x00\x00\x00\x01" || m.offset != 4 || m.producer != o.id {
		t.Errorf("marker %+v", m)
	}

	first := o.write(tp, 0, "d")
	put(t, w, tp, 0, "e")
	must(t, "abort", o.end(false))
	eventually(t, "the end of the transaction", func() bool { return fetchFrom(w, tp, 0, 0, fetchOptions{}).LastStableOffset == 8 })
	p = fetchFrom(w, tp, 0, 0, fetchOptions{committed: true})
	if len(p.AbortedTransactions) != 1 || p.AbortedTransactions[0].ProducerID != o.id || p.AbortedTransactions[0].FirstOffset != first {
		t.Errorf("aborted %+v, want %d at %d", p.AbortedTransactions, o.id, first)
	}
	rs = parse(t, p.RecordBatches)
	if m := rs[len(rs)-1]; !m.control || m.key != "\x00\x00\x00\x00" {
		t.Errorf("marker %+v", m)
	}
	if p := fetchFrom(w, tp, 0, 0, fetchOptions{}); len(p.AbortedTransactions) != 0 {
		t.Errorf("aborted ones for a reader of all: %+v", p.AbortedTransactions)
	}
	if p := fetchFrom(w, tp, 0, 8, fetchOptions{committed: true}); len(p.AbortedTransactions) != 0 {
		t.Errorf("aborted ones after the end: %+v", p.AbortedTransactions)
	}
}

// Several transactions over one partition: the stable offset moves to the
// first that is still open, and each aborted one is told.
func TestTransactionsInterleaved(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	a := newOwner(t, w, name(t, "txn"), time.Minute)
	b := newOwner(t, w, name(t, "txn"), time.Minute)
	c := newOwner(t, w, name(t, "txn"), time.Minute)
	a.write(tp, 0, "a1") // 0
	b.write(tp, 0, "b1") // 1
	c.write(tp, 0, "c1") // 2
	a.put(tp, 0, "a2")   // 3
	stable := func(want int64) {
		t.Helper()
		eventually(t, "the stable offset", func() bool { return fetchFrom(w, tp, 0, 0, fetchOptions{}).LastStableOffset == want })
	}
	stable(0)
	must(t, "abort", b.end(false)) // 4
	stable(0)
	must(t, "commit", a.end(true)) // 5
	stable(2)
	if got := valuesOf(readAll(t, w, tp, 0, 0, true)); !slices.Equal(got, []string{"a1", "b1"}) {
		t.Errorf("up to the stable offset: %v", got)
	}
	must(t, "abort", c.end(false)) // 6
	stable(7)
	p := fetchFrom(w, tp, 0, 0, fetchOptions{committed: true})
	aborted := map[int64]int64{}
	for _, x := range p.AbortedTransactions {
		aborted[x.ProducerID] = x.FirstOffset
	}
	if len(aborted) != 2 || aborted[b.id] != 1 || aborted[c.id] != 2 {
		t.Errorf("aborted %v", p.AbortedTransactions)
	}
}

// A committed reader that waits is answered when a transaction ends.
func TestTransactionEndWakesReaders(t *testing.T) {
	w, reader := dial(t), dial(t)
	tp := newTopic(t, w, 1)
	o := newOwner(t, w, name(t, "txn"), time.Minute)
	o.write(tp, 0, "a")
	req := fetchRequest(tp, 0, 0, fetchOptions{committed: true, wait: patience, minBytes: 1})
	id := reader.send(12, req)
	if _, _, err := reader.frame(200 * time.Millisecond); err == nil {
		t.Fatal("answered with an open transaction")
	}
	must(t, "commit", o.end(true))
	resp := reader.recv(req, id).(*kmsg.FetchResponse)
	if got := valuesOf(parse(t, resp.Topics[0].Partitions[0].RecordBatches)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%v", got)
	}
}

// KIP-98: who begins under an id ends the transaction of who had it before and
// shuts him out everywhere.
func TestTransactionFencing(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	id := name(t, "txn")
	old := newOwner(t, w, id, time.Minute)
	old.write(tp, 0, "zombie")
	fresh := newOwner(t, w, id, time.Minute)
	if fresh.id != old.id || fresh.epoch <= old.epoch {
		t.Errorf("producer %d epoch %d after %d, %d", fresh.id, fresh.epoch, old.id, old.epoch)
	}
	eventually(t, "the abort", func() bool { return fetchFrom(w, tp, 0, 0, fetchOptions{}).LastStableOffset == 2 })
	if got := fetchFrom(w, tp, 0, 0, fetchOptions{committed: true}); len(got.AbortedTransactions) != 1 {
		t.Errorf("aborted %v", got.AbortedTransactions)
	}

	code(t, "AddPartitionsToTxn", old.add(tp, 0), kerr.ProducerFenced)
	code(t, "AddPartitionsToTxn before version 2", addPartitions(old, 1, tp, 0).Topics[0].Partitions[0].ErrorCode, kerr.InvalidProducerEpoch)
	code(t, "Produce", old.put(tp, 0, "x").ErrorCode, kerr.InvalidProducerEpoch)
	code(t, "EndTxn commit", old.end(true), kerr.ProducerFenced)
	code(t, "EndTxn abort", old.end(false), kerr.ProducerFenced)
	code(t, "EndTxn before version 2", endTxn(old, 1, true).ErrorCode, kerr.InvalidProducerEpoch)
	code(t, "AddOffsetsToTxn", addOffsets(old, 3, "g"), kerr.ProducerFenced)
	code(t, "InitProducerId", initProducer(w, 4, id, time.Minute, old.id, old.epoch).ErrorCode, kerr.ProducerFenced)
	code(t, "InitProducerId version 3", initProducer(w, 3, id, time.Minute, old.id, old.epoch).ErrorCode, kerr.InvalidProducerEpoch)

	fresh.write(tp, 0, "good")
	must(t, "commit", fresh.end(true))
	eventually(t, "the commit", func() bool { return fetchFrom(w, tp, 0, 0, fetchOptions{}).LastStableOffset == 4 })
}

func addOffsets(o *owner, version int16, group string) int16 {
	o.w.t.Helper()
	return settled(o.w.t, func() int16 {
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = o.txnID, o.id, o.epoch, group
		return ask[*kmsg.AddOffsetsToTxnResponse](o.w, version, req).ErrorCode
	})
}

// InitProducerId: what it refuses, and KIP-360 (with id and epoch given).
func TestInitProducerID(t *testing.T) {
	w := dial(t)
	code(t, "empty transactional id", initProducerOf(w, kmsg.StringPtr(""), time.Minute).ErrorCode, kerr.InvalidRequest)
	code(t, "time-out of nothing", initProducer(w, 4, name(t, "txn"), 0, -1, -1).ErrorCode, kerr.InvalidTransactionTimeout)
	code(t, "time-out of a month", initProducer(w, 4, name(t, "txn"), 24*24*time.Hour, -1, -1).ErrorCode, kerr.InvalidTransactionTimeout)
	code(t, "id without epoch", initProducer(w, 4, name(t, "txn"), time.Minute, 5, -1).ErrorCode, kerr.InvalidRequest)
	code(t, "epoch without id", initProducer(w, 4, name(t, "txn"), time.Minute, -1, 5).ErrorCode, kerr.InvalidRequest)

	a, b := newProducer(t, w), newProducer(t, w)
	if a == b {
		t.Error("two producers of one id")
	}

	id := name(t, "txn")
	first := newOwner(t, w, id, time.Minute)
	second := newOwner(t, w, id, time.Minute)
	if second.id != first.id || second.epoch != first.epoch+1 {
		t.Errorf("%d/%d after %d/%d", second.id, second.epoch, first.id, first.epoch)
	}
	var third *kmsg.InitProducerIDResponse
	must(t, "with its own id and epoch", settled(t, func() int16 {
		third = initProducer(w, 4, id, time.Minute, second.id, second.epoch)
		return third.ErrorCode
	}))
	if third.ProducerID != second.id || third.ProducerEpoch != second.epoch+1 {
		t.Errorf("%d/%d after %d/%d", third.ProducerID, third.ProducerEpoch, second.id, second.epoch)
	}
	// The answer was lost, the request comes again: same result.
	again := initProducer(w, 4, id, time.Minute, second.id, second.epoch)
	if again.ErrorCode != 0 || again.ProducerID != third.ProducerID || again.ProducerEpoch != third.ProducerEpoch {
		t.Errorf("again: %v, %d/%d, want %d/%d", kerr.ErrorForCode(again.ErrorCode), again.ProducerID, again.ProducerEpoch, third.ProducerID, third.ProducerEpoch)
	}
	code(t, "epoch before that", initProducer(w, 4, id, time.Minute, first.id, first.epoch).ErrorCode, kerr.ProducerFenced)
	code(t, "another's id", initProducer(w, 4, id, time.Minute, a, 0).ErrorCode, kerr.ProducerFenced)
}

func initProducerOf(w *wire, txnID *string, timeout time.Duration) *kmsg.InitProducerIDResponse {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = txnID, int32(timeout.Milliseconds()), -1, -1
	return ask[*kmsg.InitProducerIDResponse](w, 4, req)
}

// What a transaction's requests refuse: error codes of the protocol guide.
func TestTransactionErrors(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 2)
	o := newOwner(t, w, name(t, "txn"), time.Minute)

	code(t, "commit of nothing", o.end(true), kerr.InvalidTxnState)
	code(t, "write to a partition that was not added", o.put(tp, 0, "x").ErrorCode, kerr.InvalidTxnState)

	stranger := &owner{w: w, txnID: o.txnID, id: o.id + 1000, epoch: 0, seq: map[int32]int32{}}
	code(t, "AddPartitionsToTxn of another's id", stranger.add(tp, 0), kerr.InvalidProducerIDMapping)
	code(t, "EndTxn of another's id", stranger.end(true), kerr.InvalidProducerIDMapping)
	unknown := &owner{w: w, txnID: name(t, "txn"), id: o.id, epoch: 0}
	code(t, "EndTxn of an id that has not begun", unknown.end(true), kerr.InvalidProducerIDMapping)
	ahead := &owner{w: w, txnID: o.txnID, id: o.id, epoch: o.epoch + 1}
	code(t, "epoch of the future", ahead.end(true), kerr.ProducerFenced)

	// All or none: beside a topic that is not there, nothing is added.
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = o.txnID, o.id, o.epoch
	for _, n := range []string{tp.name, name(t, "absent")} {
		rt := kmsg.NewAddPartitionsToTxnRequestTopic()
		rt.Topic, rt.Partitions = n, []int32{0}
		req.Topics = append(req.Topics, rt)
	}
	for _, rt := range ask[*kmsg.AddPartitionsToTxnResponse](w, 3, req).Topics {
		want := kerr.OperationNotAttempted
		if rt.Topic != tp.name {
			want = kerr.UnknownTopicOrPartition
		}
		code(t, "AddPartitionsToTxn beside an unknown topic", rt.Partitions[0].ErrorCode, want)
	}
	code(t, "and so nothing to commit", o.end(true), kerr.InvalidTxnState)

	o.write(tp, 0, "a")
	must(t, "the same partition again", o.add(tp, 0))
	must(t, "commit", o.end(true))
	must(t, "commit again", o.end(true))
	code(t, "abort after the commit", o.end(false), kerr.InvalidTxnState)
	code(t, "write after the end", o.put(tp, 0, "x").ErrorCode, kerr.InvalidTxnState)
	o.write(tp, 0, "b")
	must(t, "abort", o.end(false))
	must(t, "abort again", o.end(false))
	code(t, "commit after the abort", o.end(true), kerr.InvalidTxnState)
	if got := readAll(t, w, tp, 0, 0, false); len(got) != 4 {
		t.Errorf("%d records, want 2 and 2 markers: %+v", len(got), got)
	}
}

// transaction.timeout.ms: a transaction that takes longer is aborted and its
// owner shut out.
func TestTransactionTimeout(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	o := newOwner(t, w, name(t, "txn"), time.Second)
	o.write(tp, 0, "late")
	eventually(t, "the abort", func() bool { return fetchFrom(w, tp, 0, 0, fetchOptions{}).LastStableOffset == 2 })
	if p := fetchFrom(w, tp, 0, 0, fetchOptions{committed: true}); len(p.AbortedTransactions) != 1 {
		t.Errorf("aborted %v", p.AbortedTransactions)
	}
	code(t, "commit after it", o.end(true), kerr.ProducerFenced)
	code(t, "write after it", o.put(tp, 0, "x").ErrorCode, kerr.InvalidProducerEpoch)
	// KIP-360: with its id and epoch the owner comes back.
	must(t, "InitProducerId", settled(t, func() int16 {
		return initProducer(w, 4, o.txnID, time.Second, o.id, o.epoch).ErrorCode
	}))
}

// ListTransactions, DescribeTransactions (KIP-664) and DescribeProducers show
// what is open.
func TestTransactionsAreShown(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	o := newOwner(t, w, name(t, "txn"), time.Minute)
	put(t, w, tp, 0, "x")
	describe := func(id string) kmsg.DescribeTransactionsResponseTransactionState {
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = []string{id}
		return ask[*kmsg.DescribeTransactionsResponse](w, 0, req).TransactionStates[0]
	}
	state := describe(o.txnID)
	if state.ErrorCode != 0 || state.State != "Empty" || state.ProducerID != o.id || state.ProducerEpoch != o.epoch || state.TimeoutMillis != 60000 || len(state.Topics) != 0 {
		t.Errorf("new: %+v", state)
	}
	before := time.Now().UnixMilli()
	o.write(tp, 0, "a")
	state = describe(o.txnID)
	if state.State != "Ongoing" || state.StartTimestamp < before-1000 || len(state.Topics) != 1 || state.Topics[0].Topic != tp.name || !slices.Equal(state.Topics[0].Partitions, []int32{0}) {
		t.Errorf("open: %+v", state)
	}
	code(t, "unknown id", describe(name(t, "txn")).ErrorCode, kerr.TransactionalIDNotFound)

	list := func(states []string, ids ...int64) map[string]kmsg.ListTransactionsResponseTransactionState {
		req := kmsg.NewPtrListTransactionsRequest()
		req.StateFilters, req.ProducerIDFilters = states, ids
		out := map[string]kmsg.ListTransactionsResponseTransactionState{}
		for _, s := range ask[*kmsg.ListTransactionsResponse](w, 0, req).TransactionStates {
			out[s.TransactionalID] = s
		}
		return out
	}
	if s, ok := list(nil)[o.txnID]; !ok || s.TransactionState != "Ongoing" || s.ProducerID != o.id {
		t.Errorf("list: %+v", s)
	}
	if _, ok := list([]string{"Ongoing"}, o.id)[o.txnID]; !ok {
		t.Error("not listed by state and producer")
	}
	if l := list([]string{"CompleteCommit"}, o.id); len(l) != 0 {
		t.Errorf("listed by another state: %v", l)
	}
	req := kmsg.NewPtrListTransactionsRequest()
	req.StateFilters = []string{"Dreaming"}
	if resp := ask[*kmsg.ListTransactionsResponse](w, 0, req); !slices.Equal(resp.UnknownStateFilters, []string{"Dreaming"}) {
		t.Errorf("unknown states %v", resp.UnknownStateFilters)
	}

	dp := kmsg.NewPtrDescribeProducersRequest()
	rt := kmsg.NewDescribeProducersRequestTopic()
	rt.Topic, rt.Partitions = tp.name, []int32{0}
	dp.Topics = append(dp.Topics, rt)
	producers := func() []kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
		p := ask[*kmsg.DescribeProducersResponse](w, 0, dp).Topics[0].Partitions[0]
		must(t, "DescribeProducers", p.ErrorCode)
		return p.ActiveProducers
	}
	if ps := producers(); len(ps) != 1 || ps[0].ProducerID != o.id || int16(ps[0].ProducerEpoch) != o.epoch || ps[0].LastSequence != 0 || ps[0].CurrentTxnStartOffset != 1 {
		t.Errorf("producers %+v", ps)
	}
	must(t, "commit", o.end(true))
	eventually(t, "the commit", func() bool { return describe(o.txnID).State == "CompleteCommit" })
	eventually(t, "no open transaction", func() bool { ps := producers(); return len(ps) == 1 && ps[0].CurrentTxnStartOffset == -1 })
}

// KIP-890 part 2 (transaction.version 2): Produce adds its partition, EndTxn
// moves the epoch on, so that each transaction has its own.
func TestTransactionVersion2(t *testing.T) {
	have := apiVersions(t)
	if have[0][1] < 12 || have[26][1] < 5 {
		t.Skip("no transactions of version 2")
	}
	w := dial(t)
	tp := newTopic(t, w, 2)
	o := newOwner(t, w, name(t, "txn"), time.Minute)
	put2 := func(v string) int16 {
		p := produceTo(w, 12, tp, 0, o.txnID, o.batch(0, v))
		if p.ErrorCode == 0 {
			o.seq[0]++
		}
		return p.ErrorCode
	}
	must(t, "produce without adding", settled(t, func() int16 { return put2("a") }))
	if p := fetchFrom(w, tp, 0, 0, fetchOptions{}); p.LastStableOffset != 0 {
		t.Errorf("stable %d", p.LastStableOffset)
	}
	old := *o
	end := func(o *owner, commit bool) *kmsg.EndTxnResponse {
		var resp *kmsg.EndTxnResponse
		settled(t, func() int16 { resp = endTxn(o, 5, commit); return resp.ErrorCode })
		return resp
	}
	resp := end(o, true)
	must(t, "commit", resp.ErrorCode)
	if resp.ProducerID != o.id || resp.ProducerEpoch != o.epoch+1 {
		t.Errorf("next %d/%d after %d/%d", resp.ProducerID, resp.ProducerEpoch, o.id, o.epoch)
	}
	eventually(t, "the commit", func() bool { return fetchFrom(w, tp, 0, 0, fetchOptions{}).LastStableOffset == 2 })
	if again := end(&old, true); again.ErrorCode != 0 || again.ProducerEpoch != resp.ProducerEpoch {
		t.Errorf("commit again: %v, epoch %d", kerr.ErrorForCode(again.ErrorCode), again.ProducerEpoch)
	}
	// A late batch of the transaction that has ended comes to nothing.
	old.seq = map[int32]int32{0: 1}
	code(t, "late batch", produceTo(w, 12, tp, 0, o.txnID, old.batch(0, "late")).ErrorCode, kerr.InvalidProducerEpoch)

	o.epoch, o.seq = resp.ProducerEpoch, map[int32]int32{}
	must(t, "next transaction", settled(t, func() int16 { return put2("b") }))
	resp = end(o, false)
	must(t, "abort", resp.ErrorCode)
	o.epoch = resp.ProducerEpoch
	// An abort of nothing is an answer to a client that does not know; a commit
	// is not.
	resp = end(o, false)
	must(t, "abort of nothing", resp.ErrorCode)
	o.epoch = resp.ProducerEpoch
	code(t, "commit of nothing", end(o, true).ErrorCode, kerr.InvalidTxnState)
	eventually(t, "the abort", func() bool { return fetchFrom(w, tp, 0, 0, fetchOptions{}).LastStableOffset == 4 })
	if got := valuesOf(readAll(t, w, tp, 0, 0, false)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("records %v", got)
	}
}
