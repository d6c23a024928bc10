package batch

import (
	"encoding/binary"
	"fmt"
)

// controlBytes is the size of a marker: header, record length, and a record
// with the fixed fields of version 0.
const controlBytes = HeaderBytes + 1 + controlRecord

const controlRecord = 1 + 1 + 1 + (1 + 4) + (1 + 6) + 1

// Types of control records.
const (
	abortType  = 0
	commitType = 1
)

// Marker returns the control batch that ends a transaction of a producer, with
// base offset 0 and leader epoch 0. ms is its time.
func Marker(id int64, epoch int16, commit bool, ms int64) []byte {
	be := binary.BigEndian
	b := make([]byte, HeaderBytes, controlBytes)
	be.PutUint32(b[atLength:], controlBytes-lengthOverhead)
	b[atMagic] = 2
	be.PutUint16(b[atAttributes:], txnBit|controlBit)
	be.PutUint64(b[atFirstTime:], uint64(ms))
	be.PutUint64(b[atMaxTime:], uint64(ms))
	be.PutUint64(b[atProducerID:], uint64(id))
	be.PutUint16(b[atEpoch:], uint16(epoch))
	be.PutUint32(b[atSequence:], 0xffffffff)
	be.PutUint32(b[atCount:], 1)
	kind := uint16(abortType)
	if commit {
		kind = commitType
	}
	b = binary.AppendVarint(b, controlRecord)
	b = append(b, 0, 0, 0) // attributes, deltas
	b = binary.AppendVarint(b, 4)
	b = be.AppendUint16(b, 0) // version
	b = be.AppendUint16(b, kind)
	b = binary.AppendVarint(b, 6)
	b = be.AppendUint16(b, 0) // version
	b = be.AppendUint32(b, 0) // coordinator epoch
	b = append(b, 0)          // headers
	be.PutUint32(b[atCRC:], sum(b))
	return b
}

// MarkerCommits reports whether the control batch b commits its transaction.
func MarkerCommits(b []byte) (bool, error) {
	h, err := Peek(b)
	if err != nil {
		return false, err
	}
	if !h.Control() || h.Count != 1 || h.Codec() != None {
		return false, fmt.Errorf("%w: not a marker", ErrRecords)
	}
	r, _, err := parseRecord(h, b[HeaderBytes:h.Size()])
	if err != nil {
		return false, err
	}
	if len(r.Key) < 4 {
		return false, fmt.Errorf("%w: key of a marker has %d bytes", ErrRecords, len(r.Key))
	}
	switch kind := binary.BigEndian.Uint16(r.Key[2:]); kind {
	case abortType:
		return false, nil
	case commitType:
		return true, nil
	default:
		return false, fmt.Errorf("%w: control record of type %d", ErrRecords, kind)
	}
}
