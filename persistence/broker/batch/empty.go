package batch

import "encoding/binary"

// Empty returns a batch of no records that covers the offsets from base to
// base+lastDelta, for a place where records were lost. ms is its time.
func Empty(base int64, lastDelta int32, ms int64) []byte {
	be := binary.BigEndian
	b := make([]byte, HeaderBytes)
	be.PutUint64(b, uint64(base))
	be.PutUint32(b[atLength:], HeaderBytes-lengthOverhead)
	b[atMagic] = 2
	be.PutUint32(b[atLastDelta:], uint32(lastDelta))
	be.PutUint64(b[atFirstTime:], uint64(ms))
	be.PutUint64(b[atMaxTime:], uint64(ms))
	be.PutUint64(b[atProducerID:], ^uint64(0))
	be.PutUint16(b[atEpoch:], ^uint16(0))
	be.PutUint32(b[atSequence:], ^uint32(0))
	be.PutUint32(b[atCRC:], sum(b))
	return b
}
