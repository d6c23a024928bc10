package torture

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const chainGroup = "chain"

// chain copies topicIn to topicOut, committing offsets with the copies. Several
// share the group.
type chain struct {
	*stage
	id      string
	rng     *rand.Rand
	drained context.Context // done: everything is copied
	commits atomic.Int64
}

func (w *chain) run() error {
	for w.drained.Err() == nil {
		s, err := kgo.NewGroupTransactSession(append(w.common(),
			kgo.TransactionalID(w.id), kgo.TransactionTimeout(w.txnMax), kgo.RecordDeliveryTimeout(opWithin),
			kgo.ConsumerGroup(chainGroup), kgo.ConsumeTopics(topicIn),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.RequireStableFetchOffsets(), kgo.FetchMaxWait(100*time.Millisecond),
			kgo.SessionTimeout(6*time.Second), kgo.RebalanceTimeout(6*time.Second), kgo.HeartbeatInterval(300*time.Millisecond),
		)...)
		if err != nil {
			return err
		}
		for w.drained.Err() == nil && w.step(s) {
		}
		w.renewed.Add(1)
		s.Close()
	}
	return nil
}

// step copies what one poll brings and reports whether the session goes on.
func (w *chain) step(s *kgo.GroupTransactSession) bool {
	fetches := s.PollRecords(w.drained, 200)
	if w.drained.Err() != nil {
		return false
	}
	if fetches.NumRecords() == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), opWithin)
	defer cancel()
	if err := s.Begin(); err != nil {
		return false
	}
	var failed atomic.Bool
	next := map[TopicPartition]int64{}
	fetches.EachRecord(func(rec *kgo.Record) {
		from := TopicPartition{rec.Topic, rec.Partition}
		next[from] = rec.Offset + 1
		to := TopicPartition{topicOut, rec.Partition}
		s.Produce(ctx, record(w.rng, to, CopyOf(from, rec.Offset)), func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(true)
			}
		})
	})
	if w.ends.Err() == nil && w.rng.IntN(40) == 0 {
		w.crashed.Add(1)
		return false
	}
	for tp, o := range next {
		w.ledger.Try(chainGroup, tp, o)
	}
	if err := s.Client().Flush(ctx); err != nil {
		return false
	}
	committed, err := s.End(ctx, kgo.TransactionEndTry(!failed.Load()))
	if err != nil {
		return false
	}
	if committed {
		w.commits.Add(1)
		for tp, o := range next {
			w.ledger.Commit(chainGroup, tp, o)
		}
	}
	return true
}
