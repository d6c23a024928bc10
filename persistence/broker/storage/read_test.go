package storage

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/gemello/gemello/persistence/broker/batch"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestReadStaysInItsLimits(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	tp := at("a", 0)
	size := len(data{values: []string{"x", "y"}}.bytes())
	for range 5 {
		appendOne(l, tp, data{values: []string{"x", "y"}}, "")
	}
	for _, tt := range []struct {
		rule    string
		r       Read
		batches int
		first   int64
		err     error
	}{
		{"everything", Read{MaxBytes: 1 << 20}, 5, 0, nil},
		{"from inside a batch the whole batch", Read{Offset: 3, MaxBytes: 1 << 20}, 4, 2, nil},
		{"exactly two", Read{MaxBytes: 2 * size}, 2, 0, nil},
		{"one byte less", Read{MaxBytes: 2*size - 1}, 1, 0, nil},
		{"nothing when the first is too large", Read{MaxBytes: size - 1}, 0, 0, nil},
		{"at least one", Read{MaxBytes: 1, AtLeastOne: true}, 1, 0, nil},
		{"at the end nothing", Read{Offset: 10, MaxBytes: 1000, AtLeastOne: true}, 0, 0, nil},
		{"beyond the end", Read{Offset: 11, MaxBytes: 1000}, 0, 0, kerr.OffsetOutOfRange},
		{"before the start", Read{Offset: -1, MaxBytes: 1000}, 0, 0, kerr.OffsetOutOfRange},
	} {
		tt.r.TopicPartition = tp
		f := l.Read(tt.r, []byte("kept"))
		if f.Err != tt.err || f.HighWatermark != 10 || f.LastStable != 10 || f.LogStart != 0 {
			t.Errorf("%s: %+v", tt.rule, f)
			continue
		}
		rest, ok := bytes.CutPrefix(f.Batches, []byte("kept"))
		if !ok || len(rest) != tt.batches*size {
			t.Errorf("%s: %d bytes, want %d batches of %d", tt.rule, len(rest), tt.batches, size)
			continue
		}
		if tt.batches > 0 {
			if h, err := batch.Peek(rest); err != nil || h.Base != tt.first {
				t.Errorf("%s: begins with %d, %v, want %d", tt.rule, h.Base, err, tt.first)
			}
		}
	}
	if f := l.Read(Read{TopicPartition: at("b", 0)}, nil); f.Err != kerr.UnknownTopicOrPartition {
		t.Errorf("an unknown topic: %+v", f)
	}
}

func TestDamageIsToldAndNeverGivenOut(t *testing.T) {
	var told bytes.Buffer
	o := newClock().options(vfs.NewMem())
	o.Logger = slog.New(slog.NewTextHandler(&told, nil))
	l := open(t, o)
	defer l.Close()
	mustCreate(t, l, "a", 1)
	tp := at("a", 0)
	for range 3 {
		appendOne(l, tp, data{values: []string{"v"}}, "")
	}
	uid := l.directory.Load().partition(tp).uid
	if err := l.engine.view(func(db *pebble.DB) error {
		v, err := get(db, keyBatch(uid, 1))
		if err != nil {
			return err
		}
		v[len(v)-2] ^= 4
		return db.Set(keyBatch(uid, 1), v, pebble.Sync)
	}); err != nil {
		t.Fatal(err)
	}
	f := l.Read(Read{TopicPartition: tp, MaxBytes: 1 << 20}, nil)
	if h, err := batch.Peek(f.Batches); f.Err != nil || err != nil || h.Size() != len(f.Batches) || h.Base != 0 {
		t.Errorf("what is good before it comes first: %+v", f)
	}
	if f := l.Read(Read{TopicPartition: tp, Offset: 1, MaxBytes: 1 << 20}, nil); f.Err != kerr.CorruptMessage || len(f.Batches) != 0 {
		t.Errorf("at the damage: %+v", f)
	}
	if f := l.Read(Read{TopicPartition: tp, Offset: 2, MaxBytes: 1 << 20}, nil); f.Err != nil || len(f.Batches) == 0 {
		t.Errorf("behind it: %+v", f)
	}
	if !strings.Contains(told.String(), "topic=a partition=0 offset=1") {
		t.Errorf("the log says %q", told.String())
	}
}

func TestWatchTellsOfEachMove(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 2)
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	w, other := l.Watch(at("a", 0)), l.Watch(at("a", 1))
	appendOne(l, at("a", 0), data{values: []string{"v"}}, "")
	if !closed(w) || closed(other) {
		t.Error("an append wakes the watchers of its partition alone")
	}
	w = l.Watch(at("a", 0))
	if closed(w) {
		t.Error("a new channel is closed at once")
	}
	if _, err := l.DeleteRecords(ctx, at("a", 0), 1); err != nil {
		t.Fatal(err)
	}
	if !closed(w) {
		t.Error("the log start moves")
	}
	w = l.Watch(at("a", 0))
	if err := l.DeleteTopic(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if !closed(w) || !closed(other) || !closed(l.Watch(at("a", 0))) {
		t.Error("the topic is deleted")
	}
}

func TestOffsetsByTimeAreExact(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	tp := at("a", 0)
	// Out of order, so that neither batches nor records are sorted by time.
	const t0 = int64(1_600_000_000_000)
	var all []int64
	for i := range 200 {
		var times []int64
		var values []string
		for j := range 1 + i%4 {
			times = append(times, t0+int64((i*37+j*13)%101)*10+int64(i))
			values = append(values, strings.Repeat("v", 9000)) // several marks
		}
		if r := appendOne(l, tp, data{values: values, times: times}, ""); r.Err != nil {
			t.Fatal(r)
		}
		all = append(all, times...)
	}
	check := func(start int) {
		t.Helper()
		for q := t0 - 5; q < t0+1300; q += 7 {
			want, wantTime := int64(-1), int64(-1)
			for o, ts := range all {
				if o >= start && ts >= q {
					want, wantTime = int64(o), ts
					break
				}
			}
			if o, ts, err := l.OffsetFor(tp, q, false); o != want || ts != wantTime || err != nil {
				t.Fatalf("first at or after %d: %d %d %v, want %d %d", q, o, ts, err, want, wantTime)
			}
		}
		most := int64(-1)
		for o, ts := range all {
			if o >= start && (most < 0 || ts > all[most]) {
				most = int64(o)
			}
		}
		if o, ts, err := l.OffsetFor(tp, MaxTimestamp, false); o != most || ts != all[most] || err != nil {
			t.Errorf("largest: %d %d %v, want %d %d", o, ts, err, most, all[most])
		}
	}
	check(0)
	if _, err := l.DeleteRecords(ctx, tp, 222); err != nil {
		t.Fatal(err)
	}
	check(222)
	for ts, want := range map[int64]int64{Latest: int64(len(all)), Earliest: 222, EarliestLocal: 222} {
		if o, got, err := l.OffsetFor(tp, ts, false); o != want || got != -1 || err != nil {
			t.Errorf("special %d: %d %d %v", ts, o, got, err)
		}
	}
	if _, _, err := l.OffsetFor(tp, -9, false); err != kerr.InvalidRequest {
		t.Errorf("an unknown special time: %v", err)
	}
}

func TestOffsetsByTimeOfEmptyAndUnstable(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	tp := at("a", 0)
	for _, ts := range []int64{MaxTimestamp, 0, 1 << 50} {
		if o, got, err := l.OffsetFor(tp, ts, false); o != -1 || got != -1 || err != nil {
			t.Errorf("%d of an empty partition: %d %d %v", ts, o, got, err)
		}
	}
	pid, _ := mustInit(t, l, "x")
	appendOne(l, tp, data{values: []string{"v"}, times: []int64{100}}, "")
	appendAll(l, Append{TopicPartition: tp, Batch: data{values: []string{"v"}, times: []int64{200}, id: pid, txn: true}.bytes(), TxnID: "x", Implicit: true})
	for _, tt := range []struct {
		ts        int64
		committed bool
		want      int64
	}{{150, false, 1}, {150, true, -1}, {50, true, 0}, {Latest, true, 1}, {Latest, false, 2}, {MaxTimestamp, true, 0}} {
		if o, _, err := l.OffsetFor(tp, tt.ts, tt.committed); o != tt.want || err != nil {
			t.Errorf("%+v: %d %v", tt, o, err)
		}
	}
}

func TestReadersNeverSeeAGapWhereRecordsAreDeleted(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	tp := at("a", 0)
	for i := range 300 {
		appendOne(l, tp, data{values: []string{fmt.Sprint(i)}}, "")
	}
	done := make(chan error, 1)
	go func() {
		for i := range int64(300) {
			if _, err := l.DeleteRecords(ctx, tp, i); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
		start, _, _, _ := l.Offsets(tp)
		f := l.Read(Read{TopicPartition: tp, Offset: start, MaxBytes: 1, AtLeastOne: true}, nil)
		if f.Err == kerr.OffsetOutOfRange {
			continue
		}
		if h, err := batch.Peek(f.Batches); f.Err != nil || err != nil || h.Base != start {
			t.Fatalf("asked for %d: %d, %v, %v", start, h.Base, err, f.Err)
		}
	}
}
