package conformance

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// batch is a record batch to be written as bytes (Kafka documentation, "Record
// Batch"). The zero value is of no producer.
type batch struct {
	producer    int64 // 0: none
	epoch       int16
	seq         int32
	txn         bool
	attributes  int16 // beside txn
	time        int64 // of the first record; 0: now; each later record is a millisecond younger
	records     []record
	claim       int32 // count of records in the header; 0: what there are
	epochOnWire int32
}

type record struct {
	key, value string
	noKey      bool
}

func values(v ...string) []record {
	var rs []record
	for _, v := range v {
		rs = append(rs, record{key: "k", value: v})
	}
	return rs
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (b batch) bytes() []byte {
	if b.time == 0 {
		b.time = time.Now().UnixMilli()
	}
	rb := kmsg.RecordBatch{
		Magic: 2, Attributes: b.attributes, PartitionLeaderEpoch: b.epochOnWire,
		FirstTimestamp: b.time, MaxTimestamp: b.time + int64(max(len(b.records)-1, 0)),
		LastOffsetDelta: int32(len(b.records) - 1), NumRecords: int32(len(b.records)),
		ProducerID: b.producer, ProducerEpoch: b.epoch, FirstSequence: b.seq,
	}
	if b.producer == 0 {
		rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = -1, -1, -1
	}
	if b.txn {
		rb.Attributes |= 1 << 4
	}
	if b.claim != 0 {
		rb.NumRecords = b.claim
	}
	for i, r := range b.records {
		kr := kmsg.Record{TimestampDelta64: int64(i), OffsetDelta: int32(i), Key: []byte(r.key), Value: []byte(r.value)}
		if r.noKey {
			kr.Key = nil
		}
		kr.Length = int32(len(kr.AppendTo(nil)) - 1) // a length of 0 takes one byte
		rb.Records = kr.AppendTo(rb.Records)
	}
	return seal(rb.AppendTo(nil))
}

// seal sets length and CRC of an encoded batch.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}

// fetched is a record as a consumer sees it.
type fetched struct {
	offset     int64
	time       int64
	key, value string
	control    bool
	txn        bool
	appendTime bool
	producer   int64
}

// parse reads the whole batches of a fetch response.
func parse(t testing.TB, b []byte) []fetched {
	t.Helper()
	var out []fetched
	for len(b) >= 61 {
		size := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if size > len(b) {
			break // a response may end in a part of a batch
		}
		var rb kmsg.RecordBatch
		if err := rb.ReadFrom(b[:size]); err != nil {
			t.Fatalf("batch of %d bytes: %v", size, err)
		}
		if crc := crc32.Checksum(b[21:size], castagnoli); uint32(rb.CRC) != crc {
			t.Fatalf("batch at %d: CRC %x, want %x", rb.FirstOffset, uint32(rb.CRC), crc)
		}
		b = b[size:]
		raw := rb.Records
		for range rb.NumRecords {
			if rb.Attributes&7 != 0 {
				break // compressed: for clients to read
			}
			length, n := binary.Varint(raw)
			var kr kmsg.Record
			if err := kr.ReadFrom(raw[:n+int(length)]); err != nil {
				t.Fatalf("record in batch at %d: %v", rb.FirstOffset, err)
			}
			raw = raw[n+int(length):]
			f := fetched{
				offset: rb.FirstOffset + int64(kr.OffsetDelta), time: rb.FirstTimestamp + kr.TimestampDelta64,
				key: string(kr.Key), value: string(kr.Value), producer: rb.ProducerID,
				control: rb.Attributes&(1<<5) != 0, txn: rb.Attributes&(1<<4) != 0, appendTime: rb.Attributes&(1<<3) != 0,
			}
			if f.appendTime {
				f.time = rb.MaxTimestamp
			}
			out = append(out, f)
		}
	}
	return out
}

func valuesOf(rs []fetched) []string {
	var out []string
	for _, r := range rs {
		if !r.control {
			out = append(out, r.value)
		}
	}
	return out
}
