package storage

import (
	"errors"
	"time"

	"github.com/gemello/gemello/persistence/broker/batch"
	"github.com/twmb/franz-go/pkg/kerr"
)

// appending is one call of Append.
type appending struct {
	entries []Append
	checked []batch.Checked
	results []Appended
	done    func([]Appended)
}

// Append writes one record batch a partition, all durable in one sync. done is
// called once, from a goroutine of the log or the caller's, after the sync, with
// a result for each entry in order; it must not block. Batches are changed in
// place, and not used after done. Entries are independent of each other: one
// may fail and the next succeed. Append waits while too much is queued.
//
// Errors of an entry: CorruptMessage, UnsupportedForMessageFormat,
// InvalidRecord, InvalidTimestamp, MessageTooLarge, UnknownTopicOrPartition,
// OutOfOrderSequenceNumber, InvalidProducerEpoch, InvalidProducerIDMapping,
// InvalidTxnState, KafkaStorageError, and ErrClosed.
func (l *Log) Append(entries []Append, done func([]Appended)) {
	a := &appending{
		entries: entries, done: done,
		checked: make([]batch.Checked, len(entries)),
		results: make([]Appended, len(entries)),
	}
	o := &op{writes: true, grows: true, run: a.run, done: a.answer}
	d := l.directory.Load()
	for i, e := range entries {
		a.results[i] = Appended{Base: -1, AppendTime: -1, LogStart: -1}
		o.bytes += len(e.Batch)
		p := d.partition(e.TopicPartition)
		if p == nil {
			a.results[i].Err = kerr.UnknownTopicOrPartition
			continue
		}
		conf := p.conf.Load()
		a.checked[i], a.results[i].Err = l.inspect(e, conf)
		if conf.compact && a.checked[i].NullKeys && errors.Is(a.results[i].Err, kerr.InvalidRecord) {
			a.results[i].NoKey = l.withoutKey(e.Batch)
		}
	}
	if !l.queue.put(o) {
		a.answer(ErrClosed)
	}
}

// inspect checks what does not depend on the state.
func (l *Log) inspect(e Append, conf *config) (batch.Checked, error) {
	most := conf.maxBytes
	if most == 0 {
		most = l.opts.MaxBatchBytes
	}
	if len(e.Batch) > most {
		return batch.Checked{}, kerr.MessageTooLarge
	}
	c, err := batch.Check(e.Batch)
	if err != nil {
		return c, batchError(err)
	}
	if c.Control() || conf.compact && c.NullKeys {
		return c, kerr.InvalidRecord
	}
	if !conf.appendTime {
		now := l.opts.Now().UnixMilli()
		if early(c.MinTimestamp, now, conf.timeBefore) || early(now, c.MaxTimestamp, conf.timeAfter) {
			return c, kerr.InvalidTimestamp
		}
		if c.MaxTimestamp != c.Header.MaxTimestamp || c.AppendTime() {
			batch.SetCreateTime(e.Batch, c.MaxTimestamp)
		}
	}
	return c, nil
}

// maxNoKey bounds what a producer is told of records without a key.
const maxNoKey = 100

// withoutKey returns the places of records without a key in a batch that was
// checked, the first of them only if there are many.
func (l *Log) withoutKey(b []byte) []int32 {
	var at []int32
	i := int32(0)
	for r, err := range batch.Records(b, l.opts.MaxBatchBytes) {
		if err != nil || len(at) == maxNoKey {
			break
		}
		if r.Key == nil {
			at = append(at, i)
		}
		i++
	}
	return at
}

// early reports whether a is before b by more than most; times are in ms.
func early(a, b int64, most time.Duration) bool {
	return most != forever && b-a > most.Milliseconds()
}

// batchError maps errors of package batch to Kafka's.
func batchError(err error) error {
	switch {
	case errors.Is(err, batch.ErrMagic):
		return kerr.UnsupportedForMessageFormat
	case errors.Is(err, batch.ErrRecords):
		return kerr.InvalidRecord
	case errors.Is(err, batch.ErrTooLarge):
		return kerr.MessageTooLarge
	}
	return kerr.CorruptMessage
}

func (a *appending) run(b *build) error {
	for i := range a.entries {
		r := &a.results[i]
		if r.Err != nil {
			continue
		}
		r.Err = b.append(&a.entries[i], &a.checked[i], r)
	}
	return nil
}

func (a *appending) answer(err error) {
	if err != nil {
		for i := range a.results {
			if r := &a.results[i]; r.Err == nil {
				*r = Appended{Base: -1, AppendTime: -1, LogStart: -1, Err: err}
			}
		}
	}
	a.done(a.results)
}

// append takes one batch into the build.
func (b *build) append(e *Append, c *batch.Checked, r *Appended) error {
	p := b.st.partition(e.TopicPartition)
	if p == nil {
		return kerr.UnknownTopicOrPartition
	}
	r.LogStart = p.start
	conf := p.conf.Load()
	var pr *producer
	var tx *txn
	if c.ProducerID >= 0 {
		pr = p.producers[c.ProducerID]
		if s, ok := pr.duplicate(c); ok {
			r.Base = s.base
			if conf.appendTime {
				r.AppendTime = s.time
			}
			return nil
		}
		if err := pr.epochAllowed(c.Epoch); err != nil {
			return err
		}
		if c.Transactional() {
			var err error
			if tx, err = b.st.joins(e, c, p); err != nil {
				return err
			}
		} else if pr != nil && pr.txnStart >= 0 {
			return kerr.InvalidTxnState
		}
		if err := pr.sequenceAllowed(c); err != nil {
			return err
		}
	} else if c.Transactional() {
		return kerr.InvalidRecord
	}
	base := p.next
	maxTime := c.MaxTimestamp
	batch.SetBase(e.Batch, base)
	batch.SetLeaderEpoch(e.Batch, 0)
	if conf.appendTime {
		maxTime = b.now
		r.AppendTime = b.now
		batch.SetAppendTime(e.Batch, b.now)
	}
	if tx != nil {
		if _, in := tx.open[p]; !in {
			b.beginTxn(tx)
			tx.open[p] = struct{}{}
			b.touchTxn(tx)
		}
	}
	if c.ProducerID >= 0 {
		if pr == nil {
			pr = &producer{id: c.ProducerID, producerValue: producerValue{epoch: -1, txnStart: -1}}
			p.producers[c.ProducerID] = pr
		}
		pr.appended(c, base, maxTime, b.now)
		if c.Transactional() && pr.txnStart < 0 {
			pr.txnStart = base
			p.unstable = append(p.unstable, base)
		}
		b.touchProducer(p, pr)
	}
	b.put(p, e.Batch, base+int64(c.LastDelta)+1, maxTime)
	r.Base = base
	return nil
}

// put writes a batch whose base offset is p.next and moves the end of p.
func (b *build) put(p *partition, raw []byte, next, maxTime int64) {
	base := p.next
	d := b.out().SetDeferred(numberedBytes, len(raw))
	appendNumbered(d.Key[:0], tagBatch, p.uid, base)
	copy(d.Value, raw)
	b.check(d.Finish())
	b.bytes += numberedBytes + len(raw)
	b.records++
	b.recordBytes += int64(len(raw))
	p.next = next
	p.bytes += int64(len(raw))
	if p.open.first < 0 {
		p.open = mark{first: base, maxTime: maxTime}
	}
	p.open.next = next
	p.open.maxTime = max(p.open.maxTime, maxTime)
	p.open.bytes += int64(len(raw))
	if p.open.bytes >= markBytes {
		b.set(keyMark(p.uid, p.open.first), p.open.encode())
		p.open = noMark
	}
	b.touch(p)
}
