package storage

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
)

func mustInit(t testing.TB, l *Log, id string) (int64, int16) {
	t.Helper()
	pid, epoch, err := l.InitProducer(ctx, id, time.Minute, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	return pid, epoch
}

func TestInitProducerAsInKafka(t *testing.T) {
	l := openMem(t)
	one, e, err := l.InitProducer(ctx, "", 0, -1, -1)
	if err != nil || e != 0 {
		t.Fatal(one, e, err)
	}
	if two, e, err := l.InitProducer(ctx, "", 0, one, 3); err != nil || two == one || e != 0 {
		t.Errorf("idempotent producer again: %d %d %v: it gets a new id", two, e, err)
	}
	pid, epoch := mustInit(t, l, "x")
	if epoch != 0 {
		t.Errorf("first epoch %d", epoch)
	}
	for i, s := range []struct {
		rule  string
		id    int64
		epoch int16
		want  int16
		err   error
	}{
		{"a new owner bumps", -1, -1, 1, nil},
		{"an owner that recovers bumps", pid, 1, 2, nil},
		{"its repetition gets the same", pid, 1, 2, nil},
		{"as often as it likes", pid, 1, 2, nil},
		{"an epoch before is fenced", pid, 0, -1, kerr.ProducerFenced},
		{"one to come, too", pid, 3, -1, kerr.ProducerFenced},
		{"another id is fenced", pid + 100, 2, -1, kerr.ProducerFenced},
		{"a new owner bumps again", -1, -1, 3, nil},
		{"which ends repetitions", pid, 2, -1, kerr.ProducerFenced},
	} {
		id, e, err := l.InitProducer(ctx, "x", time.Minute, s.id, s.epoch)
		if err != s.err || err == nil && (id != pid || e != s.want) {
			t.Errorf("%d, %s: %d %d %v", i, s.rule, id, e, err)
		}
	}
	if id, e, err := l.InitProducer(ctx, "unknown", time.Minute, 77, 5); err != nil || id == 77 || e != 0 {
		t.Errorf("an id that nobody knows here any more: %d %d %v", id, e, err)
	}
	for _, d := range []time.Duration{0, -1, 16 * time.Minute} {
		if _, _, err := l.InitProducer(ctx, "x", d, -1, -1); err != kerr.InvalidTransactionTimeout {
			t.Errorf("time-out %v: %v", d, err)
		}
	}
}

// atEpoch moves a transactional id to an epoch.
func atEpoch(t *testing.T, l *Log, id string, epoch int16) {
	t.Helper()
	if err := l.change(ctx, func(b *build) error {
		b.st.txns[id].epoch = epoch
		b.touchTxn(b.st.txns[id])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestUsedUpEpochsGiveANewID(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	pid, _ := mustInit(t, l, "x")
	atEpoch(t, l, "x", lastEpoch)
	id, e, err := l.InitProducer(ctx, "x", time.Minute, pid, lastEpoch)
	if err != nil || id == pid || e != 0 {
		t.Fatalf("%d %d %v", id, e, err)
	}
	if again, e, err := l.InitProducer(ctx, "x", time.Minute, pid, lastEpoch); err != nil || again != id || e != 0 {
		t.Errorf("the call repeated: %d %d %v, want %d 0", again, e, err, id)
	}
	if _, _, err := l.InitProducer(ctx, "x", time.Minute, pid, lastEpoch-1); err != kerr.ProducerFenced {
		t.Errorf("an older owner of the old id: %v", err)
	}

	atEpoch(t, l, "x", lastEpoch)
	if err := l.AddPartitions(ctx, "x", id, lastEpoch, []TopicPartition{at("a", 0)}); err != nil {
		t.Fatal(err)
	}
	next, e, err := l.EndTxn(ctx, "x", id, lastEpoch, true, true)
	if err != nil || next == id || e != 0 {
		t.Fatalf("end: %d %d %v", next, e, err)
	}
	if again, e, err := l.EndTxn(ctx, "x", id, lastEpoch, true, true); err != nil || again != next || e != 0 {
		t.Errorf("end repeated: %d %d %v", again, e, err)
	}
	prs, err := l.Producers(at("a", 0))
	if err != nil || len(prs) != 1 || prs[0].ID != id || prs[0].Epoch != math.MaxInt16 {
		t.Errorf("the marker fences the old id: %+v, %v", prs, err)
	}
}

func TestEndTxnAsInKafka(t *testing.T) {
	const commit, abort, keep, bump = true, false, false, true
	for _, tt := range []struct {
		rule  string
		began bool
		calls []bool // commit or abort, all but the last are right
		bump  bool
		epoch int16 // of the last call
		want  int16
		err   error
	}{
		{"nothing to commit", false, []bool{commit}, keep, 0, 0, kerr.InvalidTxnState},
		{"nothing to abort", false, []bool{abort}, keep, 0, 0, kerr.InvalidTxnState},
		{"nothing to commit, new client", false, []bool{commit}, bump, 0, 0, kerr.InvalidTxnState},
		{"nothing to abort, new client: the epoch moves", false, []bool{abort}, bump, 0, 1, nil},
		{"commit", true, []bool{commit}, keep, 0, 0, nil},
		{"commit repeated", true, []bool{commit, commit}, keep, 0, 0, nil},
		{"abort repeated", true, []bool{abort, abort}, keep, 0, 0, nil},
		{"abort after commit", true, []bool{commit, abort}, keep, 0, 0, kerr.InvalidTxnState},
		{"commit after abort", true, []bool{abort, commit}, keep, 0, 0, kerr.InvalidTxnState},
		{"commit, new client", true, []bool{commit}, bump, 0, 1, nil},
		{"commit repeated, new client", true, []bool{commit, commit}, bump, 0, 1, nil},
		{"abort repeated, new client", true, []bool{abort, abort}, bump, 0, 1, nil},
		{"a repetition that says the opposite", true, []bool{commit, abort}, bump, 0, 0, kerr.InvalidTxnState},
		{"another that says the opposite", true, []bool{abort, commit}, bump, 0, 0, kerr.InvalidTxnState},
		{"an epoch to come", true, []bool{commit}, keep, 1, 0, kerr.ProducerFenced},
		{"an epoch long gone", true, []bool{commit}, keep, -1, 0, kerr.ProducerFenced},
	} {
		l := openMem(t)
		mustCreate(t, l, "a", 1)
		pid, _ := mustInit(t, l, "x")
		if tt.began {
			if err := l.AddPartitions(ctx, "x", pid, 0, []TopicPartition{at("a", 0)}); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range tt.calls {
			e := int16(0)
			if i == len(tt.calls)-1 {
				e = tt.epoch
			}
			id, got, err := l.EndTxn(ctx, "x", pid, e, c, tt.bump)
			if i < len(tt.calls)-1 {
				if err != nil {
					t.Fatalf("%s: %v", tt.rule, err)
				}
				continue
			}
			if err != tt.err || err == nil && (id != pid || got != tt.want) {
				t.Errorf("%s: %d %d %v, want epoch %d, %v", tt.rule, id, got, err, tt.want, tt.err)
			}
		}
	}
}

func TestAStaleEpochIsFencedEverywhere(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 2)
	pid, old := mustInit(t, l, "x")
	if r := appendAll(l, Append{TopicPartition: at("a", 0), Batch: data{values: []string{"1"}, id: pid, txn: true}.bytes(), TxnID: "x", Implicit: true})[0]; r.Err != nil {
		t.Fatal(r)
	}
	_, epoch := mustInit(t, l, "x") // aborts what is open
	tps := []TopicPartition{at("a", 0)}
	_, _, end := l.EndTxn(ctx, "x", pid, old, true, false)
	_, _, init := l.InitProducer(ctx, "x", time.Minute, pid, old)
	for name, err := range map[string]error{
		"AddPartitions": l.AddPartitions(ctx, "x", pid, old, tps),
		"AddGroup":      l.AddGroup(ctx, "x", pid, old, "g"),
		"AddOffsets":    l.AddOffsets(ctx, "x", pid, old, "g", []Offset{{TopicPartition: tps[0]}}, true),
		"EndTxn":        end,
		"InitProducer":  init,
	} {
		if err != kerr.ProducerFenced {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Also where the partition has not heard of the new epoch.
	for _, p := range []int32{0, 1} {
		r := appendAll(l, Append{TopicPartition: at("a", p), Batch: data{values: []string{"2"}, id: pid, epoch: old, seq: 1, txn: true}.bytes(), TxnID: "x", Implicit: true})[0]
		if r.Err != kerr.InvalidProducerEpoch {
			t.Errorf("append to %d: %+v", p, r)
		}
	}
	if err := l.AddPartitions(ctx, "x", pid+50, epoch, tps); err != kerr.InvalidProducerIDMapping {
		t.Errorf("another producer id: %v", err)
	}
	if err := l.AddPartitions(ctx, "y", pid, epoch, tps); err != kerr.InvalidProducerIDMapping {
		t.Errorf("an unknown transactional id: %v", err)
	}
	got, aborted := readAll(t, l, at("a", 0), 0, true)
	if len(got) != 2 || got[1].value != "abort" || !aborted[Aborted{pid, 0}] {
		t.Errorf("what was open: %v, %v", got, aborted)
	}
}

func TestRecordsOfATransactionNeedItsPartition(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 2)
	pid, epoch := mustInit(t, l, "x")
	d := data{values: []string{"1"}, id: pid, epoch: epoch, txn: true}
	if r := appendOne(l, at("a", 0), d, "x"); r.Err != kerr.InvalidTxnState {
		t.Errorf("not added: %+v", r)
	}
	if err := l.AddPartitions(ctx, "x", pid, epoch, []TopicPartition{at("a", 0), at("a", 9)}); err != kerr.UnknownTopicOrPartition {
		t.Errorf("an unknown partition among others: %v", err)
	}
	if tx, _ := l.Transaction("x"); tx.State != "Empty" || len(tx.Partitions) != 0 {
		t.Errorf("all or none: %+v", tx)
	}
	if err := l.AddPartitions(ctx, "x", pid, epoch, []TopicPartition{at("a", 0)}); err != nil {
		t.Fatal(err)
	}
	if r := appendOne(l, at("a", 0), d, "x"); r.Err != nil {
		t.Errorf("added: %+v", r)
	}
	// Outside of the transaction the same producer would break it.
	if r := appendOne(l, at("a", 0), data{values: []string{"1"}, id: pid, epoch: epoch, seq: 1}, "x"); r.Err != kerr.InvalidTxnState {
		t.Errorf("a plain batch in between: %+v", r)
	}
	if r := appendAll(l, Append{TopicPartition: at("a", 1), Batch: d.bytes(), TxnID: "x", Implicit: true})[0]; r.Err != nil {
		t.Errorf("implicit: %+v", r)
	}
	if tx, ok := l.Transaction("x"); !ok || tx.State != "Ongoing" || !slices.Equal(tx.Partitions, []TopicPartition{at("a", 0), at("a", 1)}) {
		t.Errorf("%+v", tx)
	}
}

func TestStableOffsetWaitsForTheOldestTransaction(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	tp := at("a", 0)
	ids := map[string]int64{}
	for _, x := range []string{"x", "y"} {
		ids[x], _ = mustInit(t, l, x)
	}
	put := func(x string, seq int32) {
		t.Helper()
		if r := appendAll(l, Append{TopicPartition: tp, Batch: data{values: []string{x}, id: ids[x], seq: seq, txn: true}.bytes(), TxnID: x, Implicit: true})[0]; r.Err != nil {
			t.Fatal(r)
		}
	}
	want := func(stable, high int64) {
		t.Helper()
		if _, s, h, _ := l.Offsets(tp); s != stable || h != high {
			t.Errorf("stable %d high %d, want %d %d", s, h, stable, high)
		}
	}
	end := func(x string, commit bool) {
		t.Helper()
		if _, _, err := l.EndTxn(ctx, x, ids[x], 0, commit, false); err != nil {
			t.Fatal(err)
		}
	}
	appendOne(l, tp, data{values: []string{"plain"}}, "")
	want(1, 1)
	put("x", 0)
	put("y", 0)
	appendOne(l, tp, data{values: []string{"plain"}}, "")
	want(1, 4)
	w := l.Watch(tp)
	end("y", false)
	<-w
	want(1, 5)
	if f := l.Read(Read{TopicPartition: tp, Offset: 1, MaxBytes: 1000, Committed: true}, nil); f.Err != nil || len(f.Batches) != 0 || f.LastStable != 1 || f.HighWatermark != 5 {
		t.Errorf("reading at the stable offset: %+v", f)
	}
	end("x", true)
	want(6, 6)
	got, aborted := readAll(t, l, tp, 0, true)
	if len(got) != 6 || len(aborted) != 1 || !aborted[Aborted{ids["y"], 2}] {
		t.Errorf("%v, aborted %v", got, aborted)
	}
	if _, aborted := readAll(t, l, tp, 5, true); len(aborted) != 0 {
		t.Errorf("after all of it: %v", aborted)
	}
}

func TestTimedOutTransactionsAreAbortedAndTheirOwnersFenced(t *testing.T) {
	c := newClock()
	l := open(t, c.options(vfs.NewMem()))
	defer l.Close()
	mustCreate(t, l, "a", 1)
	pid, _ := mustInit(t, l, "x")
	if r := appendAll(l, Append{TopicPartition: at("a", 0), Batch: data{values: []string{"v"}, id: pid, txn: true}.bytes(), TxnID: "x", Implicit: true})[0]; r.Err != nil {
		t.Fatal(r)
	}
	c.move(time.Minute)
	if err := l.expireTxns(ctx); err != nil {
		t.Fatal(err)
	}
	if tx, _ := l.Transaction("x"); tx.State != "Ongoing" {
		t.Errorf("at its time-out: %+v", tx)
	}
	c.move(time.Millisecond)
	if err := l.expireTxns(ctx); err != nil {
		t.Fatal(err)
	}
	if tx, _ := l.Transaction("x"); tx.State != "CompleteAbort" || tx.Epoch != 1 {
		t.Errorf("after it: %+v", tx)
	}
	if _, _, err := l.EndTxn(ctx, "x", pid, 0, true, false); err != kerr.ProducerFenced {
		t.Errorf("its owner commits: %v", err)
	}
	if id, e, err := l.InitProducer(ctx, "x", time.Minute, pid, 0); err != nil || id != pid || e != 1 {
		t.Errorf("its owner begins anew (KIP-588): %d %d %v", id, e, err)
	}
	if id, e := mustInit(t, l, "x"); id != pid || e != 2 {
		t.Errorf("a new owner: %d %d", id, e)
	}
	c.move(8 * 24 * time.Hour)
	if err := l.expireTxns(ctx); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.Transaction("x"); ok {
		t.Error("an id that nobody has used for a week is still there")
	}
}

func TestIdleProducersAreForgottenButNotThoseInATransaction(t *testing.T) {
	c := newClock()
	l := open(t, c.options(vfs.NewMem()))
	defer l.Close()
	mustCreate(t, l, "a", 1)
	pid, _ := mustInit(t, l, "x")
	appendOne(l, at("a", 0), data{values: []string{"v"}, id: 500, seq: 0}, "")
	appendAll(l, Append{TopicPartition: at("a", 0), Batch: data{values: []string{"v"}, id: pid, txn: true}.bytes(), TxnID: "x", Implicit: true})
	c.move(25 * time.Hour)
	if err := l.expireProducers(ctx); err != nil {
		t.Fatal(err)
	}
	prs, err := l.Producers(at("a", 0))
	if err != nil || len(prs) != 1 || prs[0].ID != pid {
		t.Errorf("%+v, %v", prs, err)
	}
	if r := appendOne(l, at("a", 0), data{values: []string{"v"}, id: 500, seq: 9}, ""); r.Err != nil {
		t.Errorf("one that was forgotten goes on: %+v", r)
	}
}
