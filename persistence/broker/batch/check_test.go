package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCheckAcceptsEachCodec(t *testing.T) {
	for _, c := range codecs {
		b := build(t, c, sample(100), nil)
		got, err := Check(b)
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		if got.Count != 100 || got.Last() != 99 || got.MinTimestamp != 1000 || got.MaxTimestamp != 1060 || got.NullKeys || got.Codec() != c {
			t.Errorf("%s: %+v", c, got)
		}
	}
}

func TestCheckAcceptsSnappyAsJavaFramesIt(t *testing.T) {
	records := encodeRecords(sample(20))
	b := build(t, Snappy, sample(20), func(rb *kmsg.RecordBatch) {
		framed := append(bytes.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
		for len(records) > 0 {
			n := min(len(records), 700)
			block := snappy.Encode(nil, records[:n])
			framed = binary.BigEndian.AppendUint32(framed, uint32(len(block)))
			framed = append(framed, block...)
			records = records[n:]
		}
		rb.Records = framed
	})
	if _, err := Check(b); err != nil {
		t.Error(err)
	}
	n := 0
	for r, err := range Records(b, 1<<20) {
		if err != nil || r.Offset != int64(n) || r.Key[0] != byte(n) {
			t.Fatalf("record %d: %+v, %v", n, r, err)
		}
		n++
	}
	if n != 20 {
		t.Errorf("%d records", n)
	}
}

func TestCheckSeesRecordsWithoutKeys(t *testing.T) {
	recs := sample(3)
	recs[1].key = nil
	for _, c := range codecs {
		got, err := Check(build(t, c, recs, nil))
		if err != nil || !got.NullKeys {
			t.Errorf("%s: null keys %v, %v", c, got.NullKeys, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	good := sample(3)
	gap := sample(3)
	gap[2].delta = 3
	reversed := sample(2)
	reversed[0].delta, reversed[1].delta = 1, 0
	raw := func(c Codec, records []byte) func(*kmsg.RecordBatch) {
		return func(rb *kmsg.RecordBatch) {
			var err error
			if rb.Records, err = Compress(c, records); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range codecs {
		for _, tt := range []struct {
			rule   string
			recs   []rec
			change func(*kmsg.RecordBatch)
			want   error
		}{
			{"no records", nil, func(rb *kmsg.RecordBatch) { rb.Records = nil }, ErrRecords},
			{"a negative count", good, func(rb *kmsg.RecordBatch) { rb.NumRecords = -1 }, ErrRecords},
			{"more records than the count", good, func(rb *kmsg.RecordBatch) { rb.NumRecords, rb.LastOffsetDelta = 2, 1 }, ErrRecords},
			{"fewer records than the count", good, func(rb *kmsg.RecordBatch) { rb.NumRecords, rb.LastOffsetDelta = 4, 3 }, ErrRecords},
			{"an absurd count", good, func(rb *kmsg.RecordBatch) { rb.NumRecords, rb.LastOffsetDelta = 1<<31-1, 1<<31-2 }, ErrRecords},
			{"a last delta that differs from the count", good, func(rb *kmsg.RecordBatch) { rb.LastOffsetDelta = 5 }, ErrRecords},
			{"gaps between deltas", gap, nil, ErrRecords},
			{"deltas out of order", reversed, nil, ErrRecords},
			{"a producer without sequence", good, func(rb *kmsg.RecordBatch) { rb.ProducerID, rb.ProducerEpoch = 1, 0 }, ErrRecords},
			{"an unknown codec", good, func(rb *kmsg.RecordBatch) { rb.Attributes |= 7 }, ErrRecords},
			{"bytes after the last record", good, raw(c, append(encodeRecords(good), 0)), ErrRecords},
			{"a record cut short", good, raw(c, encodeRecords(good)[:len(encodeRecords(good))-1]), ErrRecords},
			{"a record of negative length", good[:1], raw(c, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0}), ErrRecords},
			{"a key longer than its record", good[:1], raw(c, []byte{12, 0, 0, 0, 100, 1, 0}), ErrRecords},
			{"more headers than fit", good[:1], raw(c, []byte{14, 0, 0, 0, 1, 1, 200, 1}), ErrRecords},
		} {
			b := build(t, None, tt.recs, func(rb *kmsg.RecordBatch) {
				rb.Attributes = int16(c)
				var err error
				if rb.Records, err = Compress(c, encodeRecords(tt.recs)); err != nil {
					t.Fatal(err)
				}
				if tt.change != nil {
					tt.change(rb)
				}
			})
			if _, err := Check(b); !errors.Is(err, tt.want) {
				t.Errorf("%s, %s: %v, want %v", tt.rule, c, err, tt.want)
			}
		}
	}
}

func TestCheckRefusesDamage(t *testing.T) {
	for _, c := range codecs {
		good := build(t, c, sample(5), nil)
		for i := range good {
			for _, mask := range []byte{1, 0x80} {
				b := bytes.Clone(good)
				b[i] ^= mask
				_, err := Check(b)
				// Base offset and leader epoch are the broker's to write.
				if free := i < atLength || i >= atLeaderEpoch && i < atMagic; (err == nil) != free {
					t.Fatalf("%s, byte %d changed: %v", c, i, err)
				}
			}
		}
		for n := range good {
			if _, err := Check(good[:n]); !errors.Is(err, ErrTruncated) {
				t.Fatalf("%s cut to %d bytes: %v", c, n, err)
			}
		}
		if _, err := Check(append(bytes.Clone(good), 0)); !errors.Is(err, ErrRecords) {
			t.Errorf("%s with one byte more: %v", c, err)
		}
	}
	old := build(t, None, sample(1), func(rb *kmsg.RecordBatch) { rb.Magic = 1 })
	if _, err := Check(old); !errors.Is(err, ErrMagic) {
		t.Errorf("message format 1: %v", err)
	}
}

func TestDecompressionIsBounded(t *testing.T) {
	huge := []rec{{value: make([]byte, 8<<20)}}
	for _, c := range codecs[1:] {
		b := build(t, None, huge, func(rb *kmsg.RecordBatch) {
			rb.Attributes = int16(c)
			var err error
			if rb.Records, err = Compress(c, encodeRecords(huge)); err != nil {
				t.Fatal(err)
			}
		})
		for _, err := range Records(b, 1<<20) {
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: %v", c, err)
			}
		}
		if _, err := Check(b); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
}

func TestCheckNeedsLittleMemoryForWhatExpands(t *testing.T) {
	huge := encodeRecords([]rec{{value: make([]byte, 64<<20)}})
	for _, c := range []Codec{Gzip, LZ4, Zstd} {
		b := build(t, None, sample(1), func(rb *kmsg.RecordBatch) {
			rb.Attributes = int16(c)
			var err error
			if rb.Records, err = Compress(c, huge); err != nil {
				t.Fatal(err)
			}
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Check(b); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 24<<20 {
			t.Errorf("%s: %d bytes allocated to check %d of %d", c, got, len(b), len(huge))
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, c := range codecs {
		f.Add(build(f, c, sample(4), nil)[atAttributes:], byte(0))
	}
	f.Fuzz(func(t *testing.T, body []byte, _ byte) {
		b := make([]byte, atAttributes, atAttributes+len(body))
		b[atMagic] = 2
		b = append(b, body...)
		binary.BigEndian.PutUint32(b[atLength:], uint32(len(b)-lengthOverhead))
		if len(b) >= HeaderBytes {
			binary.BigEndian.PutUint32(b[atCRC:], sum(b))
		}
		c, err := Check(b)
		if err != nil {
			return
		}
		n := int64(0)
		for r, err := range Records(b, maxExpansion) {
			if err != nil {
				t.Fatalf("record %d of a batch that passed: %v", n, err)
			}
			if r.Offset != n || (r.Timestamp > c.MaxTimestamp || r.Timestamp < c.MinTimestamp) {
				t.Fatalf("record %d: %+v", n, r)
			}
			n++
		}
		if n != int64(c.Count) {
			t.Fatalf("%d records, count %d", n, c.Count)
		}
	})
}
