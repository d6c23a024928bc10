package batch

import (
	"encoding/binary"
	"slices"
)

// NoHorizon leaves the times of a batch as they are in Filter.
const NoHorizon = -1

// Filter returns b, one whole batch, without the records for which keep returns
// false: base offset, last delta, producer and the deltas of the records that
// stay are the same, so that offsets and sequences keep their meaning. b itself
// is returned when nothing changes, and a batch of no records when none is kept
// (kept 0). A horizon (ms) other than NoHorizon becomes the time from which
// tombstones may go (KIP-534), unless the batch has one. A compressed block may
// have at most limit bytes.
func Filter(b []byte, limit int, horizon int64, keep func(Record) bool) (out []byte, kept int, err error) {
	h, err := Peek(b)
	if err != nil {
		return nil, 0, err
	}
	shift := int64(0)
	setHorizon := horizon != NoHorizon && !h.HasHorizon()
	if setHorizon {
		shift = h.FirstTimestamp - horizon
	}
	var records []byte
	maxTime := int64(-1)
	for r, err := range Records(b, limit) {
		if err != nil {
			return nil, 0, err
		}
		if !keep(r) {
			continue
		}
		kept++
		maxTime = max(maxTime, r.Timestamp)
		records = appendShifted(records, r.Raw, shift)
	}
	if kept == int(h.Count) && !setHorizon {
		return b, kept, nil
	}
	if kept == 0 {
		out = slices.Clone(b[:HeaderBytes])
		be := binary.BigEndian
		// Without records there is nothing to be compressed.
		be.PutUint16(out[atAttributes:], be.Uint16(out[atAttributes:])&^codecMask)
		maxTime = h.MaxTimestamp
	} else {
		block, err := Compress(h.Codec(), records)
		if err != nil {
			return nil, 0, err
		}
		out = append(make([]byte, 0, HeaderBytes+len(block)), b[:HeaderBytes]...)
		out = append(out, block...)
	}
	be := binary.BigEndian
	be.PutUint32(out[atLength:], uint32(len(out)-lengthOverhead))
	be.PutUint32(out[atCount:], uint32(kept))
	if setHorizon {
		be.PutUint64(out[atFirstTime:], uint64(horizon))
		be.PutUint16(out[atAttributes:], be.Uint16(out[atAttributes:])|horizonBit)
	}
	if !h.AppendTime() {
		be.PutUint64(out[atMaxTime:], uint64(maxTime))
	}
	be.PutUint32(out[atCRC:], sum(out))
	return out, kept, nil
}

// appendShifted appends a raw record whose time delta grows by shift.
func appendShifted(dst, raw []byte, shift int64) []byte {
	if shift == 0 {
		return append(dst, raw...)
	}
	_, n := binary.Varint(raw)
	body := raw[n:]
	delta, m := binary.Varint(body[1:])
	var field [binary.MaxVarintLen64]byte
	w := binary.PutVarint(field[:], delta+shift)
	dst = binary.AppendVarint(dst, int64(len(body)-m+w))
	dst = append(dst, body[0])
	dst = append(dst, field[:w]...)
	return append(dst, body[1+m:]...)
}
