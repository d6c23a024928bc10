package broker

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/group"
)

// TestExactlyOnce has members of a group, which come and go, copy a topic in
// transactions that also commit what they have read. Each record must come out
// once, whatever was aborted on the way.
func TestExactlyOnce(t *testing.T) {
	for _, tc := range []struct {
		rule string
		opts []kgo.Opt
	}{
		{"eager", []kgo.Opt{kgo.Balancers(kgo.RangeBalancer())}},
		{"cooperative", []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}},
		{"assigned by the coordinator", []kgo.Opt{kgo.ServerSideBalancer()}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			const partitions, n = 6, 3000
			s := start(t, Options{})
			o := s.groups.options()
			o.ConsumerHeartbeatInterval = 50 * time.Millisecond
			s.groups.c = group.New(o)
			createTopic(t, s, "in", partitions)
			createTopic(t, s, "out", 3)
			fill(t, s, "in", partitions, 0, n)

			y := newTally()
			reader := client(t, s, kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
			ctx, cancel := context.WithCancel(context.Background())
			var read sync.WaitGroup
			read.Go(func() {
				for ctx.Err() == nil {
					reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) { y.add("reader", r) })
				}
			})
			var stops []func()
			for i := range 3 {
				stops = append(stops, copyExactlyOnce(t, s, i, tc.opts...))
			}
			for i := range 4 { // one goes and another comes
				y.until(t, (i+1)*n/8)
				stops[0]()
				stops = append(stops[1:], copyExactlyOnce(t, s, 3+i, tc.opts...))
			}
			y.until(t, n)
			for _, stop := range stops {
				stop()
			}
			// Whatever is to come out twice has come out by now.
			fill(t, s, "in", partitions, n, n+partitions)
			stop := copyExactlyOnce(t, s, 9, tc.opts...)
			y.until(t, n+partitions)
			stop()
			cancel()
			read.Wait()
			for v, times := range y.seen {
				if times != 1 {
					t.Errorf("%s came out %d times", v, times)
				}
			}
		})
	}
}

// TestExactlyOnceThroughRestarts is the same while the log ends and starts
// again: members are strangers to it then, and their transactions are not.
func TestExactlyOnceThroughRestarts(t *testing.T) {
	const partitions, n = 4, 2000
	o := Options{Dir: t.TempDir(), SyncWrites: true}
	s, err := Start(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Listen = s.Addr()
	defer func() { s.Close() }()
	createTopic(t, s, "in", partitions)
	createTopic(t, s, "out", 3)
	fill(t, s, "in", partitions, 0, n)
	y := newTally()
	reader := client(t, s, kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	ctx, cancel := context.WithCancel(context.Background())
	var read sync.WaitGroup
	read.Go(func() {
		for ctx.Err() == nil {
			reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) { y.add("reader", r) })
		}
	})
	stops := []func(){copyExactlyOnce(t, s, 0), copyExactlyOnce(t, s, 1)}
	for i := range 3 {
		y.until(t, (i+1)*n/6)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Start(bounded(t), o); err != nil {
			t.Fatal(err)
		}
	}
	y.until(t, n)
	for _, stop := range stops {
		stop()
	}
	cancel()
	read.Wait()
	for v, times := range y.seen {
		if times != 1 {
			t.Errorf("%s came out %d times", v, times)
		}
	}
}

// copyExactlyOnce copies from in to out until it is stopped. Now and then it
// gives up what it has done.
func copyExactlyOnce(t testing.TB, s *Server, id int, opts ...kgo.Opt) (stop func()) {
	t.Helper()
	sess, err := kgo.NewGroupTransactSession(append([]kgo.Opt{
		kgo.SeedBrokers(s.Addr()), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("in"),
		kgo.TransactionalID(fmt.Sprint("copy-", id)), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets(),
		kgo.HeartbeatInterval(50 * time.Millisecond), kgo.SessionTimeout(6 * time.Second),
		kgo.FetchMaxWait(50 * time.Millisecond), kgo.DefaultProduceTopic("out"), kgo.ProducerLinger(0),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for round := 1; ctx.Err() == nil; round++ {
			fs := sess.PollRecords(ctx, 40)
			if fs.Empty() {
				continue
			}
			if err := sess.Begin(); err != nil {
				t.Errorf("begin: %v", err)
				return
			}
			failed := kgo.AbortingFirstErrPromise(sess.Client())
			fs.EachRecord(func(r *kgo.Record) {
				sess.Produce(ctx, &kgo.Record{Value: r.Value}, failed.Promise())
			})
			end := kgo.TransactionEndTry(failed.Err() == nil && round%5 != 0)
			if _, err := sess.End(bounded(t), end); err != nil {
				t.Errorf("end: %v", err)
				return
			}
		}
	})
	return func() { cancel(); done.Wait(); sess.Close() }
}

// txn is a transactional producer by hand.
type txn struct {
	*wire
	id    string
	pid   int64
	epoch int16
}

func initTxn(w *wire, id string) *txn {
	w.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &id, 60_000
	r := ask[*kmsg.InitProducerIDResponse](w, req, 5)
	if r.ErrorCode != 0 {
		w.t.Fatal(kerr.ErrorForCode(r.ErrorCode))
	}
	return &txn{w, id, r.ProducerID, r.ProducerEpoch}
}

func (x *txn) addPartitions(version int16, topic string, partitions ...int32) []error {
	x.t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = x.id, x.pid, x.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: partitions}}
	req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{
		TransactionalID: x.id, ProducerID: x.pid, ProducerEpoch: x.epoch,
		Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: topic, Partitions: partitions}},
	}}
	return addedErrors(ask[*kmsg.AddPartitionsToTxnResponse](x.wire, req, version))
}

func (x *txn) verify(version int16, topic string, partitions ...int32) []error {
	x.t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{
		TransactionalID: x.id, ProducerID: x.pid, ProducerEpoch: x.epoch, VerifyOnly: true,
		Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: topic, Partitions: partitions}},
	}}
	return addedErrors(ask[*kmsg.AddPartitionsToTxnResponse](x.wire, req, version))
}

func addedErrors(r *kmsg.AddPartitionsToTxnResponse) (errs []error) {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			errs = append(errs, kerr.ErrorForCode(p.ErrorCode))
		}
	}
	for _, x := range r.Transactions {
		for _, t := range x.Topics {
			for _, p := range t.Partitions {
				errs = append(errs, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	}
	return errs
}

func (x *txn) end(version int16, commit bool) error {
	x.t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = x.id, x.pid, x.epoch, commit
	r := ask[*kmsg.EndTxnResponse](x.wire, req, version)
	if r.ErrorCode == 0 && version >= 5 {
		x.pid, x.epoch = r.ProducerID, r.ProducerEpoch
	}
	return kerr.ErrorForCode(r.ErrorCode)
}

func (x *txn) addGroup(version int16) error {
	x.t.Helper()
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = x.id, x.pid, x.epoch, "g"
	return kerr.ErrorForCode(ask[*kmsg.AddOffsetsToTxnResponse](x.wire, req, version).ErrorCode)
}

func (x *txn) commitOffset(version int16, offset int64, member string, generation int32) error {
	x.t.Helper()
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = x.id, x.pid, x.epoch, "g"
	req.MemberID, req.Generation = member, generation
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "in", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Offset: offset, LeaderEpoch: -1}}}}
	return kerr.ErrorForCode(ask[*kmsg.TxnOffsetCommitResponse](x.wire, req, version).Topics[0].Partitions[0].ErrorCode)
}

// offset returns what the group has committed; stable does not look past open
// transactions.
func (w *wire) offset(stable bool) (int64, error) {
	w.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = stable
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = "g"
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "in", Partitions: []int32{0}}}
	req.Groups = append(req.Groups, g)
	p := ask[*kmsg.OffsetFetchResponse](w, req, 8).Groups[0].Topics[0].Partitions[0]
	return p.Offset, kerr.ErrorForCode(p.ErrorCode)
}

func TestTransactionOffsets(t *testing.T) {
	for _, version := range []int16{3, 5} {
		t.Run("version "+strconv.Itoa(int(version)), func(t *testing.T) {
			s := start(t, Options{})
			createTopic(t, s, "in", 1)
			w := dial(t, s)
			x := initTxn(w, "x")
			if version < 5 {
				if err := x.commitOffset(version, 5, "", -1); err != kerr.InvalidTxnState {
					t.Fatalf("a group that was not announced: %v", err)
				}
				if err := x.addGroup(3); err != nil {
					t.Fatal(err)
				}
			}
			for _, commit := range []bool{false, true} {
				if version < 5 {
					x.addGroup(3)
				}
				if err := x.commitOffset(version, 5, "", -1); err != nil {
					t.Fatal(err)
				}
				if o, err := w.offset(false); err != nil || o != -1 {
					t.Fatalf("an offset of an open transaction: %d %v", o, err)
				}
				if _, err := w.offset(true); err != kerr.UnstableOffsetCommit {
					t.Fatalf("a stable offset: %v", err)
				}
				if err := x.end(version, commit); err != nil {
					t.Fatal(err)
				}
				want := int64(-1)
				if commit {
					want = 5
				}
				if o, err := w.offset(true); err != nil || o != want {
					t.Fatalf("after the end, commit %v: %d %v, want %d", commit, o, err, want)
				}
			}
		})
	}
}

func TestTransactionOffsetsOfMembersOnly(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "in", 1)
	w := dial(t, s)
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = "g", "consumer", 6000, 6000
	req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range"})
	member := ask[*kmsg.JoinGroupResponse](w, req, 3).MemberID
	x := initTxn(w, "x")
	for _, tc := range []struct {
		rule, member string
		generation   int32
		want         error
	}{
		{"a stranger", "y", 1, kerr.UnknownMemberID},
		{"another generation", member, 2, kerr.IllegalGeneration},
		{"a member", member, 1, nil},
		{"nobody in particular", "", -1, nil},
	} {
		if err := x.commitOffset(5, 1, tc.member, tc.generation); err != tc.want {
			t.Errorf("%s: %v, want %v", tc.rule, err, tc.want)
		}
	}
}

func TestFencedByVersion(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "in", 1)
	w := dial(t, s)
	old := initTxn(w, "x")
	// Twice, since the last epoch but one may be asked for again (KIP-360).
	initTxn(w, "x")
	initTxn(w, "x")
	want := func(rule string, err, want error) {
		t.Helper()
		if err != want {
			t.Errorf("%s: %v, want %v", rule, err, want)
		}
	}
	want("AddPartitionsToTxn 1", old.addPartitions(1, "in", 0)[0], kerr.InvalidProducerEpoch)
	want("AddPartitionsToTxn 3", old.addPartitions(3, "in", 0)[0], kerr.ProducerFenced)
	want("AddPartitionsToTxn 4", old.addPartitions(4, "in", 0)[0], kerr.ProducerFenced)
	want("verify 4", old.verify(4, "in", 0)[0], kerr.ProducerFenced)
	want("AddOffsetsToTxn 1", old.addGroup(1), kerr.InvalidProducerEpoch)
	want("AddOffsetsToTxn 4", old.addGroup(4), kerr.ProducerFenced)
	want("TxnOffsetCommit 5", old.commitOffset(5, 1, "", -1), kerr.ProducerFenced)
	want("EndTxn 1", old.end(1, true), kerr.InvalidProducerEpoch)
	want("EndTxn 4", old.end(4, true), kerr.ProducerFenced)
	for version, fenced := range map[int16]error{3: kerr.InvalidProducerEpoch, 4: kerr.ProducerFenced} {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = &old.id, 60_000
		req.ProducerID, req.ProducerEpoch = old.pid, old.epoch
		r := ask[*kmsg.InitProducerIDResponse](w, req, version)
		want(fmt.Sprint("InitProducerId ", version), kerr.ErrorForCode(r.ErrorCode), fenced)
	}
}

func TestPartitionsOfATransaction(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "in", 2)
	w := dial(t, s)
	x := initTxn(w, "x")
	for _, version := range []int16{0, 3, 4, 5} {
		if got := fmt.Sprint(x.addPartitions(version, "in", 0, 7)); got != fmt.Sprint([]error{kerr.OperationNotAttempted, kerr.UnknownTopicOrPartition}) {
			t.Errorf("version %d: one that is not there: %v", version, got)
		}
		if got := x.addPartitions(version, "none", 0)[0]; got != kerr.UnknownTopicOrPartition {
			t.Errorf("version %d: no such topic: %v", version, got)
		}
	}
	if got := x.verify(5, "in", 0)[0]; got != kerr.TransactionAbortable {
		t.Errorf("not added: %v", got)
	}
	if got := x.verify(4, "in", 0)[0]; got != kerr.InvalidTxnState {
		t.Errorf("not added, version 4: %v", got)
	}
	if got := x.addPartitions(3, "in", 0)[0]; got != nil {
		t.Errorf("add: %v", got)
	}
	if got := x.verify(5, "in", 0)[0]; got != nil {
		t.Errorf("added: %v", got)
	}
	stranger := *x
	stranger.pid++
	if got := stranger.verify(5, "in", 0)[0]; got != kerr.InvalidProducerIDMapping {
		t.Errorf("another producer: %v", got)
	}
	nameless := *x
	nameless.id = ""
	if got := nameless.addPartitions(3, "in", 0)[0]; got != kerr.InvalidRequest {
		t.Errorf("no transactional id: %v", got)
	}
}

func TestInitProducerID(t *testing.T) {
	s := start(t, Options{})
	w := dial(t, s)
	id, empty := "x", ""
	for _, tc := range []struct {
		rule   string
		change func(*kmsg.InitProducerIDRequest)
		want   error
	}{
		{"a new id", func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = &id }, nil},
		{"idempotent only", func(r *kmsg.InitProducerIDRequest) {}, nil},
		{"idempotent only without time-out", func(r *kmsg.InitProducerIDRequest) { r.TransactionTimeoutMillis = -1 }, nil},
		{"an empty id", func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = &empty }, kerr.InvalidRequest},
		{"a producer id without epoch", func(r *kmsg.InitProducerIDRequest) { r.TransactionalID, r.ProducerID = &id, 1 }, kerr.InvalidRequest},
		{"an epoch without producer id", func(r *kmsg.InitProducerIDRequest) { r.TransactionalID, r.ProducerEpoch = &id, 1 }, kerr.InvalidRequest},
		{"no time-out", func(r *kmsg.InitProducerIDRequest) { r.TransactionalID, r.TransactionTimeoutMillis = &id, 0 }, kerr.InvalidTransactionTimeout},
		{"too long a time-out", func(r *kmsg.InitProducerIDRequest) { r.TransactionalID, r.TransactionTimeoutMillis = &id, 15*60_000+1 }, kerr.InvalidTransactionTimeout},
	} {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionTimeoutMillis = 60_000
		tc.change(req)
		r := ask[*kmsg.InitProducerIDResponse](w, req, 5)
		if got := kerr.ErrorForCode(r.ErrorCode); got != tc.want || (got == nil) != (r.ProducerID >= 0) {
			t.Errorf("%s: %v, producer %d; want %v", tc.rule, got, r.ProducerID, tc.want)
		}
	}
}

func TestTransactionAdministration(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "out", 2)
	cl := client(t, s, kgo.TransactionalID("open"), kgo.TransactionTimeout(30*time.Second))
	ctx := bounded(t)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "out", Partition: 1, Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	initTxn(dial(t, s), "idle")
	adm := kadm.NewClient(client(t, s))
	list := func(ids []int64, states []string) string {
		t.Helper()
		l, err := adm.ListTransactions(ctx, ids, states)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(l.TransactionalIDs())
	}
	if got := list(nil, nil); got != "[idle open]" {
		t.Error(got)
	}
	if got := list(nil, []string{"Ongoing"}); got != "[open]" {
		t.Error(got)
	}
	if got := list([]int64{1 << 40}, nil); got != "[]" {
		t.Error(got)
	}
	d, err := adm.DescribeTransactions(ctx, "open", "none")
	if err != nil {
		t.Fatal(err)
	}
	if o := d["open"]; o.State != "Ongoing" || o.TimeoutMillis != 30_000 || o.StartTimestamp < 1 || !o.Topics.Lookup("out", 1) {
		t.Errorf("%+v", o)
	}
	if d["none"].Err != kerr.TransactionalIDNotFound {
		t.Errorf("%+v", d["none"])
	}
	p, err := adm.DescribeProducers(ctx, kadm.TopicsSet{"out": {0: {}, 1: {}}})
	if err != nil {
		t.Fatal(err)
	}
	producers := p["out"].Partitions[1].ActiveProducers.Sorted()
	if len(producers) != 1 || producers[0].LastSequence != 0 || producers[0].CurrentTxnStartOffset != 0 {
		t.Errorf("%+v", producers)
	}

	w := dial(t, s)
	for _, tc := range []struct {
		version int16
		change  func(*kmsg.ListTransactionsRequest)
		want    string
	}{
		{1, func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 60_000 }, "0 [] "},
		{0, func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Nonsense"} }, "0 [Nonsense] "},
		{0, func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Nonsense", "Ongoing"} }, "0 [Nonsense] open"},
		{2, func(r *kmsg.ListTransactionsRequest) { p := "op.*"; r.TransactionalIDPattern = &p }, "0 [] open"},
		{2, func(r *kmsg.ListTransactionsRequest) { p := "("; r.TransactionalIDPattern = &p }, fmt.Sprint(kerr.InvalidRegularExpression.Code, " [] ")},
	} {
		req := kmsg.NewPtrListTransactionsRequest()
		tc.change(req)
		r := ask[*kmsg.ListTransactionsResponse](w, req, tc.version)
		got := fmt.Sprint(r.ErrorCode, " ", r.UnknownStateFilters, " ")
		for _, x := range r.TransactionStates {
			got += x.TransactionalID
		}
		if got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
	m := kmsg.NewPtrWriteTxnMarkersRequest()
	m.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: 1, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "out", Partitions: []int32{1}}}}}
	if r := ask[*kmsg.WriteTxnMarkersResponse](w, m, 1); kerr.ErrorForCode(r.Markers[0].Topics[0].Partitions[0].ErrorCode) != kerr.ClusterAuthorizationFailed {
		t.Errorf("%+v", r)
	}
}
