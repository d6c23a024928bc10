package storage

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/gemello/gemello/persistence/broker/batch"
	"github.com/twmb/franz-go/pkg/kerr"
)

// lastEpoch is the epoch from which a producer gets a new id. The one above is
// left for a marker that fences it.
const lastEpoch = math.MaxInt16 - 1

// InitProducer gives out a producer id and epoch. With txnID "" the id is new.
// Otherwise the id of the transactional id gets a higher epoch, which fences
// its earlier owner, and what that left open is aborted in the same step. An id
// and epoch other than -1 come from an owner that goes on after an error
// (KIP-360): they must be the current ones, or the last ones, which is the
// repetition of a call whose answer was lost. Errors: InvalidTransactionTimeout,
// ProducerFenced, KafkaStorageError.
func (l *Log) InitProducer(ctx context.Context, txnID string, timeout time.Duration, id int64, epoch int16) (int64, int16, error) {
	if txnID != "" && (timeout <= 0 || timeout > l.opts.MaxTransactionTimeout) {
		return -1, -1, kerr.InvalidTransactionTimeout
	}
	var outID int64
	var outEpoch int16
	err := l.change(ctx, func(b *build) error {
		if txnID == "" {
			outID, outEpoch = b.newProducerID(), 0
			return nil
		}
		t := b.st.txns[txnID]
		if t == nil {
			t = newTxn(txnID)
			t.producer = b.newProducerID()
			b.st.txns[txnID] = t
		} else if err := t.mayInit(id, epoch); err != nil {
			return err
		}
		t.timeout = timeout.Milliseconds()
		b.initTxn(t, id >= 0, epoch)
		outID, outEpoch = t.producer, t.epoch
		return nil
	})
	if err != nil {
		return -1, -1, err
	}
	return outID, outEpoch, nil
}

// mayInit refuses an owner that is not the current one.
func (t *txn) mayInit(id int64, epoch int16) error {
	switch {
	case id < 0:
		return nil
	case id == t.producer && epoch == t.epoch:
		return nil
	case t.state == txnOngoing:
		// Somebody has gone on from there.
	case id == t.producer && epoch == t.lastEpoch && epoch >= 0:
		return nil // the answer was lost
	case id == t.lastProducer && epoch >= lastEpoch && epoch == t.lastEpoch:
		return nil // so was that with the new id
	}
	return kerr.ProducerFenced
}

// initTxn moves t to its next epoch; recovers tells that epoch is the one its
// owner has.
func (b *build) initTxn(t *txn, recovers bool, epoch int16) {
	b.touchTxn(t)
	t.updated = b.now
	if recovers && t.epoch >= 0 && epoch != t.epoch {
		return // a repetition: the answer is the same
	}
	if t.state == txnOngoing {
		b.endTxn(t, false, t.epoch+1)
	}
	last := int16(-1)
	if recovers {
		last = t.epoch
	}
	if t.epoch >= lastEpoch {
		t.lastProducer, t.lastEpoch = t.producer, last
		t.producer, t.epoch = b.newProducerID(), 0
	} else {
		t.epoch++
		t.lastEpoch = last
		if !recovers {
			t.lastProducer = -1
		}
	}
	t.state = txnEmpty
}

func (b *build) newProducerID() int64 {
	id := b.st.producer
	b.st.producer++
	b.counted = true
	return id
}

// owned returns the transactional id of a request, if the request comes from
// its present owner.
func (s *state) owned(txnID string, id int64, epoch int16) (*txn, error) {
	t := s.txns[txnID]
	switch {
	case t == nil || t.producer != id:
		return nil, kerr.InvalidProducerIDMapping
	case t.epoch != epoch:
		return nil, kerr.ProducerFenced
	}
	return t, nil
}

// joins returns the transaction that a batch belongs to, if the batch may go
// there.
func (s *state) joins(e *Append, c *batch.Checked, p *partition) (*txn, error) {
	if e.TxnID == "" {
		return nil, kerr.InvalidTxnState
	}
	t, err := s.owned(e.TxnID, c.ProducerID, c.Epoch)
	if err == kerr.ProducerFenced {
		return nil, kerr.InvalidProducerEpoch // as produce requests call it
	}
	if err != nil {
		return nil, err
	}
	if _, in := t.open[p]; !in && !e.Implicit {
		return nil, kerr.InvalidTxnState
	}
	return t, nil
}

// beginTxn makes t ongoing.
func (b *build) beginTxn(t *txn) {
	b.touchTxn(t)
	t.updated = b.now
	if t.state != txnOngoing {
		t.reset()
		t.state = txnOngoing
		t.started = b.now
		b.st.ongoing++
	}
}

// AddPartitions adds partitions to a transaction, which begins it if there is
// none; all or none. Errors: InvalidProducerIDMapping, ProducerFenced,
// UnknownTopicOrPartition, KafkaStorageError.
func (l *Log) AddPartitions(ctx context.Context, txnID string, id int64, epoch int16, tps []TopicPartition) error {
	return l.change(ctx, func(b *build) error {
		t, err := b.st.owned(txnID, id, epoch)
		if err != nil {
			return err
		}
		parts := make([]*partition, len(tps))
		for i, tp := range tps {
			if parts[i] = b.st.partition(tp); parts[i] == nil {
				return kerr.UnknownTopicOrPartition
			}
		}
		if len(parts) == 0 {
			return nil
		}
		b.beginTxn(t)
		for _, p := range parts {
			t.open[p] = struct{}{}
		}
		return nil
	})
}

// AddGroup announces that offsets of a group belong to a transaction. Errors as
// those of AddPartitions.
func (l *Log) AddGroup(ctx context.Context, txnID string, id int64, epoch int16, group string) error {
	if len(group) > math.MaxInt16 {
		return kerr.InvalidGroupID
	}
	return l.change(ctx, func(b *build) error {
		t, err := b.st.owned(txnID, id, epoch)
		if err != nil {
			return err
		}
		b.beginTxn(t)
		t.groups[group] = struct{}{}
		return nil
	})
}

// AddOffsets adds offsets of a group to a transaction: they are committed with
// its end. The group must have been announced unless implicit is set. Errors:
// those of AddPartitions, InvalidTxnState, OffsetMetadataTooLarge.
func (l *Log) AddOffsets(ctx context.Context, txnID string, id int64, epoch int16, group string, offsets []Offset, implicit bool) error {
	if err := checkOffsets(group, offsets); err != nil {
		return err
	}
	return l.change(ctx, func(b *build) error {
		t, err := b.st.owned(txnID, id, epoch)
		if err != nil {
			return err
		}
		if _, in := t.groups[group]; !in || t.state != txnOngoing {
			if !implicit {
				return kerr.InvalidTxnState
			}
			b.beginTxn(t)
			t.groups[group] = struct{}{}
		}
		b.touchTxn(t)
		for _, o := range offsets {
			v := b.offset(o)
			b.st.hold(t, group, o.TopicPartition, v)
			b.set(keyPending(t.id, group, o.TopicPartition), v.encode())
		}
		return nil
	})
}

// EndTxn commits or aborts a transaction: markers in all of its partitions, the
// state of its producer and the offsets of its groups change in one step. With
// bump (EndTxn v5, KIP-890) the producer goes on with a new epoch, which is
// returned, or with a new id when epochs are used up. A repetition of a call
// that was carried out gives the same answer. Errors: InvalidProducerIDMapping,
// ProducerFenced, InvalidTxnState, KafkaStorageError.
func (l *Log) EndTxn(ctx context.Context, txnID string, id int64, epoch int16, commit, bump bool) (int64, int16, error) {
	var outID int64
	var outEpoch int16
	err := l.change(ctx, func(b *build) error {
		t := b.st.txns[txnID]
		if t == nil {
			return kerr.InvalidProducerIDMapping
		}
		again := bump && (t.producer == id && t.epoch == epoch+1 && t.lastEpoch == epoch ||
			t.lastProducer == id && epoch >= lastEpoch && t.lastEpoch == epoch && t.epoch == 0)
		switch {
		case t.producer != id && !again:
			return kerr.InvalidProducerIDMapping
		case t.epoch != epoch && !again:
			return kerr.ProducerFenced
		}
		switch {
		case t.state == txnOngoing && again:
			return kerr.ProducerFenced
		case t.state == txnOngoing:
			b.endTxn(t, commit, t.markerEpoch(bump))
			if bump {
				b.bumpTxn(t)
			}
		case again:
			if commit != (t.state == txnCommitted) || t.state == txnEmpty {
				return kerr.InvalidTxnState
			}
		case bump && !commit:
			// Nothing was added; the epoch moves all the same.
			t.state = txnAborted
			b.bumpTxn(t)
		case !bump && (t.state == txnCommitted && commit || t.state == txnAborted && !commit):
			// A repetition by a client that keeps its epoch.
		default:
			return kerr.InvalidTxnState
		}
		outID, outEpoch = t.producer, t.epoch
		return nil
	})
	if err != nil {
		return -1, -1, err
	}
	return outID, outEpoch, nil
}

func (t *txn) markerEpoch(bump bool) int16 {
	if bump {
		return t.epoch + 1
	}
	return t.epoch
}

// bumpTxn gives the owner of t the next epoch, and remembers the old one for a
// repetition of its request.
func (b *build) bumpTxn(t *txn) {
	b.touchTxn(t)
	t.updated = b.now
	t.lastEpoch = t.epoch
	if t.epoch >= lastEpoch {
		t.lastProducer = t.producer
		t.producer, t.epoch = b.newProducerID(), 0
		return
	}
	t.lastProducer = -1
	t.epoch++
}

// endTxn ends an ongoing transaction. epoch goes into the markers.
func (b *build) endTxn(t *txn, commit bool, epoch int16) {
	b.touchTxn(t)
	parts := slices.SortedFunc(maps.Keys(t.open), func(x, y *partition) int { return cmp.Compare(x.uid, y.uid) })
	for _, p := range parts {
		b.mark(p, t.producer, epoch, commit)
	}
	for name, offsets := range t.pending {
		for tp, v := range offsets {
			b.release(t, name, tp)
			if commit && b.st.partition(tp) != nil {
				b.commitOffset(name, tp, v)
			}
		}
		b.st.tidy(name)
	}
	t.reset()
	b.st.ongoing--
	t.updated = b.now
	t.state = txnAborted
	if commit {
		t.state = txnCommitted
	}
	b.ended = append(b.ended, commit)
}

// mark writes the marker of a transaction into one of its partitions.
func (b *build) mark(p *partition, id int64, epoch int16, commit bool) {
	raw := batch.Marker(id, epoch, commit, b.now)
	at := p.next
	batch.SetBase(raw, at)
	if p.conf.Load().appendTime {
		batch.SetAppendTime(raw, b.now)
	}
	pr := p.producers[id]
	if pr == nil {
		pr = &producer{id: id, producerValue: producerValue{epoch: -1, txnStart: -1}}
		p.producers[id] = pr
	}
	first := pr.txnStart
	pr.txnStart = -1
	pr.seen, pr.lastTime = b.now, b.now
	if pr.epoch != epoch {
		pr.epoch = epoch
		pr.window = nil
	}
	b.touchProducer(p, pr)
	if first >= 0 {
		p.settle(first)
	}
	b.put(p, raw, at+1, b.now)
	if first >= 0 && !commit {
		v := abortedValue{producer: id, first: first, stable: p.stable()}
		b.set(keyAborted(p.uid, at), v.encode())
	}
}

// settle brings the stored form of t up to date.
func (t *txn) settle() {
	t.partitions = t.partitions[:0]
	for p := range t.open {
		t.partitions = append(t.partitions, p.uid)
	}
	slices.Sort(t.partitions)
	t.txnValue.groups = slices.Sorted(maps.Keys(t.groups))
}

// expireTxns aborts transactions that are older than their time-out, with an
// epoch that fences the owner, and forgets transactional ids that nobody used
// for long.
func (l *Log) expireTxns(ctx context.Context) error {
	now := l.now()
	var due bool
	if err := l.look(ctx, func(b *build) {
		due = false
		for _, t := range b.st.txns {
			due = due || t.late(now) || l.unused(t, now)
		}
	}); err != nil || !due {
		return err
	}
	return l.change(ctx, func(b *build) error {
		for id, t := range b.st.txns {
			switch {
			case t.late(now):
				l.opts.Logger.Warn("aborting a transaction that passed its time-out",
					"transactional_id", id, "producer", t.producer, "epoch", t.epoch, "timeout", time.Duration(t.timeout)*time.Millisecond)
				b.endTxn(t, false, t.epoch+1)
				// With its last epoch the owner may begin anew, if nobody has
				// before it (KIP-588).
				t.lastEpoch = t.epoch
				t.epoch++
			case l.unused(t, now):
				delete(b.st.txns, id)
				b.delete(keyTxn(id))
			}
		}
		return nil
	})
}

func (t *txn) late(now int64) bool {
	return t.state == txnOngoing && now-t.started > t.timeout
}

func (l *Log) unused(t *txn, now int64) bool {
	return t.state != txnOngoing && l.opts.TransactionalIDExpiry >= 0 && now-t.updated > l.opts.TransactionalIDExpiry.Milliseconds()
}

// Transactions lists all transactional ids, by id. It is empty after Close.
func (l *Log) Transactions() []Transaction {
	var out []Transaction
	// The only error is that of a closed log.
	_ = l.look(context.Background(), func(b *build) {
		out = nil
		for _, t := range b.st.txns {
			out = append(out, t.describe())
		}
	})
	slices.SortFunc(out, func(a, b Transaction) int { return cmp.Compare(a.TxnID, b.TxnID) })
	return out
}

// Transaction returns what is known of a transactional id.
func (l *Log) Transaction(txnID string) (Transaction, bool) {
	var out Transaction
	var ok bool
	// The only error is that of a closed log.
	_ = l.look(context.Background(), func(b *build) {
		t := b.st.txns[txnID]
		if ok = t != nil; ok {
			out = t.describe()
		}
	})
	return out, ok
}

func (t *txn) describe() Transaction {
	d := Transaction{
		TxnID: t.id, ProducerID: t.producer, Epoch: t.epoch, State: t.state.String(),
		Timeout: time.Duration(t.timeout) * time.Millisecond,
		Groups:  slices.Sorted(maps.Keys(t.groups)),
	}
	if t.state == txnOngoing {
		d.Started = time.UnixMilli(t.started)
	}
	for p := range t.open {
		d.Partitions = append(d.Partitions, p.tp)
	}
	slices.SortFunc(d.Partitions, func(a, b TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return d
}
