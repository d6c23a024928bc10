package storage

import (
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/gemello/gemello/persistence/broker/batch"
)

// partitionCheck goes over the batches of a partition and compares them with
// what is stored about them.
type partitionCheck struct {
	v *verifier
	p *partition

	marks     []mark // the growing run last
	bytes     []int64
	newest    []int64 // ms
	aborted   map[int64]abortedValue
	compacted bool

	next  int64 // offset after the last batch; -1: none yet
	total int64
	open  map[int64]int64    // first offsets of transactions without a marker, by producer
	last  map[int64]lastData // by producer
	lost  bool               // something could not be read
}

// lastData is the last batch of a producer that has records or had them.
type lastData struct {
	epoch    int16
	sequence int32
	base     int64
}

// partition checks the batches of p and what is derived from them.
func (v *verifier) partition(p *partition) error {
	c := &partitionCheck{
		v: v, p: p, next: -1,
		aborted: map[int64]abortedValue{}, open: map[int64]int64{}, last: map[int64]lastData{},
	}
	_, c.compacted = v.compacted[p.uid]
	if err := c.load(); err != nil {
		return err
	}
	if err := c.batches(); err != nil {
		return err
	}
	c.end()
	c.checkMarks()
	c.checkProducers()
	return nil
}

func (c *partitionCheck) load() error {
	err := scan(c.v.db, keyMark(c.p.uid, 0), keyUID(tagMark, c.p.uid+1), func(key, value []byte) error {
		_, first, err := splitNumbered(key)
		if err == nil {
			var m mark
			if m, err = decodeMark(first, value); err == nil {
				c.marks = append(c.marks, m)
				return nil
			}
		}
		c.v.report.add(WrongIndex, c.p, -1, -1, "key %x: %v", key, err)
		return nil
	})
	if err := c.v.unreadable(c.p, -1, -1, err); err != nil {
		return err
	}
	if c.p.open.first >= 0 {
		c.marks = append(c.marks, c.p.open)
	}
	c.bytes, c.newest = make([]int64, len(c.marks)), make([]int64, len(c.marks))
	stable := int64(0)
	err = scan(c.v.db, keyAborted(c.p.uid, 0), keyUID(tagAborted, c.p.uid+1), func(key, value []byte) error {
		_, marker, err := splitNumbered(key)
		var a abortedValue
		if err == nil {
			a, err = decodeAborted(value)
		}
		switch {
		case err != nil:
			c.v.report.add(WrongIndex, c.p, -1, -1, "key %x: %v", key, err)
			return nil
		case a.first >= marker || a.stable > marker+1:
			c.v.report.add(WrongIndex, c.p, a.first, marker+1, "aborted transaction of producer %d: last stable offset %d", a.producer, a.stable)
		case a.first < stable:
			c.v.report.add(WrongIndex, c.p, a.first, marker+1, "aborted transaction of producer %d begins before %d, where it was said that none does", a.producer, stable)
		}
		stable = max(stable, a.stable)
		c.aborted[marker] = a
		return nil
	})
	return c.v.unreadable(c.p, -1, -1, err)
}

// batches goes over all batches. Where a file can't be read it goes on after
// the batch or the run.
func (c *partitionCheck) batches() error {
	for from := int64(0); from >= 0; {
		it, err := c.v.db.NewIter(&pebble.IterOptions{LowerBound: keyBatch(c.p.uid, from), UpperBound: keyUID(tagBatch, c.p.uid+1)})
		if err != nil {
			return err
		}
		at := from
		from = -1
		for ok := it.First(); ok; ok = it.Next() {
			if err := c.v.ctx.Err(); err != nil {
				it.Close()
				return err
			}
			_, base, err := splitNumbered(it.Key())
			if err != nil {
				c.v.report.add(Orphan, c.p, -1, -1, "%v", err)
				continue
			}
			at = base + 1
			lazy := it.LazyValue()
			value, _, err := lazy.Value(nil)
			if err != nil {
				c.lost = true
				c.gap(base)
				c.next = c.after(base)
				c.v.report.add(DamagedBatch, c.p, base, c.next, "%v", err)
				continue
			}
			c.batch(base, value)
		}
		err = it.Error()
		if cerr := it.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			break
		}
		if !pebble.IsCorruptionError(err) {
			return err
		}
		c.lost = true
		next := c.p.next
		if i := slices.IndexFunc(c.marks, func(m mark) bool { return m.first >= at }); i >= 0 {
			next, from = c.marks[i].first, c.marks[i].first
		}
		c.v.report.add(UnreadableFile, c.p, max(c.next, c.p.start), next, "%v", err)
		c.next = next
	}
	return nil
}

// after is where the batch after base begins, as far as that can be told
// without reading base.
func (c *partitionCheck) after(base int64) int64 {
	next := c.p.next
	it, err := c.v.db.NewIter(&pebble.IterOptions{LowerBound: keyBatch(c.p.uid, base+1), UpperBound: keyUID(tagBatch, c.p.uid+1)})
	if err != nil {
		return next
	}
	defer it.Close()
	if it.First() {
		if _, n, err := splitNumbered(it.Key()); err == nil {
			next = n
		}
	}
	return max(next, base+1)
}

// gap checks that a batch at base follows what came before.
func (c *partitionCheck) gap(base int64) {
	switch {
	case c.next < 0 && base > c.p.start && !c.compacted:
		c.v.report.add(MissingBatches, c.p, c.p.start, base, "the log begins at %d, its first batch at %d", c.p.start, base)
	case c.next >= 0 && base < c.next:
		c.v.report.add(WrongState, c.p, base, c.next, "two batches have these offsets")
	case c.next >= 0 && base > c.next && !c.compacted:
		c.v.report.add(MissingBatches, c.p, c.next, base, "nothing is stored for these offsets")
	}
}

func (c *partitionCheck) batch(base int64, value []byte) {
	c.gap(base)
	c.v.report.Batches++
	c.v.report.Bytes += int64(len(value))
	c.total += int64(len(value))
	c.weigh(base, int64(len(value)), math.MinInt64)
	h, err := batch.Intact(value)
	if err == nil && h.Base != base {
		c.v.report.add(DamagedBatch, c.p, base, c.after(base), "it says that it begins at %d", h.Base)
		c.lost = true
		c.next = c.after(base)
		return
	}
	n := int32(0)
	if err == nil {
		last := int64(-1)
		for r, rerr := range batch.Records(value, math.MaxInt32) {
			if err = rerr; err != nil {
				break
			}
			if r.Offset <= last {
				err = batch.ErrRecords
				break
			}
			last = r.Offset
			n++
		}
	}
	if err != nil {
		c.v.report.add(DamagedBatch, c.p, base, c.after(base), "%v", err)
		c.lost = true
		c.next = c.after(base)
		return
	}
	c.v.report.Records += int64(n)
	c.next = h.Next()
	c.weigh(base, 0, h.MaxTimestamp)
	if n < h.LastDelta+1 && !c.compacted {
		c.v.report.add(MissingBatches, c.p, base, h.Next(), "the batch has %d records of %d", n, h.LastDelta+1)
	}
	if h.Control() {
		c.marker(h, value)
		return
	}
	if h.ProducerID >= 0 {
		c.last[h.ProducerID] = lastData{h.Epoch, h.LastSequence(), base}
	}
	if _, ok := c.open[h.ProducerID]; !ok && h.Transactional() && n > 0 {
		c.open[h.ProducerID] = base
	}
}

// weigh adds a batch to the run it is in.
func (c *partitionCheck) weigh(base, bytes, ms int64) {
	i, ok := slices.BinarySearchFunc(c.marks, base, func(m mark, base int64) int {
		switch {
		case m.next <= base:
			return -1
		case m.first > base:
			return 1
		}
		return 0
	})
	if !ok {
		if bytes > 0 {
			c.v.report.add(WrongIndex, c.p, base, base+1, "the batch is in no run")
		}
		return
	}
	c.bytes[i] += bytes
	c.newest[i] = max(c.newest[i], ms)
}

// marker checks the end of a transaction against the index of aborted ones.
func (c *partitionCheck) marker(h batch.Header, value []byte) {
	first, had := c.open[h.ProducerID]
	delete(c.open, h.ProducerID)
	commits, err := batch.MarkerCommits(value)
	if err != nil {
		c.v.report.add(DamagedBatch, c.p, h.Base, h.Next(), "%v", err)
		return
	}
	a, listed := c.aborted[h.Base]
	delete(c.aborted, h.Base)
	switch {
	case listed && (commits || a.producer != h.ProducerID):
		c.v.report.add(WrongIndex, c.p, h.Base, h.Next(), "the marker does not abort a transaction of producer %d", a.producer)
	case had && !commits && !listed:
		c.v.report.add(WrongIndex, c.p, first, h.Next(), "the aborted transaction of producer %d is not listed: readers see its records", h.ProducerID)
	case had && listed && (a.first > first || a.first < first && a.first >= c.p.start && !c.compacted && !c.lost):
		c.v.report.add(WrongIndex, c.p, first, h.Next(), "the aborted transaction of producer %d is listed from %d on", h.ProducerID, a.first)
	}
}

// end compares the end of the batches with the state of the partition.
func (c *partitionCheck) end() {
	switch {
	case c.next < 0 && c.p.next > c.p.start:
		c.v.report.add(MissingBatches, c.p, c.p.start, c.p.next, "nothing is stored for these offsets")
	case c.next >= 0 && c.next < c.p.next && c.p.next > c.p.start:
		c.v.report.add(MissingBatches, c.p, c.next, c.p.next, "nothing is stored for the last offsets")
	case c.next > c.p.next:
		c.v.report.add(WrongState, c.p, c.p.next, c.next, "batches go beyond the high watermark %d", c.p.next)
	}
	if c.total != c.p.bytes && !c.lost {
		c.v.report.add(WrongIndex, c.p, -1, -1, "its batches have %d bytes, its state says %d", c.total, c.p.bytes)
	}
	for marker, a := range c.aborted {
		if !c.lost {
			c.v.report.add(WrongIndex, c.p, a.first, marker+1, "the aborted transaction of producer %d has no marker", a.producer)
		}
	}
}

func (c *partitionCheck) checkMarks() {
	end := int64(0)
	for i, m := range c.marks {
		switch {
		case m.first < end:
			c.v.report.add(WrongIndex, c.p, m.first, m.next, "the run overlaps the one before")
		case c.bytes[i] != m.bytes && !c.lost:
			c.v.report.add(WrongIndex, c.p, m.first, m.next, "the run has %d bytes, its mark says %d", c.bytes[i], m.bytes)
		case c.newest[i] > m.maxTime:
			c.v.report.add(WrongIndex, c.p, m.first, m.next, "the run has records of %d ms, its mark says at most %d", c.newest[i], m.maxTime)
		}
		end = m.next
	}
	if c.p.open.first >= 0 && c.p.open.next != c.p.next {
		c.v.report.add(WrongIndex, c.p, c.p.open.next, c.p.next, "the growing run ends before the high watermark")
	}
}

// checkProducers compares what is known of producers with their batches.
func (c *partitionCheck) checkProducers() {
	for id, pr := range c.p.producers {
		if pr.txnStart >= c.p.next {
			c.v.report.add(WrongState, c.p, pr.txnStart, pr.txnStart+1, "producer %d has a transaction from an offset that does not exist yet", id)
		} else if first, ok := c.open[id]; pr.txnStart >= c.p.start && !c.lost && (!ok || first != pr.txnStart) {
			c.v.report.add(WrongState, c.p, pr.txnStart, pr.txnStart+1, "producer %d has a transaction from here on, but no such batch", id)
		}
		last, ok := c.last[id]
		if ok && len(pr.window) > 0 && last.epoch == pr.epoch {
			if w := pr.window[len(pr.window)-1]; w.base < last.base || w.base == last.base && w.last != last.sequence {
				c.v.report.add(WrongState, c.p, last.base, last.base+1, "the last batch of producer %d ends with sequence %d, its state says %d at offset %d", id, last.sequence, w.last, w.base)
			}
		}
	}
	for id, first := range c.open {
		if pr := c.p.producers[id]; (pr == nil || pr.txnStart < 0) && !c.lost {
			c.v.report.add(WrongState, c.p, first, first+1, "the transaction of producer %d has no end and is not known to be open", id)
		}
	}
}
