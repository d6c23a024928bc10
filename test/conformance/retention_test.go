package conformance

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// retention.ms: what is older is deleted in the broker's own time, the log's
// start moves, offsets go on.
func TestRetentionByTime(t *testing.T) {
	t.Parallel()
	w := dial(t)
	tp := newTopic(t, w, 1, "retention.ms=1000")
	put(t, w, tp, 0, "a", "b")
	eventually(t, "the deletion", func() bool { return listOffset(w, 7, tp, 0, -2, false).Offset == 2 })
	code(t, "fetch of what is gone", fetchFrom(w, tp, 0, 0, fetchOptions{}).ErrorCode, kerr.OffsetOutOfRange)
	if o := put(t, w, tp, 0, "c"); o != 2 {
		t.Errorf("next offset %d", o)
	}
}

// retention.ms of -1: old times in records delete nothing.
func TestRetentionWithoutBound(t *testing.T) {
	t.Parallel()
	w := dial(t)
	bounded := newTopic(t, w, 1, "retention.ms=60000")
	tp := newTopic(t, w, 1, "retention.ms=-1")
	old := batch{records: values("old"), time: time.Now().AddDate(-1, 0, 0).UnixMilli()}.bytes()
	for _, to := range []topic{tp, bounded} {
		must(t, "produce", produceTo(w, 9, to, 0, "", old).ErrorCode)
	}
	eventually(t, "the deletion beside it", func() bool { return listOffset(w, 7, bounded, 0, -2, false).Offset == 1 })
	if o := listOffset(w, 7, tp, 0, -2, false).Offset; o != 0 {
		t.Errorf("start %d", o)
	}
}

// retention.bytes: the oldest goes when there is more.
func TestRetentionBySize(t *testing.T) {
	t.Parallel()
	w := dial(t)
	tp := newTopic(t, w, 1, "retention.bytes=1000000", "segment.bytes=1048576")
	for range 60 {
		put(t, w, tp, 0, strings.Repeat("x", 100_000))
	}
	eventually(t, "the deletion", func() bool { return listOffset(w, 7, tp, 0, -2, false).Offset >= 20 })
	if start := listOffset(w, 7, tp, 0, -2, false).Offset; start > 52 {
		t.Errorf("start %d: less is left than asked for", start)
	}
	if o := put(t, w, tp, 0, "next"); o != 60 {
		t.Errorf("next offset %d", o)
	}
}

// Compaction: of each key the last record stays under its offset, tombstones
// hide what was; the head that is younger than min.compaction.lag.ms stays.
func TestCompaction(t *testing.T) {
	t.Parallel()
	w := dial(t)
	tp := newTopic(t, w, 1, "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", "segment.ms=500", "max.compaction.lag.ms=1000")
	write := func(key, value string) {
		must(t, "produce", produceTo(w, 9, tp, 0, "", batch{records: []record{{key: key, value: value}}}.bytes()).ErrorCode)
	}
	last := map[string]string{}
	offset := map[string]int64{}
	for i := range 50 {
		key, value := fmt.Sprint("k", i%5), fmt.Sprint(i)
		write(key, value)
		last[key], offset[key] = value, int64(i)
	}
	seen := func() map[string]string {
		out := map[string]string{}
		for _, r := range readAll(t, w, tp, 0, 0, false) {
			out[r.key] = r.value
		}
		delete(out, "roll")
		return out
	}
	eventually(t, "the compaction", func() bool {
		write("roll", "") // a segment is compacted when a later one has begun
		n := 0
		for _, r := range readAll(t, w, tp, 0, 0, false) {
			if r.key != "roll" {
				n++
			}
		}
		return n == len(last)
	})
	if got := seen(); !maps.Equal(got, last) {
		t.Errorf("left %v, want %v", got, last)
	}
	for _, r := range readAll(t, w, tp, 0, 0, false) {
		if r.key != "roll" && r.offset != offset[r.key] {
			t.Errorf("%s is at %d, was at %d", r.key, r.offset, offset[r.key])
		}
	}
	// A fetch at an offset that is gone gives the next that is left; the log's
	// start stays.
	if p := fetchFrom(w, tp, 0, 0, fetchOptions{}); p.ErrorCode != 0 || p.LogStartOffset != 0 || parse(t, p.RecordBatches)[0].offset != 45 {
		t.Errorf("fetch at 0: %v, start %d", kerr.ErrorForCode(p.ErrorCode), p.LogStartOffset)
	}
}

// min.compaction.lag.ms: nothing younger is compacted.
func TestCompactionLag(t *testing.T) {
	t.Parallel()
	w := dial(t)
	opts := []string{"cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", "segment.ms=500", "max.compaction.lag.ms=1000"}
	quick := newTopic(t, w, 1, opts...)
	lagging := newTopic(t, w, 1, append(opts[:3:3], "min.compaction.lag.ms=3600000")...)
	for i := range 20 {
		for _, tp := range []topic{quick, lagging} {
			put(t, w, tp, 0, fmt.Sprint(i))
		}
	}
	n := 20
	eventually(t, "the compaction beside it", func() bool {
		for _, tp := range []topic{quick, lagging} {
			must(t, "produce", produceTo(w, 9, tp, 0, "", batch{records: []record{{key: "roll", value: ""}}}.bytes()).ErrorCode)
		}
		n++
		return len(readAll(t, w, quick, 0, 0, false)) < n-10
	})
	if got := len(readAll(t, w, lagging, 0, 0, false)); got != n {
		t.Errorf("%d records left of %d", got, n)
	}
}

// An open transaction is not compacted over; aborted records go, committed ones
// count.
func TestCompactionOfTransactions(t *testing.T) {
	t.Parallel()
	w := dial(t)
	tp := newTopic(t, w, 1, "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", "segment.ms=500", "max.compaction.lag.ms=1000")
	put(t, w, tp, 0, "plain") // key k
	good := newOwner(t, w, name(t, "txn"), time.Minute)
	good.write(tp, 0, "committed")
	must(t, "commit", good.end(true))
	bad := newOwner(t, w, name(t, "txn"), time.Minute)
	bad.write(tp, 0, "aborted")
	must(t, "abort", bad.end(false))
	eventually(t, "the compaction", func() bool {
		must(t, "produce", produceTo(w, 9, tp, 0, "", batch{records: []record{{key: "roll", value: ""}}}.bytes()).ErrorCode)
		var left []string
		for _, r := range readAll(t, w, tp, 0, 0, true) {
			if !r.control && r.key == "k" {
				left = append(left, r.value)
			}
		}
		return len(left) == 1 && left[0] == "committed"
	})
}
