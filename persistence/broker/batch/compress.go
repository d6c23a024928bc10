package batch

// Codec is the compression of a batch's records.
type Codec int8

// Codecs of message format v2.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)
