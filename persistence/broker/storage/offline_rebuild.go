package storage

import (
	"bytes"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/gemello/gemello/persistence/broker/batch"
)

// rebuilding makes anew what is derived from the batches of a partition, and
// puts batches of no records where damaged ones are.
type rebuilding struct {
	r       *repair
	p       *partition
	b       *pebble.Batch
	damaged map[int64]int64 // base offset to the offset after it
	err     error           // of writing

	state   partitionValue
	listed  map[int64]abortedValue // what was known of aborted transactions, by marker
	open    map[int64]int64        // first offsets of transactions without a marker, by producer
	last    map[int64]sequenced    // the last batch of a producer
	epochs  map[int64]int16        // and its epoch
	removed bool                   // the partition has holes
}

func (x *rebuilding) set(key, value []byte) {
	if err := x.b.Set(key, value, nil); x.err == nil {
		x.err = err
	}
}

func (x *rebuilding) run() error {
	uid := x.p.uid
	x.listed, x.open, x.last, x.epochs = map[int64]abortedValue{}, map[int64]int64{}, map[int64]sequenced{}, map[int64]int16{}
	err := scan(x.r.db, keyAborted(uid, 0), keyUID(tagAborted, uid+1), func(key, value []byte) error {
		if _, marker, err := splitNumbered(key); err == nil {
			if v, err := decodeAborted(value); err == nil {
				x.listed[marker] = v
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, tag := range []byte{tagMark, tagAborted} {
		if err := x.b.DeleteRange(keyUID(tag, uid), keyUID(tag, uid+1), nil); err != nil {
			return err
		}
	}
	x.state = partitionValue{start: x.p.start, next: x.p.start, open: noMark}
	if err := x.batches(); err != nil {
		return err
	}
	if x.state.next < x.p.next {
		x.blank(x.state.next, x.p.next)
	}
	x.endTransactions()
	x.producers()
	x.set(keyPartition(uid), x.state.append(nil))
	if x.removed {
		c := x.r.v.compacted[uid]
		if _, ok := x.r.v.compacted[uid]; !ok {
			c.due = math.MaxInt64
		}
		c.clean = 0
		x.set(keyCompact(uid), c.encode())
	}
	return x.err
}

// batches goes over the batches. The values of damaged ones may not be readable.
func (x *rebuilding) batches() (err error) {
	it, err := x.r.db.NewIter(&pebble.IterOptions{LowerBound: keyUID(tagBatch, x.p.uid), UpperBound: keyUID(tagBatch, x.p.uid+1)})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		_, base, err := splitNumbered(it.Key())
		if err != nil {
			return err
		}
		if next, ok := x.damaged[base]; ok {
			x.blank(base, next)
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		h, err := batch.Intact(value)
		if err == nil {
			err = x.keep(h, value)
		}
		if err != nil {
			return err
		}
	}
	return it.Error()
}

// blank puts batches of no records in the place of [from, to).
func (x *rebuilding) blank(from, to int64) {
	x.removed = true
	for from < to {
		n := min(to-from, math.MaxInt32)
		value := batch.Empty(from, int32(n-1), x.r.how.Now)
		x.set(keyBatch(x.p.uid, from), value)
		x.weigh(from, from+n, x.r.how.Now, len(value))
		from += n
	}
}

// weigh counts a batch.
func (x *rebuilding) weigh(base, next, maxTime int64, size int) {
	s := &x.state
	if base > s.next {
		x.removed = true
	}
	s.bytes += int64(size)
	s.next = max(s.next, next)
	if s.open.first < 0 {
		s.open = mark{first: base, maxTime: maxTime}
	}
	s.open.next = next
	s.open.maxTime = max(s.open.maxTime, maxTime)
	s.open.bytes += int64(size)
	if s.open.bytes >= markBytes {
		x.set(keyMark(x.p.uid, s.open.first), s.open.encode())
		s.open = noMark
	}
}

func (x *rebuilding) keep(h batch.Header, value []byte) error {
	x.weigh(h.Base, h.Next(), h.MaxTimestamp, len(value))
	if h.Count < h.LastDelta+1 {
		x.removed = true
	}
	if !h.Control() {
		if h.ProducerID >= 0 {
			x.last[h.ProducerID] = sequenced{first: h.FirstSequence, last: h.LastSequence(), base: h.Base, time: h.MaxTimestamp}
			x.epochs[h.ProducerID] = h.Epoch
		}
		if _, ok := x.open[h.ProducerID]; !ok && h.Transactional() && h.Count > 0 {
			x.open[h.ProducerID] = h.Base
		}
		return nil
	}
	commits, err := batch.MarkerCommits(value)
	if err != nil {
		return err
	}
	x.end(h.ProducerID, h.Base, commits)
	return nil
}

// end notes a marker.
func (x *rebuilding) end(id, marker int64, commits bool) {
	first, ok := x.open[id]
	delete(x.open, id)
	if !ok || commits {
		return
	}
	if was, ok := x.listed[marker]; ok && was.producer == id {
		first = min(first, was.first)
	}
	v := abortedValue{producer: id, first: first, stable: marker + 1}
	for _, o := range x.open {
		v.stable = min(v.stable, o)
	}
	x.set(keyAborted(x.p.uid, marker), v.encode())
}

// endTransactions aborts those that no transactional id has.
func (x *rebuilding) endTransactions() {
	for id, pr := range x.p.producers {
		if _, ok := x.open[id]; !ok && pr.txnStart >= 0 && !x.owned(id) {
			x.open[id] = pr.txnStart
		}
	}
	ids := make([]int64, 0, len(x.open))
	for id := range x.open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if x.owned(id) {
			continue
		}
		epoch := x.epochs[id]
		pr := x.p.producers[id]
		if pr != nil {
			epoch = pr.epoch
			pr.txnStart = -1
			x.set(keyProducer(x.p.uid, id), pr.producerValue.append(nil))
		}
		raw := batch.Marker(id, epoch, false, x.r.how.Now)
		at := x.state.next
		batch.SetBase(raw, at)
		x.set(keyBatch(x.p.uid, at), bytes.Clone(raw))
		x.weigh(at, at+1, x.r.how.Now, len(raw))
		x.end(id, at, false)
		x.r.done("%s-%d: aborted the transaction of producer %d, which would never have ended", x.p.tp.Topic, x.p.tp.Partition, id)
	}
}

// owned reports whether an ongoing transaction of a transactional id has the
// producer in this partition.
func (x *rebuilding) owned(id int64) bool {
	for _, t := range x.r.v.st.txns {
		if _, in := t.open[x.p]; in && t.producer == id && t.state == txnOngoing {
			return true
		}
	}
	return false
}

// producers brings the states of producers in line with the batches.
func (x *rebuilding) producers() {
	for id, pr := range x.p.producers {
		change := false
		first, ok := x.open[id]
		if !ok {
			first = -1
		}
		if first != pr.txnStart && (pr.txnStart < 0 || pr.txnStart >= x.p.start) {
			pr.txnStart = first
			change = true
			x.r.done("%s-%d: the open transaction of producer %d has its first record at %d (-1: none is left)", x.p.tp.Topic, x.p.tp.Partition, id, first)
		}
		last, ok := x.last[id]
		if n := len(pr.window); ok && n > 0 && pr.epoch == x.epochs[id] && (pr.window[n-1].base < last.base || pr.window[n-1].base == last.base && pr.window[n-1].last != last.last) {
			pr.window = []sequenced{last}
			change = true
		}
		if change {
			x.set(keyProducer(x.p.uid, id), pr.producerValue.append(nil))
		}
	}
}
