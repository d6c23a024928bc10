package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics of a run. Chains copy topicIn to topicOut.
const (
	topicIn    = "in"
	topicOut   = "out"
	partitions = 3
)

var topics = []string{"a", "b", topicIn, topicOut}

// opWithin bounds what a client does between two looks at the outcome. It
// outlives restarts.
const opWithin = 60 * time.Second

// beginWithin bounds how long a client tries to take its id again: a log that is
// killed before it can answer makes it wait for the next start.
const beginWithin = 5 * time.Minute

// stage is what workers share.
type stage struct {
	addr   string
	ledger *Ledger
	ends   context.Context // done: finish what you do
	txnMax time.Duration
	// Progress, for the report.
	fenced, renewed, crashed atomic.Int64
}

// client makes a client that comes back soon after a restart.
func (s *stage) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(s.common(), opts...)...)
}

func (s *stage) common() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(s.addr),
		kgo.RetryBackoffFn(func(n int) time.Duration { return min(time.Duration(n)*10*time.Millisecond, 100*time.Millisecond) }),
		kgo.RetryTimeout(opWithin),
		kgo.RequestRetries(10_000),
		// A log that dies while it answers the first request of a connection
		// looks like one that wants TLS.
		kgo.AlwaysRetryEOF(),
		kgo.MetadataMinAge(20 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second),
		kgo.DialTimeout(2 * time.Second),
		kgo.UnknownTopicRetries(-1),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	}
}

// record makes a record of at least its name's size.
func record(rng *rand.Rand, tp TopicPartition, r Record) *kgo.Record {
	size := rng.IntN(150)
	if rng.IntN(200) == 0 {
		size = rng.IntN(20_000)
	}
	value := r.String() + " " + strings.Repeat("x", size)
	return &kgo.Record{Topic: tp.Topic, Partition: tp.Partition, Value: []byte(value)}
}

func anyOf(rng *rand.Rand, topics ...string) TopicPartition {
	return TopicPartition{topics[rng.IntN(len(topics))], int32(rng.IntN(partitions))}
}

// transactor is one transactional id, through many transactions and clients.
type transactor struct {
	*stage
	id      string
	rng     *rand.Rand
	p       *Producer
	timeout time.Duration // of its transactions
	cl      *kgo.Client
}

func (w *transactor) run() error {
	for w.ends.Err() == nil {
		if w.cl == nil {
			cl, err := w.begin()
			if err != nil {
				return err
			}
			w.cl = cl
		}
		w.transaction()
		pause(w.ends, time.Duration(w.rng.Int64N(int64(20*time.Millisecond))))
	}
	// Whatever is left open is ended by a new life of the id.
	w.drop()
	cl, err := w.begin()
	if err == nil {
		cl.Close()
	}
	return err
}

// begin makes a client and fences every earlier one of the id.
func (w *transactor) begin() (*kgo.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), beginWithin)
	defer cancel()
	for {
		cl, err := w.client(kgo.TransactionalID(w.id), kgo.TransactionTimeout(w.timeout), kgo.RecordDeliveryTimeout(opWithin))
		if err != nil {
			return nil, err
		}
		if _, _, err = cl.ProducerID(ctx); err == nil {
			return cl, nil
		}
		cl.Close()
		if !pause(ctx, 20*time.Millisecond) {
			return nil, fmt.Errorf("begin %s: %w", w.id, err)
		}
	}
}

func (w *transactor) drop() {
	if w.cl != nil {
		w.renewed.Add(1)
		w.cl.Close()
		w.cl = nil
	}
}

// transaction writes one to some hundred records over several partitions and
// ends them one way or the other. Now and then a second client takes the id in
// the middle, as after a pause of the first: then the first must fail.
func (w *transactor) transaction() {
	ctx, cancel := context.WithTimeout(context.Background(), opWithin)
	defer cancel()
	if err := w.cl.BeginTransaction(); err != nil {
		w.drop()
		return
	}
	txn := w.p.Begin()
	var failed atomic.Bool
	parts := 1 + w.rng.IntN(2)
	for part := range parts {
		n := 1 + w.rng.IntN(8)
		if w.rng.IntN(6) == 0 {
			n = 1 + w.rng.IntN(300)
		}
		for range n {
			to := anyOf(w.rng, "a", "b", topicIn)
			r := w.p.Send(to, txn)
			w.cl.Produce(ctx, record(w.rng, to, r), func(got *kgo.Record, err error) {
				if err != nil {
					failed.Store(true)
					return
				}
				w.p.Ack(r, got.Offset)
			})
		}
		if w.cl.Flush(ctx) != nil {
			failed.Store(true)
		}
		if part+1 < parts {
			pause(w.ends, time.Duration(w.rng.Int64N(int64(400*time.Millisecond))))
		}
	}
	commit := !failed.Load() && w.rng.IntN(4) > 0
	switch w.rng.IntN(24) {
	case 0: // the client is gone without a word
		w.crashed.Add(1)
		w.drop()
		return
	case 1, 2:
		w.takeOver(ctx, txn, !failed.Load())
		return
	}
	w.end(ctx, txn, commit)
}

// end ends a transaction and notes how, as far as that is known.
func (w *transactor) end(ctx context.Context, txn int, commit bool) {
	err := w.cl.EndTransaction(ctx, kgo.TransactionEndTry(commit))
	switch {
	case err != nil:
		w.drop()
	case commit:
		w.p.End(txn, Committed)
	default:
		w.p.End(txn, Aborted)
	}
}

// takeOver begins a second life of the id while the first is in a transaction.
// The first goes on to write or to commit while the second is in one of its own,
// and must not be able to.
func (w *transactor) takeOver(ctx context.Context, txn int, whole bool) {
	first := w.cl
	defer first.Close()
	w.cl = nil
	second, err := w.begin()
	if err != nil {
		return
	}
	w.cl = second
	if whole {
		w.p.End(txn, Aborted)
	}
	if second.BeginTransaction() != nil {
		w.drop()
		return
	}
	next, failed := w.p.Begin(), false
	write := func(ctx context.Context, cl *kgo.Client, txn int) error {
		to := anyOf(w.rng, "a", "b", topicIn)
		r := w.p.Send(to, txn)
		got, err := cl.ProduceSync(ctx, record(w.rng, to, r)).First()
		if err == nil {
			w.p.Ack(r, got.Offset)
		}
		return err
	}
	for range 1 + w.rng.IntN(4) {
		failed = write(ctx, second, next) != nil || failed
	}
	// A client that is fenced may try for as long as it is let.
	tries, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if w.rng.IntN(2) == 0 {
		if write(tries, first, txn) == nil {
			w.ledger.Note("transaction %d of %s: its producer was fenced and could write", txn, w.id)
		}
	} else if whole && first.EndTransaction(tries, kgo.TryCommit) == nil {
		w.ledger.Note("transaction %d of %s: its producer was fenced and could commit", txn, w.id)
	}
	w.fenced.Add(1)
	w.end(ctx, next, !failed && w.rng.IntN(2) == 0)
}

// sender is an idempotent producer without transactions.
type sender struct {
	*stage
	name string
	rng  *rand.Rand
}

func (w *sender) run() error {
	cl, err := w.client(kgo.StopProducerOnDataLossDetected(), kgo.ProducerLinger(time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	p := w.ledger.Producer(w.name)
	for w.ends.Err() == nil {
		for range 1 + w.rng.IntN(40) {
			to := anyOf(w.rng, "a", "b", topicIn)
			r := p.Send(to, -1)
			cl.Produce(context.Background(), record(w.rng, to, r), func(got *kgo.Record, err error) {
				if err != nil {
					w.ledger.Note("record %v to %v: %v", r, to, err)
					return
				}
				p.Ack(r, got.Offset)
			})
		}
		pause(w.ends, time.Duration(w.rng.Int64N(int64(30*time.Millisecond))))
	}
	ctx, cancel := context.WithTimeout(context.Background(), opWithin)
	defer cancel()
	return cl.Flush(ctx)
}

// committer commits offsets of a group without members and looks what became of
// them.
type committer struct {
	*stage
	group string
	rng   *rand.Rand
}

func (w *committer) run() error {
	cl, err := w.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	next := map[TopicPartition]int64{}
	for w.ends.Err() == nil {
		var offsets kadm.Offsets
		tried := map[TopicPartition]int64{}
		for range 1 + w.rng.IntN(4) {
			tp := anyOf(w.rng, "a", "b")
			next[tp] += 1 + w.rng.Int64N(10)
			tried[tp] = next[tp]
			offsets.AddOffset(tp.Topic, tp.Partition, next[tp], -1)
			w.ledger.Try(w.group, tp, next[tp])
		}
		ctx, cancel := context.WithTimeout(context.Background(), opWithin)
		if err := adm.CommitAllOffsets(ctx, w.group, offsets); err == nil {
			for tp, o := range tried {
				w.ledger.Commit(w.group, tp, o)
			}
		}
		if w.rng.IntN(4) == 0 {
			w.look(ctx, adm, next)
		}
		cancel()
		pause(w.ends, time.Duration(w.rng.Int64N(int64(40*time.Millisecond))))
	}
	return nil
}

func (w *committer) look(ctx context.Context, adm *kadm.Client, next map[TopicPartition]int64) {
	before := map[TopicPartition]int64{}
	for tp := range next {
		before[tp] = w.ledger.Position(w.group, tp)
	}
	got, err := adm.FetchOffsets(ctx, w.group)
	if err != nil || got.Error() != nil {
		return
	}
	for tp, least := range before {
		if o, ok := got.Lookup(tp.Topic, tp.Partition); least >= 0 && (!ok || o.At < least) {
			w.ledger.Note("group %s, %v: %d was committed and then the offset was %d", w.group, tp, least, o.At)
		}
	}
}

// reader follows all partitions from their start, reading committed.
type reader struct {
	*stage
	seen map[TopicPartition][]Seen
}

func (w *reader) run() error {
	w.seen = map[TopicPartition][]Seen{}
	from := map[string]map[int32]kgo.Offset{}
	for _, t := range topics {
		from[t] = map[int32]kgo.Offset{}
		for p := range int32(partitions) {
			from[t][p] = kgo.NewOffset().At(0)
		}
	}
	cl, err := w.client(kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(w.ends)
		if w.ends.Err() != nil {
			return nil
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			r, err := ParseRecord(rec.Value)
			if err != nil {
				w.ledger.Note("a reader of %s/%d at %d: %v", rec.Topic, rec.Partition, rec.Offset, err)
			}
			tp := TopicPartition{rec.Topic, rec.Partition}
			w.seen[tp] = append(w.seen[tp], Seen{rec.Offset, r})
		})
	}
}
