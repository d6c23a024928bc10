package storage

import (
	"context"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Verify reads everything: each key, each batch with its checksum and records,
// their order and gaps, marks, the index of aborted transactions, and whether
// the states of producers, transactions and groups agree with them. It changes
// nothing. An error means that it could not look; what is wrong is in the report.
func (o Offline) Verify(ctx context.Context) (Report, error) {
	var r Report
	err := o.read(ctx, func(db pebble.Reader) error {
		var err error
		r, err = verify(ctx, db)
		return err
	})
	return r, err
}

// verify is Verify for a database at one moment.
func verify(ctx context.Context, db pebble.Reader) (Report, error) {
	v := &verifier{ctx: ctx, db: db, st: newState(), compacted: map[uint32]compactState{}}
	if err := v.states(); err != nil {
		return v.report, err
	}
	for _, uid := range slices.Sorted(maps.Keys(v.st.byUID)) {
		if err := v.partition(v.st.byUID[uid]); err != nil {
			return v.report, err
		}
	}
	return v.report, v.strangers()
}

type verifier struct {
	ctx       context.Context
	db        pebble.Reader
	st        *state
	compacted map[uint32]compactState
	report    Report
}

// states checks all but batches and what is derived from them.
func (v *verifier) states() error {
	raw, err := get(v.db, keyCounters)
	if err != nil {
		return err
	}
	if v.st.counters, err = decodeCounters(raw); err != nil {
		v.report.add(WrongState, nil, -1, -1, "%v", err)
	}
	for _, s := range []struct {
		tag  byte
		take func(key, value []byte) error
	}{
		{tagTopic, v.st.loadTopic},
		{tagPartition, v.st.loadPartition},
		{tagProducer, v.st.loadProducer},
		{tagTxn, v.st.loadTxn},
		{tagPending, v.st.loadPending},
		{tagOffset, func(k, value []byte) error { return v.st.loadOffset(k, value, 0) }},
		{tagCompact, v.loadCompact},
	} {
		err := scan(v.db, []byte{s.tag}, []byte{s.tag + 1}, func(key, value []byte) error {
			if err := s.take(key, value); err != nil {
				v.report.add(WrongState, nil, -1, -1, "key %x: %v", key, err)
			}
			return v.ctx.Err()
		})
		if err := v.unreadable(nil, -1, -1, err); err != nil {
			return err
		}
	}
	v.report.Topics, v.report.Partitions = len(v.st.topics), len(v.st.byUID)
	v.report.Transactions, v.report.Groups = len(v.st.txns), len(v.st.groups)
	v.checkTopics()
	v.checkTxns()
	v.checkOffsets()
	return nil
}

// unreadable turns damage of the database's files into a finding; other errors
// stay.
func (v *verifier) unreadable(p *partition, first, next int64, err error) error {
	if err == nil || !pebble.IsCorruptionError(err) {
		return err
	}
	v.report.add(UnreadableFile, p, first, next, "%v", err)
	return nil
}

func (v *verifier) loadCompact(key, value []byte) error {
	d := decoder{b: key[1:]}
	uid := d.u32()
	if err := d.end("key of the state of compaction"); err != nil {
		return err
	}
	if v.st.byUID[uid] == nil {
		v.report.add(Orphan, nil, -1, -1, "key %x: partition %d has no topic", key, uid)
		return nil
	}
	c, err := decodeCompact(value)
	if err == nil {
		v.compacted[uid] = c
	}
	return err
}

func (v *verifier) checkTopics() {
	seen := map[uint32]string{}
	for name, t := range v.st.topics {
		for _, p := range t.partitions {
			if other, twice := seen[p.uid]; twice {
				v.report.add(WrongState, p, -1, -1, "has the number %d of a partition of topic %q", p.uid, other)
			}
			seen[p.uid] = name
			if p.uid >= v.st.uid {
				v.report.add(WrongState, p, -1, -1, "has number %d, the next to be given out is %d", p.uid, v.st.uid)
			}
			if b, err := get(v.db, keyPartition(p.uid)); err == nil && b == nil {
				v.report.add(WrongState, p, -1, -1, "has no stored state")
			}
		}
	}
}

func (v *verifier) checkTxns() {
	open := map[*partition]map[int64]bool{} // producers with an ongoing transaction
	for id, t := range v.st.txns {
		if t.producer >= v.st.producer {
			v.report.add(WrongState, nil, -1, -1, "transactional id %q has producer %d, the next to be given out is %d", id, t.producer, v.st.producer)
		}
		if t.state != txnOngoing && len(t.open)+len(t.groups)+len(t.pending) > 0 {
			v.report.add(WrongState, nil, -1, -1, "transactional id %q is %s but has partitions or groups", id, t.state)
		}
		if t.state == txnOngoing && t.started < 0 {
			v.report.add(WrongState, nil, -1, -1, "transactional id %q is %s since no time", id, t.state)
		}
		for p := range t.open {
			if open[p] == nil {
				open[p] = map[int64]bool{}
			}
			open[p][t.producer] = t.state == txnOngoing
		}
		for group, offsets := range t.pending {
			if _, ok := t.groups[group]; !ok {
				v.report.add(WrongState, nil, -1, -1, "transactional id %q holds offsets of group %q, which it did not announce", id, group)
			}
			for tp, o := range offsets {
				v.checkOffset(group, tp, o)
			}
		}
	}
	for _, p := range v.st.byUID {
		for id, pr := range p.producers {
			if pr.txnStart >= 0 && !open[p][id] {
				v.report.add(WrongState, p, pr.txnStart, pr.txnStart+1, "producer %d has a transaction that no transactional id has: it never ends", id)
			}
		}
	}
}

func (v *verifier) checkOffsets() {
	for name, g := range v.st.groups {
		for tp, o := range g.committed {
			v.checkOffset(name, tp, o)
		}
	}
}

func (v *verifier) checkOffset(group string, tp TopicPartition, o offsetValue) {
	p := v.st.partition(tp)
	switch {
	case p == nil:
		v.report.add(Orphan, nil, -1, -1, "group %q has an offset for %s-%d, which does not exist", group, tp.Topic, tp.Partition)
	case o.sequence > v.st.sequence:
		v.report.add(WrongState, p, -1, -1, "offset of group %q has number %d, the last given out is %d", group, o.sequence, v.st.sequence)
	}
}

// strangers looks for keys of partitions that do not exist, and of no known kind.
func (v *verifier) strangers() error {
	known := []byte{tagMeta, tagTopic, tagPartition, tagProducer, tagTxn, tagPending, tagOffset, tagCompact, tagBatch, tagMark, tagAborted}
	it, err := v.db.NewIter(&pebble.IterOptions{})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; {
		tag := it.Key()[0]
		switch {
		case !slices.Contains(known, tag):
			v.report.add(Orphan, nil, -1, -1, "key %x is of no known kind", it.Key())
			ok = it.SeekGE([]byte{tag + 1})
		case tag < tagBatch:
			ok = it.SeekGE([]byte{tag + 1})
		default:
			uid, _, err := splitNumbered(it.Key())
			if err != nil {
				v.report.add(Orphan, nil, -1, -1, "%v", err)
				ok = it.Next()
				continue
			}
			if v.st.byUID[uid] == nil {
				v.report.add(Orphan, nil, -1, -1, "key %x: partition %d has no topic", it.Key(), uid)
			}
			if uid+1 == 0 {
				ok = it.SeekGE([]byte{tag + 1})
			} else {
				ok = it.SeekGE(keyUID(tag, uid+1))
			}
		}
	}
	return v.unreadable(nil, -1, -1, it.Error())
}
