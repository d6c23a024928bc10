package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/gemello/gemello/persistence/broker/batch"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestAppendRefuses(t *testing.T) {
	c := newClock()
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	mustCreate(t, l, "small", 1, "max.message.bytes", "200")
	mustCreate(t, l, "compacted", 1, "cleanup.policy", "compact")
	mustCreate(t, l, "fresh", 1, "message.timestamp.before.max.ms", "1000")
	now := c.now().UnixMilli()
	good := data{values: []string{"v"}}
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good.bytes())) }
	for _, tt := range []struct {
		rule string
		tp   TopicPartition
		raw  []byte
		want error
	}{
		{"an unknown topic", at("b", 0), good.bytes(), kerr.UnknownTopicOrPartition},
		{"an unknown partition", at("a", 1), good.bytes(), kerr.UnknownTopicOrPartition},
		{"a negative partition", at("a", -1), good.bytes(), kerr.UnknownTopicOrPartition},
		{"no batch", at("a", 0), nil, kerr.CorruptMessage},
		{"a wrong checksum", at("a", 0), change(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), kerr.CorruptMessage},
		{"a batch cut short", at("a", 0), good.bytes()[:69], kerr.CorruptMessage},
		{"message format 1", at("a", 0), change(func(b []byte) []byte { b[16] = 1; return b }), kerr.UnsupportedForMessageFormat},
		{"two batches", at("a", 0), append(good.bytes(), good.bytes()...), kerr.InvalidRecord},
		{"a marker", at("a", 0), batch.Marker(1, 1, true, now), kerr.InvalidRecord},
		{"a batch above max.message.bytes", at("small", 0), data{values: []string{string(make([]byte, 200))}}.bytes(), kerr.MessageTooLarge},
		{"a batch above MaxBatchBytes", at("a", 0), data{values: []string{string(make([]byte, 1048588))}}.bytes(), kerr.MessageTooLarge},
		{"a record without key in a compacted topic", at("compacted", 0), data{values: []string{"v"}, noKey: true}.bytes(), kerr.InvalidRecord},
		{"a time more than an hour ahead", at("a", 0), data{values: []string{"v"}, times: []int64{now + 3_600_001}}.bytes(), kerr.InvalidTimestamp},
		{"a time further back than the topic allows", at("fresh", 0), data{values: []string{"v", "v"}, times: []int64{now - 1001, now}}.bytes(), kerr.InvalidTimestamp},
		{"a transaction without its id", at("a", 0), data{values: []string{"v"}, id: 5, txn: true}.bytes(), kerr.InvalidTxnState},
	} {
		r := appendAll(l, Append{TopicPartition: tt.tp, Batch: tt.raw})[0]
		if r.Err != tt.want || r.Base != -1 {
			t.Errorf("%s: %+v, want %v", tt.rule, r, tt.want)
		}
	}
	if _, _, high, _ := l.Offsets(at("a", 0)); high != 0 {
		t.Errorf("high watermark %d after nothing but refusals", high)
	}
}

func TestEntriesOfOneAppendAreIndependent(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 2)
	bad := data{values: []string{"x"}}.bytes()
	bad[69] ^= 1
	r := appendAll(l,
		Append{TopicPartition: at("a", 0), Batch: data{values: []string{"1", "2"}}.bytes()},
		Append{TopicPartition: at("a", 0), Batch: bad},
		Append{TopicPartition: at("a", 0), Batch: data{values: []string{"3"}}.bytes()},
		Append{TopicPartition: at("a", 1), Batch: data{values: []string{"4"}}.bytes()},
	)
	want := []Appended{
		{Base: 0, AppendTime: -1}, {Base: -1, AppendTime: -1, LogStart: -1, Err: kerr.CorruptMessage},
		{Base: 2, AppendTime: -1}, {Base: 0, AppendTime: -1},
	}
	for i := range want {
		if !reflect.DeepEqual(r[i], want[i]) {
			t.Errorf("entry %d: %+v, want %+v", i, r[i], want[i])
		}
	}
}

func TestSequencesAsInKafka(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	mustCreate(t, l, "b", 1)
	v := func(n int) []string { return make([]string, n) }
	for i, s := range []struct {
		rule string
		to   string
		d    data
		base int64
		want error
	}{
		{"a new producer begins anywhere", "b", data{values: v(1), id: 7, seq: 40}, 0, nil},
		{"a new producer begins with 0", "a", data{values: v(2), id: 7, seq: 0}, 0, nil},
		{"the next follows", "a", data{values: v(1), id: 7, seq: 2}, 2, nil},
		{"a repetition gets its offset", "a", data{values: v(1), id: 7, seq: 2}, 2, nil},
		{"also an older one", "a", data{values: v(2), id: 7, seq: 0}, 0, nil},
		{"one of another size is no repetition", "a", data{values: v(2), id: 7, seq: 2}, 0, kerr.OutOfOrderSequenceNumber},
		{"a gap", "a", data{values: v(1), id: 7, seq: 4}, 0, kerr.OutOfOrderSequenceNumber},
		{"other producers have their own", "a", data{values: v(1), id: 8, seq: 0}, 3, nil},
		{"a new epoch begins with 0", "a", data{values: v(1), id: 7, epoch: 1, seq: 3}, 0, kerr.OutOfOrderSequenceNumber},
		{"and then goes on", "a", data{values: v(1), id: 7, epoch: 1, seq: 0}, 4, nil},
		{"the old epoch is fenced", "a", data{values: v(1), id: 7, epoch: 0, seq: 3}, 0, kerr.InvalidProducerEpoch},
		{"3", "a", data{values: v(1), id: 7, epoch: 1, seq: 1}, 5, nil},
		{"4", "a", data{values: v(1), id: 7, epoch: 1, seq: 2}, 6, nil},
		{"5", "a", data{values: v(1), id: 7, epoch: 1, seq: 3}, 7, nil},
		{"6", "a", data{values: v(1), id: 7, epoch: 1, seq: 4}, 8, nil},
		{"7", "a", data{values: v(1), id: 7, epoch: 1, seq: 5}, 9, nil},
		{"the fifth last is remembered", "a", data{values: v(1), id: 7, epoch: 1, seq: 1}, 5, nil},
		{"the sixth last is not", "a", data{values: v(1), id: 7, epoch: 1, seq: 0}, 0, kerr.OutOfOrderSequenceNumber},
	} {
		r := appendOne(l, at(s.to, 0), s.d, "")
		if r.Err != s.want || s.want == nil && r.Base != s.base {
			t.Errorf("%d, %s: %+v, want %d, %v", i, s.rule, r, s.base, s.want)
		}
	}
}

func TestSequencesGoOnAfterTheLargest(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 1)
	v := make([]string, 3)
	for i, seq := range []int32{math.MaxInt32 - 1, 1, 4} {
		if r := appendOne(l, at("a", 0), data{values: v, id: 3, seq: seq}, ""); r.Err != nil || r.Base != int64(3*i) {
			t.Errorf("sequence %d: %+v", seq, r)
		}
	}
	if r := appendOne(l, at("a", 0), data{values: v, id: 3, seq: math.MaxInt32 - 1}, ""); r.Err != nil || r.Base != 0 {
		t.Errorf("the batch over the end again: %+v", r)
	}
}

func TestAppendTimeReplacesTheProducersOwn(t *testing.T) {
	c := newClock()
	l := openMem(t)
	mustCreate(t, l, "a", 1, "message.timestamp.type", "LogAppendTime")
	now := c.now().UnixMilli()
	// A time far ahead matters as little.
	d := data{values: []string{"x", "y"}, times: []int64{5, now + 1e12}, id: 4}
	for range 2 { // the second is a repetition
		if r := appendOne(l, at("a", 0), d, ""); r.Err != nil || r.AppendTime != now || r.Base != 0 {
			t.Errorf("%+v", r)
		}
	}
	f := l.Read(Read{TopicPartition: at("a", 0), MaxBytes: 1000}, nil)
	h, err := batch.Intact(f.Batches)
	if err != nil || !h.AppendTime() || h.MaxTimestamp != now {
		t.Errorf("%+v, %v", h, err)
	}
	if off, ts, err := l.OffsetFor(at("a", 0), now, false); off != 0 || ts != now || err != nil {
		t.Errorf("by time: %d, %d, %v", off, ts, err)
	}
}

func TestAppendGoesOnUntilClose(t *testing.T) {
	l := open(t, newClock().options(vfs.NewMem()))
	mustCreate(t, l, "a", 1)
	const n = 200
	results := make(chan error, n)
	for range n {
		l.Append([]Append{{TopicPartition: at("a", 0), Batch: data{values: []string{"v"}}.bytes()}}, func(r []Appended) { results <- r[0].Err })
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		select {
		case err := <-results:
			if err != nil {
				t.Fatalf("request %d, taken before Close: %v", i, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a request was never answered")
		}
	}
	if r := appendOne(l, at("a", 0), data{values: []string{"v"}}, ""); !errors.Is(r.Err, ErrClosed) {
		t.Errorf("after Close: %+v", r)
	}
}

func TestManyAppendersEachGetTheirOffset(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "a", 3)
	const callers, each = 20, 50
	errs := make(chan error, callers)
	for c := range callers {
		go func() {
			errs <- func() error {
				tp := at("a", int32(c%3))
				for i := range each {
					v := fmt.Sprintf("%d/%d", c, i)
					r := appendOne(l, tp, data{values: []string{v}, id: int64(c + 1), seq: int32(i)}, "")
					if r.Err != nil {
						return r.Err
					}
					f := l.Read(Read{TopicPartition: tp, Offset: r.Base, MaxBytes: 1, AtLeastOne: true}, nil)
					if f.Err != nil {
						return f.Err
					}
					for rec, err := range batch.Records(f.Batches, 0) {
						if err != nil || string(rec.Value) != v || rec.Offset != r.Base {
							return fmt.Errorf("at %d: %q, %v, want %q", r.Base, rec.Value, err, v)
						}
					}
				}
				return nil
			}()
		}()
	}
	for range callers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	total := int64(0)
	for p := range int32(3) {
		_, _, high, _ := l.Offsets(at("a", p))
		total += high
	}
	if total != callers*each {
		t.Errorf("%d records, want %d", total, callers*each)
	}
}
