package batch

import (
	"errors"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestSettersKeepTheChecksumRight(t *testing.T) {
	b := build(t, None, sample(4), nil)
	SetBase(b, 1234)
	SetLeaderEpoch(b, 0)
	SetAppendTime(b, 99)
	h, err := Intact(b)
	if err != nil {
		t.Fatal(err)
	}
	if h.Base != 1234 || h.LeaderEpoch != 0 || h.MaxTimestamp != 99 || !h.AppendTime() || h.Next() != 1238 {
		t.Errorf("%+v", h)
	}
	for r, err := range Records(b, 0) {
		if err != nil || r.Timestamp != 99 {
			t.Errorf("time of a record %d, %v: append time counts for all", r.Timestamp, err)
		}
	}
	SetCreateTime(b, 1030)
	if h, err = Intact(b); err != nil || h.AppendTime() || h.MaxTimestamp != 1030 {
		t.Errorf("back to create time: %+v, %v", h, err)
	}
}

func TestSequencesWrap(t *testing.T) {
	for _, tt := range []struct{ seq, n, want int32 }{
		{0, 0, 0}, {5, 3, 8}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 3, 1},
	} {
		if got := AddSequence(tt.seq, tt.n); got != tt.want {
			t.Errorf("%d + %d = %d, want %d", tt.seq, tt.n, got, tt.want)
		}
	}
}

func TestIntactIsForStoredBatches(t *testing.T) {
	// Compaction leaves fewer records than offsets.
	thinned := build(t, None, sample(1), func(rb *kmsg.RecordBatch) { rb.LastOffsetDelta = 7 })
	if _, err := Intact(thinned); err != nil {
		t.Error(err)
	}
	thinned[HeaderBytes+3] ^= 1
	if _, err := Intact(thinned); !errors.Is(err, ErrCRC) {
		t.Errorf("with a bit flipped: %v", err)
	}
}

func FuzzPeek(f *testing.F) {
	f.Add(build(f, None, sample(2), nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Peek(b)
		if err == nil && (h.Size() > len(b) || h.Size() < HeaderBytes) {
			t.Fatalf("size %d of %d bytes", h.Size(), len(b))
		}
		// Neither may panic, whatever the header says.
		_ = Times(b, func(int64, int64) bool { return true })
		for range Records(b, 1<<16) {
			continue
		}
	})
}
