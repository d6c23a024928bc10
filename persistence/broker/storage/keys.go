package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Tags are the first byte of each key. All integers in keys are big-endian and
// never negative, so that keys sort by number.
//
//	01 name                                       what concerns the whole log
//	02 topic                                      a topic
//	03 uid:4                                      a partition
//	04 uid:4 producer:8                           a producer in a partition
//	05 txn                                        a transactional id
//	06 len:2 txn len:2 group len:2 topic index:4  an offset that waits for a transaction
//	07 len:2 group len:2 topic index:4            a committed offset
//	08 uid:4                                      how far compaction of a partition has come
//	10 uid:4 base:8                               a record batch, as on the wire
//	11 uid:4 first:8                              a mark: a run of batches
//	12 uid:4 last:8                               an aborted transaction, by the offset of its marker
//
// uid is the number that a partition gets when it is made. It is never used
// again, so that the data of a deleted topic is a few ranges.
const (
	tagMeta      = 0x01
	tagTopic     = 0x02
	tagPartition = 0x03
	tagProducer  = 0x04
	tagTxn       = 0x05
	tagPending   = 0x06
	tagOffset    = 0x07
	tagCompact   = 0x08
	tagBatch     = 0x10
	tagMark      = 0x11
	tagAborted   = 0x12
)

// errFormat means that a stored key or value is not what this version writes.
var errFormat = errors.New("stored bytes are not of a known format")

// Keys of tagMeta.
var (
	keyStamp       = []byte{tagMeta, 'f'}
	keyCounters    = []byte{tagMeta, 'c'}
	keyGenerations = []byte{tagMeta, 'g'} // int32: the next to be given out; absent: 0
)

func keyTopic(name string) []byte { return append([]byte{tagTopic}, name...) }

func keyUID(tag byte, uid uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{tag}, uid)
}

func keyPartition(uid uint32) []byte { return keyUID(tagPartition, uid) }
func keyCompact(uid uint32) []byte   { return keyUID(tagCompact, uid) }

// keyNumbered is a key of a tag with partition and one more number.
func keyNumbered(tag byte, uid uint32, n int64) []byte {
	k := make([]byte, 0, numberedBytes)
	k = append(k, tag)
	k = binary.BigEndian.AppendUint32(k, uid)
	return binary.BigEndian.AppendUint64(k, uint64(n))
}

const numberedBytes = 1 + 4 + 8

func keyProducer(uid uint32, id int64) []byte  { return keyNumbered(tagProducer, uid, id) }
func keyBatch(uid uint32, base int64) []byte   { return keyNumbered(tagBatch, uid, base) }
func keyMark(uid uint32, first int64) []byte   { return keyNumbered(tagMark, uid, first) }
func keyAborted(uid uint32, last int64) []byte { return keyNumbered(tagAborted, uid, last) }

// splitNumbered is the reverse of keyNumbered.
func splitNumbered(k []byte) (uid uint32, n int64, err error) {
	if len(k) != numberedBytes {
		return 0, 0, fmt.Errorf("%w: key %x", errFormat, k)
	}
	uid = binary.BigEndian.Uint32(k[1:])
	n = int64(binary.BigEndian.Uint64(k[5:]))
	if n < 0 {
		return 0, 0, fmt.Errorf("%w: key %x", errFormat, k)
	}
	return uid, n, nil
}

func keyTxn(id string) []byte { return append([]byte{tagTxn}, id...) }

func keyPending(txn, group string, tp TopicPartition) []byte {
	k := appendName([]byte{tagPending}, txn)
	return appendPosition(appendName(k, group), tp)
}

func keyOffset(group string, tp TopicPartition) []byte {
	return appendPosition(appendName([]byte{tagOffset}, group), tp)
}

func appendName(k []byte, s string) []byte {
	k = binary.BigEndian.AppendUint16(k, uint16(len(s)))
	return append(k, s...)
}

func appendPosition(k []byte, tp TopicPartition) []byte {
	k = appendName(k, tp.Topic)
	return binary.BigEndian.AppendUint32(k, uint32(tp.Partition))
}

func splitPending(k []byte) (txn, group string, tp TopicPartition, err error) {
	d := decoder{b: k}
	d.u8()
	txn, group = d.name(), d.name()
	tp = TopicPartition{Topic: d.name(), Partition: int32(d.u32())}
	return txn, group, tp, d.end("key of a pending offset")
}

func splitOffset(k []byte) (group string, tp TopicPartition, err error) {
	d := decoder{b: k}
	d.u8()
	group = d.name()
	tp = TopicPartition{Topic: d.name(), Partition: int32(d.u32())}
	return group, tp, d.end("key of a committed offset")
}

// decoder takes fields off the front of b; bad sticks.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) u8() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) i16() int16 { return int16(d.u16()) }
func (d *decoder) i32() int32 { return int32(d.u32()) }
func (d *decoder) i64() int64 { return int64(d.u64()) }

func (d *decoder) name() string { return string(d.take(int(d.u16()))) }

// count is a number of things that have at least size bytes each.
func (d *decoder) count(size int) int {
	n := d.u32()
	if uint64(n)*uint64(size) > uint64(len(d.b)) {
		d.bad = true
		return 0
	}
	return int(n)
}

// version takes the first byte of a value, which is 1 in all of them.
func (d *decoder) version() {
	if d.u8() != 1 {
		d.bad = true
	}
}

func (d *decoder) end(what string) error {
	if d.bad || len(d.b) != 0 {
		return fmt.Errorf("%w: %s", errFormat, what)
	}
	return nil
}
