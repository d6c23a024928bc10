package storage

import (
	"context"
	"errors"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gemello/gemello/persistence/broker/batch"
)

const (
	// learnChunk is how much of a partition is in memory while keys are learnt.
	learnChunk = 1 << 20
	// stepBytes is how much a step reads, and so about the most that it writes:
	// appends that come meanwhile wait for it.
	stepBytes = 256 << 10
	// maxUnpacked bounds a batch in memory when decompressed. A larger one stays
	// as it is.
	maxUnpacked = 64 << 20
)

// pass is one pass of compaction over a partition.
type pass struct {
	l         *Log
	p         *partition
	now       int64 // ms
	start     int64 // of the log
	end       int64 // nothing from there on is touched
	lastBase  int64 // base offset of the last batch before end
	retention int64 // ms, of tombstones
	state     compactState

	keys  *newestByKey
	until int64 // the keys of records before it are known
	due   int64 // the earliest horizon that is left
	grown int64 // bytes, negative: what the pass removed

	aborted *abortedRanges
	// alive are the producers of which records of a transaction stay, between the
	// first of them and the marker.
	alive map[int64]struct{}
}

// run carries out the pass.
func (c *pass) run() error {
	c.keys = newNewestByKey(c.l.upkeep.keys())
	if err := c.learn(); err != nil {
		return err
	}
	// That something was removed is known before it is.
	if err := c.note(c.state); err != nil {
		return err
	}
	if err := c.clean(); err != nil {
		return err
	}
	c.l.opts.Logger.Debug("compacted", "topic", c.p.tp.Topic, "partition", c.p.tp.Partition, "before", c.until, "bytes", c.grown)
	return c.note(compactState{clean: c.until, due: c.due})
}

// note stores how far compaction has come.
func (c *pass) note(s compactState) error {
	return c.l.change(context.Background(), func(b *build) error {
		if b.st.byUID[c.p.uid] == nil {
			return kerr.UnknownTopicOrPartition
		}
		b.set(keyCompact(c.p.uid), s.encode())
		return nil
	})
}

// learn remembers the newest offsets of the keys from the clean part on, until
// the end or until there is no more room.
func (c *pass) learn() error {
	c.until = c.end
	aborted := newAbortedRanges(c.l, c.p.uid, c.state.clean)
	for from := c.state.clean; from < c.until; {
		if c.l.stopped() {
			return ErrClosed
		}
		var bs []storedBatch
		err := c.l.engine.view(func(db *pebble.DB) (err error) {
			bs, from, err = readStored(db, c.p.uid, from, c.end, learnChunk)
			return err
		})
		if err != nil {
			return err
		}
		for _, s := range bs {
			if err := c.learnBatch(s, aborted); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *pass) learnBatch(s storedBatch, aborted *abortedRanges) error {
	h, err := batch.Intact(s.value)
	if err != nil || h.Control() || s.base >= c.until {
		return nil // what can't be read supersedes nothing
	}
	if h.Transactional() {
		if gone, err := aborted.has(h.ProducerID, s.base); err != nil || gone {
			return err
		}
	}
	for r, err := range batch.Records(s.value, maxUnpacked) {
		if err != nil || r.Offset >= c.until {
			return nil
		}
		if r.Offset < c.state.clean || r.Key == nil {
			continue
		}
		if !c.keys.put(r.Key, r.Offset) {
			c.until = r.Offset
			return nil
		}
	}
	return nil
}

// clean goes over the log from its start up to until.
func (c *pass) clean() error {
	c.due = math.MaxInt64
	c.aborted = newAbortedRanges(c.l, c.p.uid, c.start)
	c.alive = map[int64]struct{}{}
	for from := int64(0); from < c.until; {
		if c.l.stopped() {
			return ErrClosed
		}
		next, err := c.advance(from)
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

// advance cleans the next batches and returns the offset from which to go on.
func (c *pass) advance(from int64) (next int64, err error) {
	c.l.upkeep.Lock()
	defer c.l.upkeep.Unlock()
	m, err := c.runAt(from)
	if err != nil || m.first < 0 || m.first >= c.until {
		return c.until, err
	}
	s := step{uid: c.p.uid}
	var bs []storedBatch
	err = c.l.engine.view(func(db *pebble.DB) (err error) {
		bs, next, err = readStored(db, c.p.uid, max(from, m.first), min(m.next, c.until), stepBytes)
		return err
	})
	for _, b := range bs {
		if err == nil {
			err = c.cleanBatch(&s, b)
		}
	}
	if err != nil || s.empty() {
		return next, err
	}
	for range planAttempts {
		// A step that is given up half-way could still be carried out later.
		err = c.l.change(context.Background(), func(b *build) error { return b.compact(&s, m) })
		if !errors.Is(err, errMoved) {
			c.grown += s.grows
			break
		}
		if m, err = c.runAt(from); err != nil {
			break
		}
	}
	return next, err
}

// runAt returns the run that has the offset, or the first one after it; first
// -1 when there is none.
func (c *pass) runAt(offset int64) (found run, err error) {
	found.mark = noMark
	err = c.l.snapshot(func(r pebble.Reader) error {
		state, ok, err := readPartition(r, c.p.uid)
		if err != nil || !ok {
			return err
		}
		return runs(r, c.p.uid, state, offset, func(m run) bool {
			found = m
			return false
		})
	})
	return found, err
}

// cleanBatch adds to the step what is to become of a batch.
func (c *pass) cleanBatch(s *step, b storedBatch) error {
	h, err := batch.Intact(b.value)
	if err != nil {
		return nil // it is not known what it is; readers are told of it
	}
	if h.Control() {
		return c.cleanMarker(s, b, h)
	}
	if h.Transactional() {
		gone, err := c.aborted.has(h.ProducerID, b.base)
		if err != nil {
			return err
		}
		if gone {
			return c.remove(s, b, h)
		}
	}
	kept, tombstones := 0, false
	for r, err := range batch.Records(b.value, maxUnpacked) {
		if err != nil {
			c.stays(h)
			return nil
		}
		if c.keeps(h, r) {
			kept++
			tombstones = tombstones || r.Value == nil
		}
	}
	if kept == 0 {
		return c.remove(s, b, h)
	}
	c.stays(h)
	horizon := int64(batch.NoHorizon)
	if tombstones {
		horizon = c.horizon(h)
	}
	if kept == int(h.Count) && horizon == batch.NoHorizon {
		return nil
	}
	out, _, err := batch.Filter(b.value, maxUnpacked, horizon, func(r batch.Record) bool { return c.keeps(h, r) })
	if err == nil {
		s.replace(b, out)
	}
	return err
}

// stays notes that records of a batch are left, so that a marker is needed.
func (c *pass) stays(h batch.Header) {
	if h.Transactional() {
		c.alive[h.ProducerID] = struct{}{}
	}
}

func (c *pass) keeps(h batch.Header, r batch.Record) bool {
	switch {
	case r.Offset >= c.until:
		return true
	case r.Key == nil, c.keys.superseded(r.Key, r.Offset):
		return false
	}
	return r.Value != nil || !c.passed(h)
}

// passed reports whether tombstones of a batch may go.
func (c *pass) passed(h batch.Header) bool { return h.HasHorizon() && h.FirstTimestamp <= c.now }

// horizon returns the horizon to give to a batch with tombstones or a marker
// that is not needed, NoHorizon when it has one or should have none. Only a
// batch that the pass covers entirely gets one: what its tombstones delete has
// gone before.
func (c *pass) horizon(h batch.Header) int64 {
	at := h.FirstTimestamp
	if !h.HasHorizon() {
		if h.Next() > c.until || c.retention > math.MaxInt64-c.now {
			return batch.NoHorizon
		}
		at = c.now + c.retention
	}
	if h.Base != c.lastBase {
		c.due = min(c.due, at)
	}
	if h.HasHorizon() {
		return batch.NoHorizon
	}
	return at
}

// cleanMarker removes the marker of a transaction without records after its
// horizon, and what tells readers of an aborted one now: they see no record of
// it any more.
func (c *pass) cleanMarker(s *step, b storedBatch, h batch.Header) error {
	_, needed := c.alive[h.ProducerID]
	delete(c.alive, h.ProducerID)
	commits, err := batch.MarkerCommits(b.value)
	if err != nil || needed {
		return nil
	}
	if !commits {
		ended, err := c.aborted.ends(h.ProducerID, b.base)
		if err != nil {
			return err
		}
		if ended {
			s.aborted = append(s.aborted, b.base)
		}
	}
	if c.passed(h) {
		return c.remove(s, b, h)
	}
	horizon := c.horizon(h)
	if horizon == batch.NoHorizon {
		return nil
	}
	out, _, err := batch.Filter(b.value, maxUnpacked, horizon, func(batch.Record) bool { return true })
	if err == nil {
		s.replace(b, out)
	}
	return err
}

// remove removes a batch; of the last one it leaves a batch without records.
func (c *pass) remove(s *step, b storedBatch, h batch.Header) error {
	if b.base != c.lastBase {
		s.replace(b, nil)
		return nil
	}
	if h.Count == 0 || h.Control() {
		return nil
	}
	out, _, err := batch.Filter(b.value, maxUnpacked, batch.NoHorizon, func(batch.Record) bool { return false })
	if err == nil {
		s.replace(b, out)
	}
	return err
}

// step is what a pass changes in one go, within one run.
type step struct {
	uid     uint32
	changes []change
	aborted []int64 // markers of transactions that readers need not know any more
	grows   int64   // bytes
}

// change is the new value of a batch, nil when it goes.
type change struct {
	base  int64
	value []byte
}

func (s *step) replace(b storedBatch, value []byte) {
	s.changes = append(s.changes, change{b.base, value})
	s.grows += int64(len(value) - len(b.value))
}

func (s *step) empty() bool { return len(s.changes) == 0 && len(s.aborted) == 0 }

// compact carries out a step in the run m.
func (b *build) compact(s *step, m run) error {
	p := b.st.byUID[s.uid]
	if p == nil {
		return kerr.UnknownTopicOrPartition
	}
	if m.first < 0 || m.open != (p.open.first == m.first) {
		return errMoved
	}
	for _, ch := range s.changes {
		if ch.value == nil {
			b.delete(keyBatch(s.uid, ch.base))
		} else {
			b.set(keyBatch(s.uid, ch.base), ch.value)
		}
	}
	for _, marker := range s.aborted {
		b.delete(keyAborted(s.uid, marker))
	}
	if m.open {
		m.mark = p.open
	}
	m.bytes += s.grows
	switch {
	case m.open && m.bytes <= 0:
		p.open = noMark
	case m.open:
		p.open = m.mark
	case m.bytes <= 0:
		b.delete(keyMark(s.uid, m.first))
	default:
		b.set(keyMark(s.uid, m.first), m.encode())
	}
	p.bytes += s.grows
	b.touch(p)
	return nil
}
