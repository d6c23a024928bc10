package conformance

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type codec struct {
	name string
	kgo  kgo.CompressionCodec
}

var codecs = []codec{
	{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
	{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
}

// writeCompressed writes n records ten milliseconds apart, in one batch.
func writeCompressed(t testing.TB, tp topic, c codec, base int64, n int) {
	t.Helper()
	cl := client(t, kgo.ProducerBatchCompression(c.kgo), kgo.DefaultProduceTopic(tp.name), kgo.ProducerLinger(time.Second), kgo.ManualFlushing())
	for i := range n {
		cl.Produce(within(t), &kgo.Record{
			Key: []byte("k"), Value: make([]byte, 300), Timestamp: time.UnixMilli(base + int64(i)*10),
		}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
}
