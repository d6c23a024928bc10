package batch

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rec is a record of a test's batch.
type rec struct {
	delta, time int64
	key, value  []byte
	headers     int
}

func encodeRecord(r rec) []byte {
	var b []byte
	b = append(b, 0)
	b = binary.AppendVarint(b, r.time)
	b = binary.AppendVarint(b, r.delta)
	for _, f := range [][]byte{r.key, r.value} {
		if f == nil {
			b = binary.AppendVarint(b, -1)
			continue
		}
		b = append(binary.AppendVarint(b, int64(len(f))), f...)
	}
	b = binary.AppendVarint(b, int64(r.headers))
	for range r.headers {
		b = append(binary.AppendVarint(b, 1), 'h')
		b = binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(nil, int64(len(b))), b...)
}

func encodeRecords(recs []rec) []byte {
	var b []byte
	for _, r := range recs {
		b = append(b, encodeRecord(r)...)
	}
	return b
}

// build makes a batch with the codec of another implementation than ours.
func build(t testing.TB, codec Codec, recs []rec, change func(*kmsg.RecordBatch)) []byte {
	t.Helper()
	rb := kmsg.NewRecordBatch()
	rb.PartitionLeaderEpoch = -1
	rb.Magic = 2
	rb.Attributes = int16(codec)
	rb.LastOffsetDelta = int32(len(recs) - 1)
	rb.FirstTimestamp = 1000
	for _, r := range recs {
		rb.MaxTimestamp = max(rb.MaxTimestamp, 1000+r.time)
	}
	rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = -1, -1, -1
	rb.NumRecords = int32(len(recs))
	rb.Records = encodeRecords(recs)
	if codec != None {
		which := map[Codec]kgo.CompressionCodec{Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression()}[codec]
		c, err := kgo.DefaultCompressor(which)
		if err != nil {
			t.Fatal(err)
		}
		out, used := c.Compress(new(bytes.Buffer), rb.Records)
		if Codec(used) != codec {
			t.Fatalf("compressed by %d, asked for %d", used, codec)
		}
		rb.Records = bytes.Clone(out)
	}
	if change != nil {
		change(&rb)
	}
	return seal(&rb)
}

// seal encodes with right length and checksum.
func seal(rb *kmsg.RecordBatch) []byte {
	rb.Length = int32(HeaderBytes - lengthOverhead + len(rb.Records))
	b := rb.AppendTo(nil)
	binary.BigEndian.PutUint32(b[atCRC:], sum(b))
	return b
}

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// sample has repetitive values, so that each codec takes it.
func sample(n int) []rec {
	out := make([]rec, n)
	for i := range out {
		out[i] = rec{delta: int64(i), time: int64(10 * (i % 7)), key: []byte{byte(i)}, value: bytes.Repeat([]byte("abcd"), 50), headers: i % 3}
	}
	return out
}
