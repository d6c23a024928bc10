package storage

import (
	"cmp"
	"context"
	"slices"

	"github.com/gemello/gemello/persistence/broker/batch"
	"github.com/twmb/franz-go/pkg/kerr"
)

// duplicate looks for a batch that was appended already. pr may be nil.
func (pr *producer) duplicate(c *batch.Checked) (sequenced, bool) {
	if pr == nil || pr.epoch != c.Epoch {
		return sequenced{}, false
	}
	last := c.LastSequence()
	for _, s := range pr.window {
		if s.first == c.FirstSequence && s.last == last {
			return s, true
		}
	}
	return sequenced{}, false
}

// epochAllowed refuses a producer that was replaced.
func (pr *producer) epochAllowed(epoch int16) error {
	if pr != nil && epoch < pr.epoch {
		return kerr.InvalidProducerEpoch
	}
	return nil
}

// sequenceAllowed refuses gaps. A producer that is not known here (any more)
// may go on with any sequence, as in Kafka; a new epoch begins with 0.
func (pr *producer) sequenceAllowed(c *batch.Checked) error {
	switch {
	case pr == nil || pr.epoch < 0:
		return nil
	case pr.epoch != c.Epoch || len(pr.window) == 0:
		if c.FirstSequence != 0 {
			return kerr.OutOfOrderSequenceNumber
		}
		return nil
	}
	if last := pr.window[len(pr.window)-1].last; c.FirstSequence != batch.AddSequence(last, 1) {
		return kerr.OutOfOrderSequenceNumber
	}
	return nil
}

// appended notes a batch.
func (pr *producer) appended(c *batch.Checked, base, maxTime, now int64) {
	if pr.epoch != c.Epoch {
		pr.epoch = c.Epoch
		pr.window = pr.window[:0]
	}
	if len(pr.window) == windowBatches {
		pr.window = slices.Delete(pr.window, 0, 1)
	}
	pr.window = append(pr.window, sequenced{first: c.FirstSequence, last: c.LastSequence(), base: base, time: maxTime})
	pr.lastTime = maxTime
	pr.seen = now
}

// Producers lists what a partition knows of its producers, by id. Error:
// UnknownTopicOrPartition.
func (l *Log) Producers(tp TopicPartition) ([]Producer, error) {
	var out []Producer
	var known bool
	err := l.look(context.Background(), func(b *build) {
		out = nil
		p := b.st.partition(tp)
		if known = p != nil; !known {
			return
		}
		for _, pr := range p.producers {
			i := Producer{ID: pr.id, Epoch: pr.epoch, LastSequence: -1, LastTimestamp: pr.lastTime, TxnStart: pr.txnStart}
			if n := len(pr.window); n > 0 {
				i.LastSequence = pr.window[n-1].last
			}
			out = append(out, i)
		}
	})
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, kerr.UnknownTopicOrPartition
	}
	slices.SortFunc(out, func(a, b Producer) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}
