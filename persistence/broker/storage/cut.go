package storage

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kerr"
)

// errMoved means that a partition has changed since a step was planned, so that
// it has to be planned again.
var errMoved = errors.New("the partition has changed meanwhile")

// planAttempts bounds how often a step is planned: the growing run ends while a
// step is under way once in many megabytes.
const planAttempts = 8

// cut is the front of a partition that is to go, as planned on what was on the
// disk.
type cut struct {
	uid   uint32
	start int64 // the new log start
	low   int64 // base offset of the first batch
	high  int64 // of the first one that stays; start when there is none
	bytes int64 // of the batches that go

	// split is the run that is cut in two, as it is afterwards; first -1: none.
	split mark
	// grown is the growing run when it is touched; first -1: it is not.
	grown     mark
	grownLost int64 // bytes of it that go
}

// planCut works out what goes when the log of a partition begins at start,
// which is at most its high watermark. False: nothing.
func planCut(r pebble.Reader, uid uint32, start int64) (cut, bool, error) {
	state, ok, err := readPartition(r, uid)
	if err != nil || !ok || start <= state.start {
		return cut{}, false, err
	}
	c := cut{uid: uid, start: start, low: -1, split: noMark, grown: noMark}
	if c.high, err = keptFrom(r, uid, start); err != nil {
		return cut{}, false, err
	}
	if c.high < 0 || c.high > start {
		c.high = start
	}
	var split run
	err = runs(r, uid, state, 0, func(m run) bool {
		if m.first >= c.high {
			return false
		}
		if c.low < 0 {
			c.low = m.first
		}
		if m.open {
			c.grown = m.mark
		}
		if m.next > c.high {
			split = m
			return false
		}
		c.bytes += m.bytes
		if m.open {
			c.grownLost = m.bytes
		}
		return true
	})
	if err == nil && split.next > 0 {
		var lost int64
		if lost, err = storedBytes(r, uid, split.first, c.high); err != nil {
			return cut{}, false, err
		}
		c.bytes += lost
		if split.open {
			c.grownLost = lost
		} else if lost < split.bytes {
			c.split = mark{first: c.high, next: split.next, maxTime: split.maxTime, bytes: split.bytes - lost}
		}
	}
	return c, true, err
}

// cut deletes the front of a partition as planned.
func (b *build) cut(c cut) error {
	p := b.st.byUID[c.uid]
	if p == nil {
		return kerr.UnknownTopicOrPartition
	}
	if c.start <= p.start {
		return nil
	}
	if p.open.first >= 0 && p.open.first < c.high && p.open.first != c.grown.first || c.grown.first >= 0 && p.open.first != c.grown.first {
		return errMoved
	}
	if c.low >= 0 && c.low < c.high {
		b.deleteRange(keyBatch(c.uid, c.low), keyBatch(c.uid, c.high))
		b.deleteRange(keyMark(c.uid, c.low), keyMark(c.uid, c.high))
	}
	// Whoever has its marker before the start has all its records there.
	b.deleteRange(keyAborted(c.uid, 0), keyAborted(c.uid, c.start))
	if c.split.first >= 0 {
		b.set(keyMark(c.uid, c.split.first), c.split.encode())
	}
	if c.grown.first >= 0 {
		if p.open.bytes <= c.grownLost {
			p.open = noMark
		} else {
			p.open.first = c.high
			p.open.bytes -= c.grownLost
		}
	}
	p.bytes -= c.bytes
	p.start = c.start
	b.touch(p)
	return nil
}

// cutTo lets the log of a partition begin at start. The caller holds l.upkeep.
func (l *Log) cutTo(uid uint32, start int64) error {
	for range planAttempts {
		var c cut
		var ok bool
		err := l.snapshot(func(r pebble.Reader) (err error) {
			c, ok, err = planCut(r, uid, start)
			return err
		})
		if err != nil || !ok {
			return err
		}
		// A plan that is given up half-way could still be carried out later, on
		// top of the next one.
		err = l.change(context.Background(), func(b *build) error { return b.cut(c) })
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

// DeleteRecords lets a partition begin at offset before, -1: at its high
// watermark, and returns its log start offset. Errors: OffsetOutOfRange;
// PolicyViolation where Options.Floor does not allow it or the topic is only
// compacted; UnknownTopicOrPartition.
func (l *Log) DeleteRecords(ctx context.Context, tp TopicPartition, before int64) (low int64, err error) {
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	p := l.directory.Load().partition(tp)
	if p == nil {
		return -1, kerr.UnknownTopicOrPartition
	}
	pos := p.published.Load()
	if before == -1 {
		before = pos.high
	}
	if conf := p.conf.Load(); conf.compact && !conf.delete {
		return -1, kerr.PolicyViolation
	}
	if before < 0 || before > pos.high {
		return -1, kerr.OffsetOutOfRange
	}
	if floor, ok := l.opts.Floor(tp.Topic, tp.Partition); ok && before > max(floor, pos.start) {
		return -1, kerr.PolicyViolation
	}
	if err := l.cutTo(p.uid, before); err != nil {
		return -1, err
	}
	return p.published.Load().start, nil
}
