package batch

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestMarkerIsWhatOtherImplementationsRead(t *testing.T) {
	for _, commit := range []bool{true, false} {
		b := Marker(77, 5, commit, 123456)
		if len(b) != controlBytes {
			t.Errorf("%d bytes, want %d", len(b), controlBytes)
		}
		var rb kmsg.RecordBatch
		if err := rb.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
		if rb.ProducerID != 77 || rb.ProducerEpoch != 5 || rb.Attributes != 0x30 || rb.NumRecords != 1 || rb.MaxTimestamp != 123456 || rb.FirstSequence != -1 {
			t.Errorf("%+v", rb)
		}
		var r kmsg.Record
		if err := r.ReadFrom(rb.Records); err != nil {
			t.Fatal(err)
		}
		var key kmsg.ControlRecordKey
		var value kmsg.EndTxnMarker
		if err := key.ReadFrom(r.Key); err != nil || (key.Type == kmsg.ControlRecordKeyTypeCommit) != commit {
			t.Errorf("key %+v, %v", key, err)
		}
		if err := value.ReadFrom(r.Value); err != nil || value.CoordinatorEpoch != 0 {
			t.Errorf("value %+v, %v", value, err)
		}
		if got, err := MarkerCommits(b); err != nil || got != commit {
			t.Errorf("commits %v, %v", got, err)
		}
		if _, err := Intact(b); err != nil {
			t.Error(err)
		}
	}
	if _, err := MarkerCommits(build(t, None, sample(1), nil)); err == nil {
		t.Error("a batch of data passes for a marker")
	}
}

func TestFilterKeepsOffsetsAndTimes(t *testing.T) {
	for _, c := range codecs {
		for _, horizon := range []int64{NoHorizon, 555, 1 << 50} {
			b := build(t, c, sample(50), func(rb *kmsg.RecordBatch) { rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = 9, 1, 40 })
			SetBase(b, 1000)
			was := bytes.Clone(b)
			out, kept, err := Filter(b, 1<<20, horizon, func(r Record) bool { return r.Offset%5 == 0 })
			if err != nil || kept != 10 {
				t.Fatalf("%s: kept %d, %v", c, kept, err)
			}
			if !bytes.Equal(b, was) {
				t.Fatalf("%s: the original was changed", c)
			}
			h, err := Intact(out)
			if err != nil || h.Base != 1000 || h.Last() != 1049 || h.Count != 10 || h.ProducerID != 9 || h.LastSequence() != 89 || h.Codec() != c {
				t.Fatalf("%s: %+v, %v", c, h, err)
			}
			if h.HasHorizon() != (horizon != NoHorizon) || h.HasHorizon() && h.FirstTimestamp != horizon {
				t.Fatalf("%s: horizon %v %d", c, h.HasHorizon(), h.FirstTimestamp)
			}
			i := int64(0)
			for r, err := range Records(out, 1<<20) {
				if err != nil || r.Offset != 1000+i || r.Timestamp != 1000+10*(i%7) || r.Key[0] != byte(i) {
					t.Fatalf("%s, record %d: %+v, %v", c, i, r, err)
				}
				i += 5
			}
			if i != 50 {
				t.Fatalf("%s: the last was %d", c, i)
			}
		}
	}
}

func TestFilterOfEverythingAndNothing(t *testing.T) {
	b := build(t, Zstd, sample(5), nil)
	out, kept, err := Filter(b, 1<<20, NoHorizon, func(Record) bool { return true })
	if err != nil || kept != 5 || &out[0] != &b[0] {
		t.Errorf("kept %d, %v; the same bytes %v", kept, err, &out[0] == &b[0])
	}
	out, kept, err = Filter(b, 1<<20, NoHorizon, func(Record) bool { return false })
	if err != nil || kept != 0 {
		t.Fatalf("kept %d, %v", kept, err)
	}
	h, err := Intact(out)
	if err != nil || h.Count != 0 || h.LastDelta != 4 || len(out) != HeaderBytes || h.Codec() != None {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestRecordFieldsAgreeWithKmsg(t *testing.T) {
	raw := encodeRecord(rec{delta: 0, time: 5, key: []byte("k"), value: nil, headers: 2})
	b := build(t, None, []rec{{time: 5, key: []byte("k"), headers: 2}}, nil)
	var want kmsg.Record
	if err := want.ReadFrom(raw); err != nil {
		t.Fatal(err)
	}
	for r, err := range Records(b, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Raw, raw) || !bytes.Equal(r.Key, want.Key) || r.Value != nil || r.Timestamp != 1000+want.TimestampDelta64 {
			t.Errorf("%+v, want %+v", r, want)
		}
		if n, _ := binary.Varint(r.Headers); n != int64(len(want.Headers)) {
			t.Errorf("%d headers, want %d", n, len(want.Headers))
		}
	}
}
