package storage

import (
	"slices"
	"sync"
	"sync/atomic"
)

// partition is one partition. The sequencer owns all of it but what is marked.
type partition struct {
	uid  uint32
	tp   TopicPartition
	gone bool // its topic was deleted
	partitionValue
	producers map[int64]*producer
	// unstable are the first offsets of open transactions, ascending.
	unstable []int64
	dirty    bool // listed in the build

	published atomic.Pointer[positions] // read by anyone
	conf      atomic.Pointer[config]    // read by anyone

	watchMu sync.Mutex    // guards watch
	watch   chan struct{} // nil: nobody waits
}

// positions are what readers may see of a partition: what is durable.
type positions struct{ start, stable, high int64 }

func newPartition(uid uint32, tp TopicPartition, conf *config, v partitionValue) *partition {
	p := &partition{uid: uid, tp: tp, partitionValue: v, producers: map[int64]*producer{}}
	p.conf.Store(conf)
	p.published.Store(&positions{start: v.start, stable: v.next, high: v.next})
	return p
}

// stable is the last stable offset: no open transaction has a record before it,
// but for deleted ones.
func (p *partition) stable() int64 {
	if len(p.unstable) > 0 {
		return max(p.unstable[0], p.start)
	}
	return p.next
}

func (p *partition) positions() *positions {
	return &positions{start: p.start, stable: p.stable(), high: p.next}
}

// settle removes the first offset of a transaction that has ended.
func (p *partition) settle(first int64) {
	if i, ok := slices.BinarySearch(p.unstable, first); ok {
		p.unstable = slices.Delete(p.unstable, i, i+1)
	}
}

// waiting returns a channel that is closed with the next wake.
func (p *partition) waiting() <-chan struct{} {
	p.watchMu.Lock()
	defer p.watchMu.Unlock()
	if p.watch == nil {
		p.watch = make(chan struct{})
	}
	return p.watch
}

func (p *partition) wake() {
	p.watchMu.Lock()
	defer p.watchMu.Unlock()
	if p.watch != nil {
		close(p.watch)
		p.watch = nil
	}
}

// producer is what a partition knows of a producer.
type producer struct {
	id int64
	producerValue
	dirty bool // listed in the build
}

// topic is a topic as the sequencer sees it.
type topic struct {
	Topic
	conf       *config
	partitions []*partition
}

func (t *topic) value() topicValue {
	v := topicValue{id: t.ID, configs: t.Configs}
	for _, p := range t.partitions {
		v.uids = append(v.uids, p.uid)
	}
	return v
}

// directory is what readers see of the topics: an immutable copy.
type directory struct {
	topics map[string]*topic // never changed once here
	byID   map[[16]byte]*topic
}

func (d *directory) partition(tp TopicPartition) *partition {
	t := d.topics[tp.Topic]
	if t == nil || tp.Partition < 0 || int(tp.Partition) >= len(t.partitions) {
		return nil
	}
	return t.partitions[tp.Partition]
}

// state is all that the sequencer owns.
type state struct {
	counters
	topics map[string]*topic // entries are replaced, not changed
	byUID  map[uint32]*partition
	txns   map[string]*txn
	groups map[string]*group
	// ongoing counts the transactions in that state.
	ongoing int
}

func newState() *state {
	return &state{
		topics: map[string]*topic{},
		byUID:  map[uint32]*partition{},
		txns:   map[string]*txn{},
		groups: map[string]*group{},
	}
}

func (s *state) partition(tp TopicPartition) *partition {
	t := s.topics[tp.Topic]
	if t == nil || tp.Partition < 0 || int(tp.Partition) >= len(t.partitions) {
		return nil
	}
	return t.partitions[tp.Partition]
}

func (s *state) directory() *directory {
	d := &directory{topics: make(map[string]*topic, len(s.topics)), byID: make(map[[16]byte]*topic, len(s.topics))}
	for name, t := range s.topics {
		d.topics[name] = t
		d.byID[t.ID] = t
	}
	return d
}

// txn is a transactional id.
type txn struct {
	id string
	txnValue
	open    map[*partition]struct{} // its partitions while it is ongoing
	groups  map[string]struct{}     // its groups while it is ongoing
	pending map[string]map[TopicPartition]offsetValue
	dirty   bool // listed in the build
}

func newTxn(id string) *txn {
	t := &txn{id: id, txnValue: txnValue{producer: -1, epoch: -1, lastProducer: -1, lastEpoch: -1, started: -1}}
	t.reset()
	return t
}

// reset forgets what the transaction did.
func (t *txn) reset() {
	t.open = map[*partition]struct{}{}
	t.groups = map[string]struct{}{}
	t.pending = map[string]map[TopicPartition]offsetValue{}
	t.started = -1
}

// group holds the offsets of a group.
type group struct {
	committed map[TopicPartition]offsetValue
	pending   map[TopicPartition]int // transactions that hold a value
	active    int64                  // ms; when the group was last known to have members
}
