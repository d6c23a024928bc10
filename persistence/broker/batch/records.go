package batch

// Record is one record of a batch. Slices point into the batch or into the
// decompressed block and are valid until the iteration goes on.
type Record struct {
	Raw       []byte // as stored, with its length prefix
	Offset    int64
	Timestamp int64  // ms
	Key       []byte // nil: null
	Value     []byte // nil: null, a tombstone
	Headers   []byte // encoded: varint count, then the headers
}
