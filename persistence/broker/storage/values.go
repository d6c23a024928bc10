package storage

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Each value but a batch begins with the version byte 1. Integers are
// big-endian, of fixed size. A name has two bytes of length.

// formatStamp tells that the directory is ours.
const formatStamp = "gemello log 1"

// counters are the numbers that are given out once.
type counters struct {
	cluster  [16]byte // random, of the whole log
	uid      uint32   // next partition
	producer int64    // next producer id
	sequence uint64   // next number of a commit of offsets
}

func (c counters) encode() []byte {
	b := append([]byte{1}, c.cluster[:]...)
	b = binary.BigEndian.AppendUint32(b, c.uid)
	b = binary.BigEndian.AppendUint64(b, uint64(c.producer))
	return binary.BigEndian.AppendUint64(b, c.sequence)
}

func decodeCounters(b []byte) (counters, error) {
	d := decoder{b: b}
	d.version()
	var c counters
	copy(c.cluster[:], d.take(16))
	c.uid, c.producer, c.sequence = d.u32(), d.i64(), d.u64()
	return c, d.end("counters")
}

// topicValue is a stored topic.
type topicValue struct {
	id      [16]byte
	uids    []uint32 // by partition index
	configs map[string]string
}

func (t topicValue) encode() []byte {
	b := append([]byte{1}, t.id[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(t.uids)))
	for _, u := range t.uids {
		b = binary.BigEndian.AppendUint32(b, u)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(t.configs)))
	for _, k := range slices.Sorted(maps.Keys(t.configs)) {
		b = appendName(appendName(b, k), t.configs[k])
	}
	return b
}

func decodeTopic(b []byte) (topicValue, error) {
	d := decoder{b: b}
	d.version()
	var t topicValue
	copy(t.id[:], d.take(16))
	n := d.count(4)
	t.uids = make([]uint32, n)
	for i := range t.uids {
		t.uids[i] = d.u32()
	}
	n = d.count(4)
	t.configs = make(map[string]string, n)
	for range n {
		k := d.name()
		t.configs[k] = d.name()
	}
	return t, d.end("topic")
}

// mark describes a run of neighbouring batches, about markBytes of them. It
// serves look-ups by time, and retention. The run that is still growing is kept
// in partitionValue.
type mark struct {
	first   int64 // base offset of the first batch; -1: there is none
	next    int64 // offset after the last
	maxTime int64 // ms, of all records
	bytes   int64 // of the batches
}

const markBytes = 1 << 20

var noMark = mark{first: -1}

func (m mark) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{1}, uint64(m.next))
	b = binary.BigEndian.AppendUint64(b, uint64(m.maxTime))
	return binary.BigEndian.AppendUint64(b, uint64(m.bytes))
}

func decodeMark(first int64, b []byte) (mark, error) {
	d := decoder{b: b}
	d.version()
	m := mark{first: first, next: d.i64(), maxTime: d.i64(), bytes: d.i64()}
	if m.next <= m.first || m.bytes < 0 {
		d.bad = true
	}
	return m, d.end("mark")
}

// partitionValue is the stored state of a partition.
type partitionValue struct {
	start int64 // first offset that may be read
	next  int64 // offset of the next record: the high watermark
	bytes int64 // of all batches
	open  mark  // the run that grows
}

const partitionBytes = 1 + 7*8

func (p partitionValue) append(b []byte) []byte {
	b = append(b, 1)
	for _, n := range [...]int64{p.start, p.next, p.bytes, p.open.first, p.open.next, p.open.maxTime, p.open.bytes} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func decodePartition(b []byte) (partitionValue, error) {
	d := decoder{b: b}
	d.version()
	p := partitionValue{start: d.i64(), next: d.i64(), bytes: d.i64()}
	p.open = mark{first: d.i64(), next: d.i64(), maxTime: d.i64(), bytes: d.i64()}
	if p.start < 0 || p.next < p.start || p.bytes < 0 || p.open.first < -1 {
		d.bad = true
	}
	return p, d.end("partition")
}

// sequenced is one of the last batches of a producer in a partition.
type sequenced struct {
	first, last int32 // sequence numbers
	base        int64
	time        int64 // ms, the largest of the batch
}

// windowBatches is how many batches a producer may have under way (and so may
// send again) without losing the protection against duplicates.
const windowBatches = 5

// producerValue is what a partition knows of a producer.
type producerValue struct {
	epoch    int16
	txnStart int64 // first offset of its open transaction; -1: none
	lastTime int64 // ms, of its last record
	seen     int64 // ms of our clock at its last append or marker
	window   []sequenced
}

func (p producerValue) append(b []byte) []byte {
	b = append(b, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(p.epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(p.txnStart))
	b = binary.BigEndian.AppendUint64(b, uint64(p.lastTime))
	b = binary.BigEndian.AppendUint64(b, uint64(p.seen))
	b = append(b, byte(len(p.window)))
	for _, w := range p.window {
		b = binary.BigEndian.AppendUint32(b, uint32(w.first))
		b = binary.BigEndian.AppendUint32(b, uint32(w.last))
		b = binary.BigEndian.AppendUint64(b, uint64(w.base))
		b = binary.BigEndian.AppendUint64(b, uint64(w.time))
	}
	return b
}

func decodeProducer(b []byte) (producerValue, error) {
	d := decoder{b: b}
	d.version()
	p := producerValue{epoch: d.i16(), txnStart: d.i64(), lastTime: d.i64(), seen: d.i64()}
	n := int(d.u8())
	if n > windowBatches {
		d.bad = true
		n = 0
	}
	for range n {
		p.window = append(p.window, sequenced{first: d.i32(), last: d.i32(), base: d.i64(), time: d.i64()})
	}
	return p, d.end("producer")
}

// abortedValue is a stored aborted transaction; its key has the offset of the
// marker.
type abortedValue struct {
	producer int64
	first    int64 // offset of its first record
	stable   int64 // last stable offset after the marker: what ends later begins at or after it
}

func (a abortedValue) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{1}, uint64(a.producer))
	b = binary.BigEndian.AppendUint64(b, uint64(a.first))
	return binary.BigEndian.AppendUint64(b, uint64(a.stable))
}

func decodeAborted(b []byte) (abortedValue, error) {
	d := decoder{b: b}
	d.version()
	a := abortedValue{producer: d.i64(), first: d.i64(), stable: d.i64()}
	return a, d.end("aborted transaction")
}

// txnState is where a transactional id stands. Ends are atomic, so that Kafka's
// states of preparation do not occur.
type txnState byte

const (
	txnEmpty txnState = iota
	txnOngoing
	txnCommitted
	txnAborted
)

func (s txnState) String() string {
	return [...]string{"Empty", "Ongoing", "CompleteCommit", "CompleteAbort"}[s]
}

// txnValue is a stored transactional id.
type txnValue struct {
	producer     int64
	epoch        int16
	lastProducer int64 // before the last change of the producer id; -1: none
	lastEpoch    int16 // before the last bump that its owner asked for; -1: none
	state        txnState
	timeout      int64 // ms
	started      int64 // ms; -1 unless Ongoing
	updated      int64 // ms
	partitions   []uint32
	groups       []string
}

func (t txnValue) encode() []byte {
	be := binary.BigEndian
	b := be.AppendUint64([]byte{1}, uint64(t.producer))
	b = be.AppendUint16(b, uint16(t.epoch))
	b = be.AppendUint64(b, uint64(t.lastProducer))
	b = be.AppendUint16(b, uint16(t.lastEpoch))
	b = append(b, byte(t.state))
	for _, n := range [...]int64{t.timeout, t.started, t.updated} {
		b = be.AppendUint64(b, uint64(n))
	}
	b = be.AppendUint32(b, uint32(len(t.partitions)))
	for _, u := range t.partitions {
		b = be.AppendUint32(b, u)
	}
	b = be.AppendUint32(b, uint32(len(t.groups)))
	for _, g := range t.groups {
		b = appendName(b, g)
	}
	return b
}

func decodeTxn(b []byte) (txnValue, error) {
	d := decoder{b: b}
	d.version()
	t := txnValue{producer: d.i64(), epoch: d.i16(), lastProducer: d.i64(), lastEpoch: d.i16(), state: txnState(d.u8())}
	if t.state > txnAborted {
		d.bad = true
	}
	t.timeout, t.started, t.updated = d.i64(), d.i64(), d.i64()
	n := d.count(4)
	t.partitions = make([]uint32, n)
	for i := range t.partitions {
		t.partitions[i] = d.u32()
	}
	n = d.count(2)
	t.groups = make([]string, n)
	for i := range t.groups {
		t.groups[i] = d.name()
	}
	return t, d.end("transaction")
}

// offsetValue is a stored offset of a group, committed or pending.
type offsetValue struct {
	offset      int64
	leaderEpoch int32
	sequence    uint64 // order of commits: a transaction's never replaces a later one
	time        int64  // ms
	metadata    string
}

func (o offsetValue) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{1}, uint64(o.offset))
	b = binary.BigEndian.AppendUint32(b, uint32(o.leaderEpoch))
	b = binary.BigEndian.AppendUint64(b, o.sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(o.time))
	return appendName(b, o.metadata)
}

func decodeOffset(b []byte) (offsetValue, error) {
	d := decoder{b: b}
	d.version()
	o := offsetValue{offset: d.i64(), leaderEpoch: d.i32(), sequence: d.u64(), time: d.i64(), metadata: d.name()}
	return o, d.end("offset")
}
