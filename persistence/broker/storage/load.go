package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// load reads the state that the sequencer owns.
func load(db *pebble.DB, now int64) (*state, error) {
	s := newState()
	b, err := get(db, keyCounters)
	if err != nil {
		return nil, err
	}
	if s.counters, err = decodeCounters(b); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		tag  byte
		take func(key, value []byte) error
	}{
		{tagTopic, s.loadTopic},
		{tagPartition, s.loadPartition},
		{tagProducer, s.loadProducer},
		{tagTxn, s.loadTxn},
		{tagPending, s.loadPending},
		{tagOffset, func(k, v []byte) error { return s.loadOffset(k, v, now) }},
	} {
		if err := scan(db, []byte{step.tag}, []byte{step.tag + 1}, step.take); err != nil {
			return nil, fmt.Errorf("load state: %w", err)
		}
	}
	for _, p := range s.byUID {
		slices.Sort(p.unstable)
		p.published.Store(p.positions())
	}
	return s, nil
}

func (s *state) loadTopic(key, value []byte) error {
	name := string(key[1:])
	v, err := decodeTopic(value)
	if err != nil {
		return fmt.Errorf("%w %q", err, name)
	}
	conf, err := parseConfig(v.configs)
	if err != nil {
		return fmt.Errorf("topic %q: %w", name, err)
	}
	t := &topic{Topic: Topic{Name: name, ID: v.id, Partitions: int32(len(v.uids)), Configs: v.configs}, conf: conf}
	for i, uid := range v.uids {
		p := newPartition(uid, TopicPartition{Topic: name, Partition: int32(i)}, conf, partitionValue{open: noMark})
		t.partitions = append(t.partitions, p)
		s.byUID[uid] = p
	}
	s.topics[name] = t
	return nil
}

func (s *state) loadPartition(key, value []byte) error {
	d := decoder{b: key[1:]}
	uid := d.u32()
	if err := d.end("key of a partition"); err != nil {
		return err
	}
	p := s.byUID[uid]
	if p == nil {
		return fmt.Errorf("%w: partition %d has no topic", errFormat, uid)
	}
	v, err := decodePartition(value)
	if err != nil {
		return fmt.Errorf("%w %d", err, uid)
	}
	p.partitionValue = v
	return nil
}

func (s *state) loadProducer(key, value []byte) error {
	uid, id, err := splitNumbered(key)
	if err != nil {
		return err
	}
	p := s.byUID[uid]
	if p == nil {
		return fmt.Errorf("%w: producer %d is in partition %d, which has no topic", errFormat, id, uid)
	}
	v, err := decodeProducer(value)
	if err != nil {
		return fmt.Errorf("%w %d in partition %d", err, id, uid)
	}
	p.producers[id] = &producer{id: id, producerValue: v}
	if v.txnStart >= 0 {
		p.unstable = append(p.unstable, v.txnStart)
	}
	return nil
}

func (s *state) loadTxn(key, value []byte) error {
	t := newTxn(string(key[1:]))
	v, err := decodeTxn(value)
	if err != nil {
		return fmt.Errorf("%w %q", err, t.id)
	}
	t.txnValue = v
	for _, uid := range v.partitions {
		if p := s.byUID[uid]; p != nil {
			t.open[p] = struct{}{}
		}
	}
	for _, g := range v.groups {
		t.groups[g] = struct{}{}
	}
	s.txns[t.id] = t
	if t.state == txnOngoing {
		s.ongoing++
	}
	return nil
}

func (s *state) loadPending(key, value []byte) error {
	id, name, tp, err := splitPending(key)
	if err != nil {
		return err
	}
	v, err := decodeOffset(value)
	if err != nil {
		return err
	}
	t := s.txns[id]
	if t == nil {
		return fmt.Errorf("%w: an offset waits for %q, which is not known", errFormat, id)
	}
	s.hold(t, name, tp, v)
	return nil
}

func (s *state) loadOffset(key, value []byte, now int64) error {
	name, tp, err := splitOffset(key)
	if err != nil {
		return err
	}
	v, err := decodeOffset(value)
	if err != nil {
		return err
	}
	g := s.group(name)
	g.committed[tp] = v
	// Whether the group had members until a moment ago is not known.
	g.active = now
	return nil
}

// get returns the value of key, nil when there is none. It is the caller's.
func get(db pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

// scan visits the keys in [lo, hi). Key and value are valid during the call of
// visit only; its error ends the scan.
func scan(db pebble.Reader, lo, hi []byte, visit func(key, value []byte) error) (err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := visit(it.Key(), v); err != nil {
			return err
		}
	}
	return it.Error()
}
