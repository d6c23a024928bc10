package storage

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gemello/gemello/persistence/broker/batch"
)

// Compaction of a partition keeps, below a bound, the newest committed record of
// each key. A pass first remembers the newest offset of each key in the part
// that no pass has seen, then goes over the log from its start and removes the
// records that have a newer one, those without a key and those of aborted
// transactions. A tombstone stays for delete.retention.ms after the pass that
// removed what it deletes; the batch carries that time (its delete horizon). So
// do the markers of transactions that have no records left.
//
// The bound is the last stable offset, Options.Floor, and the first batch that
// is younger than min.compaction.lag.ms. The last batch below it is never
// removed but at most emptied: a reader at its offset must get to the end.
// What is known of producers is stored apart and needs no batch.

// compactState is how far compaction of a partition has come.
type compactState struct {
	clean int64 // no two records before it have the same key, unless one is still to go
	due   int64 // ms; a pass from then on removes tombstones or markers. MaxInt64: none waits
}

func (c compactState) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{1}, uint64(c.clean))
	return binary.BigEndian.AppendUint64(b, uint64(c.due))
}

func decodeCompact(b []byte) (compactState, error) {
	d := decoder{b: b}
	d.version()
	c := compactState{clean: d.i64(), due: d.i64()}
	if c.clean < 0 {
		d.bad = true
	}
	return c, d.end("state of compaction")
}

func readCompact(r pebble.Reader, uid uint32) (compactState, error) {
	v, err := get(r, keyCompact(uid))
	if err != nil || v == nil {
		return compactState{due: math.MaxInt64}, err
	}
	return decodeCompact(v)
}

// compact is one round of compaction at the time now (ms): a pass over each
// partition that needs one.
func (l *Log) compact(now int64) error {
	var errs []error
	for _, t := range l.directory.Load().topics {
		if !t.conf.compact {
			continue
		}
		for _, p := range t.partitions {
			if l.stopped() {
				return errors.Join(errs...)
			}
			err := l.compactPartition(p, t.conf, now)
			if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (l *Log) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// compactPartition runs passes over p until none is needed: a pass ends early
// when it has seen as many keys as it may remember.
func (l *Log) compactPartition(p *partition, conf *config, now int64) error {
	for last := int64(-1); ; {
		c, needed, err := l.planPass(p, conf, now)
		if err != nil || !needed || c.state.clean <= last || l.stopped() {
			return err
		}
		last = c.state.clean
		if err := c.run(); err != nil {
			return err
		}
	}
}

// planPass decides whether p needs a pass at the time now.
func (l *Log) planPass(p *partition, conf *config, now int64) (*pass, bool, error) {
	c := &pass{l: l, p: p, now: now, end: l.deletable(p), start: p.published.Load().start, retention: conf.deleteRetention.Milliseconds()}
	var needed bool
	err := l.snapshot(func(r pebble.Reader) error {
		state, ok, err := readPartition(r, p.uid)
		if err != nil || !ok {
			return err
		}
		if c.state, err = readCompact(r, p.uid); err != nil {
			return err
		}
		c.state.clean = max(c.state.clean, c.start)
		if conf.minLag > 0 {
			if c.end, err = settledBefore(r, p.uid, state, c.state.clean, c.end, now-conf.minLag.Milliseconds()); err != nil {
				return err
			}
		}
		if c.state.due <= now {
			needed = true
		}
		if c.end <= c.state.clean {
			return nil
		}
		dirty, oldest, err := dirtyBytes(r, p.uid, state, c.state.clean, c.end)
		if err != nil || dirty == 0 {
			return err
		}
		if float64(dirty) >= conf.minDirty*float64(state.bytes) || conf.maxLag != forever && now-oldest > conf.maxLag.Milliseconds() {
			needed = true
		}
		return nil
	})
	if err != nil || !needed {
		return c, false, err
	}
	c.end = max(c.end, c.state.clean)
	err = l.engine.view(func(db *pebble.DB) (err error) {
		c.lastBase, err = lastBefore(db, p.uid, c.end)
		return err
	})
	return c, true, err
}

// settledBefore returns the base offset of the first batch in [from, to) whose
// time is after before (ms), or to.
func settledBefore(r pebble.Reader, uid uint32, state partitionValue, from, to, before int64) (int64, error) {
	young := int64(-1)
	err := runs(r, uid, state, from, func(m run) bool {
		if m.maxTime > before {
			young = m.first
		}
		return young < 0 && m.next < to
	})
	if err != nil || young < 0 {
		return to, err
	}
	found := to
	for from = max(from, young); from < to && found == to; {
		bs, next, err := readStored(r, uid, from, to, learnChunk)
		if err != nil {
			return 0, err
		}
		for _, s := range bs {
			// What can't be read is not old.
			if h, err := batch.Peek(s.value); err != nil || h.MaxTimestamp > before {
				found = s.base
				break
			}
		}
		from = next
	}
	return min(found, to), nil
}

// dirtyBytes is the size of the batches in [from, to) and the time (ms) of the
// first of them.
func dirtyBytes(r pebble.Reader, uid uint32, state partitionValue, from, to int64) (n, oldest int64, err error) {
	var counted []run
	err = runs(r, uid, state, from, func(m run) bool {
		if m.first >= from && m.next <= to {
			n += m.bytes
		} else if m.first < to {
			counted = append(counted, m)
		}
		return m.next < to
	})
	for _, m := range counted {
		if err != nil {
			break
		}
		var part int64
		part, err = storedBytes(r, uid, max(m.first, from), min(m.next, to))
		n += part
	}
	if err != nil || n == 0 {
		return n, 0, err
	}
	first, _, err := readStored(r, uid, from, to, 0)
	if err == nil && len(first) > 0 {
		if h, err := batch.Peek(first[0].value); err == nil {
			oldest = h.MaxTimestamp
			if !h.AppendTime() && !h.HasHorizon() {
				oldest = min(oldest, h.FirstTimestamp)
			}
		}
	}
	return n, oldest, err
}
