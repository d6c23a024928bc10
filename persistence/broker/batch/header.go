package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// HeaderBytes is the size of a batch without its records.
const HeaderBytes = 61

// Offsets of the header's fields.
const (
	atLength      = 8
	atLeaderEpoch = 12
	atMagic       = 16
	atCRC         = 17
	atAttributes  = 21
	atLastDelta   = 23
	atFirstTime   = 27
	atMaxTime     = 35
	atProducerID  = 43
	atEpoch       = 51
	atSequence    = 53
	atCount       = 57

	// lengthOverhead is what the length field does not count: itself and the
	// base offset.
	lengthOverhead = 12
)

// Bits of Header.Attributes.
const (
	codecMask     = 0x07
	appendTimeBit = 0x08
	txnBit        = 0x10
	controlBit    = 0x20
	horizonBit    = 0x40
)

// Errors of Peek, Check and Records. What they return wraps one of these.
var (
	// ErrTruncated means that the bytes end before the batch does.
	ErrTruncated = errors.New("batch is truncated")
	// ErrMagic means a message format other than v2.
	ErrMagic = errors.New("batch is not of message format 2")
	// ErrCRC means that the checksum does not match.
	ErrCRC = errors.New("checksum of batch is wrong")
	// ErrRecords means that counts, deltas or records do not fit together.
	ErrRecords = errors.New("records of batch are invalid")
	// ErrTooLarge means that a bound on size was passed.
	ErrTooLarge = errors.New("batch is too large")
)

// Header is the decoded header of a batch.
type Header struct {
	Base           int64
	Length         int32 // bytes after this field; see Size
	LeaderEpoch    int32
	CRC            uint32
	Attributes     int16
	LastDelta      int32
	FirstTimestamp int64 // ms; the delete horizon when HasHorizon
	MaxTimestamp   int64 // ms
	ProducerID     int64 // -1: none
	Epoch          int16
	FirstSequence  int32 // -1: none
	Count          int32 // records; fewer than LastDelta+1 after compaction
}

// Size is the number of bytes of the whole batch.
func (h Header) Size() int { return int(h.Length) + lengthOverhead }

// Last is the offset of the last record, counting removed ones.
func (h Header) Last() int64 { return h.Base + int64(h.LastDelta) }

// Next is the offset after the batch.
func (h Header) Next() int64 { return h.Last() + 1 }

// Codec is the compression of the records.
func (h Header) Codec() Codec { return Codec(h.Attributes & codecMask) }

// AppendTime reports whether MaxTimestamp is the broker's time of all records.
func (h Header) AppendTime() bool { return h.Attributes&appendTimeBit != 0 }

// Transactional reports whether the records belong to a transaction.
func (h Header) Transactional() bool { return h.Attributes&txnBit != 0 }

// Control reports whether the batch is a marker.
func (h Header) Control() bool { return h.Attributes&controlBit != 0 }

// HasHorizon reports whether FirstTimestamp is the time from which tombstones
// of the batch may be removed (KIP-534).
func (h Header) HasHorizon() bool { return h.Attributes&horizonBit != 0 }

// LastSequence is the sequence of the last record; it wraps from 2^31-1 to 0.
func (h Header) LastSequence() int32 {
	if h.FirstSequence < 0 {
		return -1
	}
	return AddSequence(h.FirstSequence, h.LastDelta)
}

// AddSequence adds n >= 0 to a sequence number, which wraps from 2^31-1 to 0.
func AddSequence(seq, n int32) int32 {
	return int32((int64(seq) + int64(n)) & 0x7fffffff)
}

// Peek decodes the header at the start of b and checks that the whole batch is
// there; not its checksum or records.
func Peek(b []byte) (Header, error) {
	if len(b) < HeaderBytes {
		return Header{}, fmt.Errorf("%w: %d bytes, the header has %d", ErrTruncated, len(b), HeaderBytes)
	}
	if m := b[atMagic]; m != 2 {
		return Header{}, fmt.Errorf("%w but %d", ErrMagic, m)
	}
	be := binary.BigEndian
	h := Header{
		Base:           int64(be.Uint64(b)),
		Length:         int32(be.Uint32(b[atLength:])),
		LeaderEpoch:    int32(be.Uint32(b[atLeaderEpoch:])),
		CRC:            be.Uint32(b[atCRC:]),
		Attributes:     int16(be.Uint16(b[atAttributes:])),
		LastDelta:      int32(be.Uint32(b[atLastDelta:])),
		FirstTimestamp: int64(be.Uint64(b[atFirstTime:])),
		MaxTimestamp:   int64(be.Uint64(b[atMaxTime:])),
		ProducerID:     int64(be.Uint64(b[atProducerID:])),
		Epoch:          int16(be.Uint16(b[atEpoch:])),
		FirstSequence:  int32(be.Uint32(b[atSequence:])),
		Count:          int32(be.Uint32(b[atCount:])),
	}
	if h.Length < HeaderBytes-lengthOverhead {
		return Header{}, fmt.Errorf("%w: length field says %d", ErrTruncated, h.Length)
	}
	if h.Size() > len(b) {
		return Header{}, fmt.Errorf("%w: %d bytes of %d", ErrTruncated, len(b), h.Size())
	}
	return h, nil
}

// Intact decodes the header of b, which is one whole batch, and verifies length
// and checksum. It is the check for bytes that were once accepted by Check.
func Intact(b []byte) (Header, error) {
	h, err := Peek(b)
	if err != nil {
		return Header{}, err
	}
	if h.Size() != len(b) {
		return Header{}, fmt.Errorf("%w: %d bytes after the batch", ErrRecords, len(b)-h.Size())
	}
	if sum(b) != h.CRC {
		return Header{}, ErrCRC
	}
	if h.LastDelta < 0 || h.Count < 0 || int64(h.Count) > int64(h.LastDelta)+1 {
		return Header{}, fmt.Errorf("%w: %d records, last delta %d", ErrRecords, h.Count, h.LastDelta)
	}
	return h, nil
}

// SetBase writes the base offset, which the checksum does not cover.
func SetBase(b []byte, base int64) { binary.BigEndian.PutUint64(b, uint64(base)) }

// SetLeaderEpoch writes the leader epoch, which the checksum does not cover.
func SetLeaderEpoch(b []byte, epoch int32) {
	binary.BigEndian.PutUint32(b[atLeaderEpoch:], uint32(epoch))
}

// SetAppendTime makes ms the time of all records and renews the checksum.
func SetAppendTime(b []byte, ms int64) {
	be := binary.BigEndian
	be.PutUint16(b[atAttributes:], be.Uint16(b[atAttributes:])|appendTimeBit)
	be.PutUint64(b[atMaxTime:], uint64(ms))
	be.PutUint32(b[atCRC:], sum(b))
}

func sum(b []byte) uint32 {
	return crc32.Checksum(b[atAttributes:], castagnoli)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SetCreateTime makes ms the largest of the records' own times, which count,
// and renews the checksum.
func SetCreateTime(b []byte, ms int64) {
	be := binary.BigEndian
	be.PutUint16(b[atAttributes:], be.Uint16(b[atAttributes:])&^appendTimeBit)
	be.PutUint64(b[atMaxTime:], uint64(ms))
	be.PutUint32(b[atCRC:], sum(b))
}
