package storage

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/gemello/gemello/persistence/broker/batch"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Read returns whole batches from an offset on, appended to buf. It never waits
// for the sequencer. Each batch is verified: damage is CorruptMessage and a line
// in the log, unless good batches come before it, which are returned first.
// Errors: UnknownTopicOrPartition; OffsetOutOfRange, with the positions filled
// in; CorruptMessage; KafkaStorageError.
func (l *Log) Read(r Read, buf []byte) Fetched {
	f := Fetched{HighWatermark: -1, LastStable: -1, LogStart: -1, Batches: buf}
	p := l.directory.Load().partition(r.TopicPartition)
	if p == nil {
		f.Err = kerr.UnknownTopicOrPartition
		return f
	}
	err := l.engine.view(func(db *pebble.DB) error {
		pos := p.published.Load()
		f.HighWatermark, f.LastStable, f.LogStart = pos.high, pos.stable, pos.start
		if r.Offset < pos.start || r.Offset > pos.high {
			return kerr.OffsetOutOfRange
		}
		end := pos.high
		if r.Committed {
			end = pos.stable
		}
		if r.Offset >= end {
			return nil
		}
		var src pebble.Reader = db
		if r.Committed && p.conf.Load().compact {
			// Compaction removes records of aborted transactions and what tells of
			// them: both must be of one moment.
			s := db.NewSnapshot()
			defer s.Close()
			src = s
		}
		next, err := l.readBatches(src, p, r, end, &f)
		if err != nil {
			return err
		}
		if now := p.published.Load(); now.start > r.Offset {
			// What was asked for is being deleted; a gap must not pass for it.
			f.Batches = f.Batches[:len(buf)]
			f.LogStart = now.start
			return kerr.OffsetOutOfRange
		}
		if r.Committed && len(f.Batches) > len(buf) {
			f.Aborted, err = abortedIn(src, p.uid, r.Offset, next)
		}
		return err
	})
	f.Err = l.readError(err)
	if f.Err != nil {
		f.Batches = f.Batches[:len(buf)]
		f.Aborted = nil
	}
	return f
}

// readError makes a Kafka error of what reading gave.
func (l *Log) readError(err error) error {
	var known *kerr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case pebble.IsCorruptionError(err):
		l.opts.Logger.Error("reading the log: a file is damaged", "err", err.Error())
		l.metrics.damaged.Inc()
		return kerr.CorruptMessage
	case errors.Is(err, errNoDatabase):
		return kerr.KafkaStorageError
	}
	l.opts.Logger.Error("reading the log", "err", err.Error())
	return kerr.KafkaStorageError
}

// readBatches appends batches to f and returns the offset after the last.
func (l *Log) readBatches(db pebble.Reader, p *partition, r Read, end int64, f *Fetched) (next int64, err error) {
	next = r.Offset
	begin := len(f.Batches)
	err = eachBatch(db, p.uid, r.Offset, end, func(base int64, value []byte) (bool, error) {
		size := len(f.Batches) - begin + len(value)
		if size > r.MaxBytes && (len(f.Batches) > begin || !r.AtLeastOne) {
			return false, nil
		}
		h, err := batch.Intact(value)
		if err == nil && h.Base != base {
			err = errFormat
		}
		if err != nil {
			l.metrics.damaged.Inc()
			l.opts.Logger.Error("a stored batch is damaged and was not given out",
				"topic", p.tp.Topic, "partition", p.tp.Partition, "offset", base, "bytes", len(value), "err", err.Error())
			if len(f.Batches) > begin {
				return false, nil
			}
			return false, kerr.CorruptMessage
		}
		f.Batches = append(f.Batches, value...)
		next = h.Next()
		return size < r.MaxBytes, nil
	})
	return next, err
}

// eachBatch visits the stored batches that have offsets in [from, end) until
// visit returns false. The value is valid during the call only.
func eachBatch(db pebble.Reader, uid uint32, from, end int64, visit func(base int64, value []byte) (bool, error)) (err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: keyBatch(uid, 0), UpperBound: keyBatch(uid, end)})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	// The batch with the offset begins at it or before it.
	ok := it.SeekLT(keyBatch(uid, from+1))
	if !ok {
		if err := it.Error(); err != nil {
			return err
		}
		ok = it.First()
	}
	for first := true; ok; ok = it.Next() {
		_, base, err := splitNumbered(it.Key())
		if err != nil {
			return err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if first {
			first = false
			if h, err := batch.Peek(value); err == nil && h.Next() <= from {
				continue // compaction has left nothing at the offset
			}
		}
		more, err := visit(base, value)
		if err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// abortedIn lists the aborted transactions with records in [from, end).
func abortedIn(db pebble.Reader, uid uint32, from, end int64) ([]Aborted, error) {
	var out []Aborted
	done := errors.New("done")
	err := scan(db, keyAborted(uid, from), keyUID(tagAborted, uid+1), func(key, value []byte) error {
		v, err := decodeAborted(value)
		if err != nil {
			return err
		}
		if v.first < end {
			out = append(out, Aborted{ProducerID: v.producer, FirstOffset: v.first})
		}
		if v.stable >= end {
			return done // what ended later begins later
		}
		return nil
	})
	if err != nil && err != done {
		return nil, err
	}
	return out, nil
}

// Offsets returns log start offset, last stable offset and high watermark.
// Error: UnknownTopicOrPartition.
func (l *Log) Offsets(tp TopicPartition) (start, stable, high int64, err error) {
	p := l.directory.Load().partition(tp)
	if p == nil {
		return -1, -1, -1, kerr.UnknownTopicOrPartition
	}
	pos := p.published.Load()
	return pos.start, pos.stable, pos.high, nil
}

// Watch returns a channel that is closed with the next move of the high
// watermark, the last stable offset or the log start offset, and when the topic
// is deleted or the log closed. Call it before the Read whose result decides
// whether to wait. The channel of a partition that does not exist is closed.
func (l *Log) Watch(tp TopicPartition) <-chan struct{} {
	p := l.directory.Load().partition(tp)
	if p == nil {
		c := make(chan struct{})
		close(c)
		return c
	}
	c := p.waiting()
	if l.directory.Load().partition(tp) != p {
		p.wake() // it was replaced meanwhile
	}
	return c
}
