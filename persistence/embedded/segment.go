package embedded

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A segment file is a sequence of record batches as on the wire, and beside it
// stands an index file with one entry for each batch.

const (
	batchHeaderSize = 61
	batchPrefix     = 12 // offset and length, which the length does not count
	batchCRCFrom    = 21 // the checksum covers the batch from here on

	attrTransactional = 1 << 4
	attrControl       = 1 << 5
)

// batch is what recovery needs to know of a record batch.
type batch struct {
	base          int64
	size          int64
	leaderEpoch   int32
	attributes    int16
	lastDelta     int32
	maxTimestamp  int64
	producerID    int64
	producerEpoch int16
	commit        bool // of a control batch
}

func (b batch) transactional() bool { return b.attributes&attrTransactional != 0 }
func (b batch) control() bool       { return b.attributes&attrControl != 0 }
func (b batch) end() int64          { return b.base + int64(b.lastDelta) + 1 }

// errTorn marks a segment that ends within a batch.
var errTorn = errors.New("ends within a batch")

// scanSegment calls visit for each batch and returns the length of what is
// whole. The error is errTorn if a batch at the end is not; a broken batch
// with more behind it is another matter, since no crash does that.
func scanSegment(path string, visit func(batch) error) (whole int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	r := bufio.NewReaderSize(f, 1<<20)
	var buf []byte
	for whole < size {
		if size-whole < batchHeaderSize {
			return whole, errTorn
		}
		prefix, err := r.Peek(batchPrefix)
		if err != nil {
			return whole, err
		}
		n := batchPrefix + int64(int32(binary.BigEndian.Uint32(prefix[8:])))
		if n < batchHeaderSize || n > size-whole {
			// A length beyond the end is either torn or wrong; both look the
			// same, and nothing behind it can be told apart.
			return whole, errTorn
		}
		if int64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(r, buf); err != nil {
			return whole, err
		}
		b, err := parseBatch(buf)
		if err != nil {
			if whole+n == size {
				return whole, errTorn
			}
			return whole, fmt.Errorf("at byte %d: %w", whole, err)
		}
		if err := visit(b); err != nil {
			return whole, err
		}
		whole += n
	}
	return whole, nil
}

// parseBatch checks a whole batch; raw has at least a header.
func parseBatch(raw []byte) (batch, error) {
	if raw[16] != 2 {
		return batch{}, fmt.Errorf("batch of unknown version %d", raw[16])
	}
	got := crc32.Checksum(raw[batchCRCFrom:], crc32.MakeTable(crc32.Castagnoli))
	if want := binary.BigEndian.Uint32(raw[17:]); got != want {
		return batch{}, fmt.Errorf("batch has checksum %08x, want %08x", got, want)
	}
	b := batch{
		base:          int64(binary.BigEndian.Uint64(raw)),
		size:          int64(len(raw)),
		leaderEpoch:   int32(binary.BigEndian.Uint32(raw[12:])),
		attributes:    int16(binary.BigEndian.Uint16(raw[21:])),
		lastDelta:     int32(binary.BigEndian.Uint32(raw[23:])),
		maxTimestamp:  int64(binary.BigEndian.Uint64(raw[35:])),
		producerID:    int64(binary.BigEndian.Uint64(raw[43:])),
		producerEpoch: int16(binary.BigEndian.Uint16(raw[51:])),
	}
	if b.base < 0 || b.lastDelta < 0 {
		return batch{}, fmt.Errorf("batch has offset %d and %d", b.base, b.lastDelta)
	}
	if b.control() {
		var rec kmsg.Record
		if err := rec.ReadFrom(raw[batchHeaderSize:]); err != nil || len(rec.Key) < 4 {
			return batch{}, errors.New("control batch without a type")
		}
		b.commit = kmsg.ControlRecordKeyType(binary.BigEndian.Uint16(rec.Key[2:])) == kmsg.ControlRecordKeyTypeCommit
	}
	return b, nil
}

// markerBatch encodes the control batch that ends a transaction.
func markerBatch(base int64, leaderEpoch int32, producerID int64, producerEpoch int16, commit bool, nowMilli int64) []byte {
	key := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeAbort}
	if commit {
		key.Type = kmsg.ControlRecordKeyTypeCommit
	}
	var marker kmsg.EndTxnMarker
	rec := kmsg.Record{Key: key.AppendTo(nil), Value: marker.AppendTo(nil)}
	rec.Length = int32(len(rec.AppendTo(nil)) - 1) // its own varint is one byte
	b := kmsg.RecordBatch{
		FirstOffset:          base,
		PartitionLeaderEpoch: leaderEpoch,
		Magic:                2,
		Attributes:           attrControl | attrTransactional,
		FirstTimestamp:       nowMilli,
		MaxTimestamp:         nowMilli,
		ProducerID:           producerID,
		ProducerEpoch:        producerEpoch,
		FirstSequence:        -1,
		NumRecords:           1,
		Records:              rec.AppendTo(nil),
	}
	b.Length = int32(len(b.AppendTo(nil)) - batchPrefix)
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[batchCRCFrom:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

const indexEntrySize = 15

// indexEntry encodes what the broker's index says of a batch. The broker sets
// the flag of every batch of a transaction and leaves it set.
func indexEntry(b batch) []byte {
	e := make([]byte, indexEntrySize)
	e[0] = 1
	binary.LittleEndian.PutUint32(e[2:], uint32(b.leaderEpoch))
	binary.LittleEndian.PutUint64(e[6:], uint64(b.maxTimestamp))
	if b.transactional() && !b.control() {
		e[14] = 1
	}
	e[1] = byte(crc32.Checksum(e[2:], crc32.MakeTable(crc32.Castagnoli)))
	return e
}
