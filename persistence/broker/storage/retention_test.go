package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
)

// fill appends batches of about 300 KiB, four of which are a run.
func fill(t testing.TB, l *Log, tp TopicPartition, n int) {
	t.Helper()
	for range n {
		put(t, l, tp, keyed{}, "", kv{key: "k", value: strings.Repeat("x", 300<<10)})
	}
}

func starts(t testing.TB, l *Log, tps ...TopicPartition) (out []int64) {
	t.Helper()
	for _, tp := range tps {
		start, _, _, err := l.Offsets(tp)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, start)
		if _, end := follow(t, l, tp, start); end < start {
			t.Fatalf("%v can't be read", tp)
		}
	}
	mustVerify(t, l)
	return out
}

func TestRetentionDeletesWholeRunsFromTheFront(t *testing.T) {
	a, b, compacted := at("a", 0), at("b", 0), at("c", 0)
	for _, tc := range []struct {
		name    string
		configs []string
		options func(*Options)
		want    string // starts of a, b and the compacted topic
	}{
		{"nothing is due", nil, func(*Options) {}, "[0 0 0]"},
		{"age of a topic", []string{"retention.ms", "90000"}, func(*Options) {}, "[4 0 0]"},
		{"age of all", nil, func(o *Options) { o.Retention = 90 * time.Second }, "[4 4 0]"},
		{"age of a growing run", []string{"retention.ms", "1"}, func(*Options) {}, "[10 0 0]"},
		{"never", []string{"retention.ms", "-1"}, func(o *Options) { o.Retention = 1 }, "[0 10 0]"},
		{"bytes of a topic", []string{"retention.bytes", fmt.Sprint(6 * 300 << 10)}, func(*Options) {}, "[4 0 0]"},
		{"bytes of a topic, less than a run", []string{"retention.bytes", "0"}, func(*Options) {}, "[8 0 0]"},
		{"bytes of all, oldest first", nil, func(o *Options) { o.RetentionBytes = 14 * 301 << 10 }, "[4 4 0]"},
		{"floor", nil, func(o *Options) {
			o.RetentionBytes = 1
			o.Floor = func(topic string, _ int32) (int64, bool) { return 7, topic == "a" }
		}, "[4 8 0]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClock()
			o := c.options(vfs.NewMem())
			tc.options(&o)
			l := open(t, o)
			defer l.Close()
			mustCreate(t, l, "a", 1, tc.configs...)
			mustCreate(t, l, "b", 1)
			mustCreate(t, l, "c", 1, "cleanup.policy", "compact", "min.compaction.lag.ms", "1000000", "retention.ms", "1")
			for range 2 {
				fill(t, l, a, 4)
				fill(t, l, b, 4)
				fill(t, l, compacted, 4)
				c.move(time.Minute)
			}
			fill(t, l, a, 2)
			fill(t, l, b, 2)
			c.move(time.Second)
			mustKeepUp(t, l)
			if got := fmt.Sprint(starts(t, l, a, b, compacted)); got != tc.want {
				t.Errorf("logs begin at %s, want %s", got, tc.want)
			}
		})
	}
}

func TestRetentionStopsAtAnOpenTransaction(t *testing.T) {
	c := newClock()
	o := c.options(vfs.NewMem())
	o.Retention, o.MaxTransactionTimeout = time.Second, time.Hour
	l := open(t, o)
	defer l.Close()
	tp := at("a", 0)
	mustCreate(t, l, "a", 1)
	id, epoch, err := l.InitProducer(ctx, "x", time.Hour, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, tp, 5)
	put(t, l, tp, keyed{id: id, epoch: epoch, txn: true}, "x", kv{key: "k", value: "v"})
	fill(t, l, tp, 8)
	c.move(time.Minute)
	mustKeepUp(t, l)
	if got := starts(t, l, tp)[0]; got != 4 {
		t.Errorf("log begins at %d, want 4: the run of the transaction at 5 stays", got)
	}
	if _, _, err := l.EndTxn(ctx, "x", id, epoch, true, false); err != nil {
		t.Fatal(err)
	}
	c.move(time.Minute)
	mustKeepUp(t, l)
	if got := starts(t, l, tp)[0]; got != 15 {
		t.Errorf("log begins at %d, want 15", got)
	}
	// The producer is known all the same.
	if r := appendAll(l, Append{TopicPartition: tp, Batch: keyed{id: id, epoch: epoch, seq: 5, txn: true, ms: l.now()}.bytes(t, kv{key: "k"}), TxnID: "x", Implicit: true})[0]; !errors.Is(r.Err, kerr.OutOfOrderSequenceNumber) {
		t.Errorf("a gap in the sequence gives %v", r.Err)
	}
}

func TestDeleteRecordsMovesTheStart(t *testing.T) {
	tp := at("a", 0)
	for _, tc := range []struct {
		name    string
		before  int64
		configs []string
		floor   int64
		want    int64
		err     error
	}{
		{"middle of a run", 2, nil, -1, 2, nil},
		{"middle of the growing run", 9, nil, -1, 9, nil},
		{"end of a run", 4, nil, -1, 4, nil},
		{"middle of a batch", 11, nil, -1, 11, nil},
		{"everything", -1, nil, -1, 13, nil},
		{"high watermark", 13, nil, -1, 13, nil},
		{"nothing", 0, nil, -1, 0, nil},
		{"beyond the end", 14, nil, -1, 0, kerr.OffsetOutOfRange},
		{"below -1", -2, nil, -1, 0, kerr.OffsetOutOfRange},
		{"floor", 8, nil, 7, 0, kerr.PolicyViolation},
		{"up to the floor", 7, nil, 7, 7, nil},
		{"compacted", 2, []string{"cleanup.policy", "compact"}, -1, 0, kerr.PolicyViolation},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newClock().options(vfs.NewMem())
			o.Floor = func(string, int32) (int64, bool) { return tc.floor, tc.floor >= 0 }
			l := open(t, o)
			defer func() { l.Close() }()
			mustCreate(t, l, "a", 1, tc.configs...)
			fill(t, l, tp, 10)
			put(t, l, tp, keyed{}, "", kv{key: "a", value: "1"}, kv{key: "b", value: "1"}, kv{key: "c", value: "1"})
			low, err := l.DeleteRecords(ctx, tp, tc.before)
			if !errors.Is(err, tc.err) || err == nil && low != tc.want {
				t.Fatalf("got %d, %v; want %d, %v", low, err, tc.want, tc.err)
			}
			if got := starts(t, l, tp)[0]; got != tc.want {
				t.Errorf("log begins at %d, want %d", got, tc.want)
			}
			fill(t, l, tp, 5)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, o)
			if got := starts(t, l, tp)[0]; got != tc.want {
				t.Errorf("after a restart the log begins at %d, want %d", got, tc.want)
			}
		})
	}
	l := openMem(t)
	if _, err := l.DeleteRecords(ctx, tp, 0); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("unknown topic: %v", err)
	}
}

func TestDeletedRecordsOfAnOpenTransactionMoveTheStableOffset(t *testing.T) {
	l := openMem(t)
	tp := at("a", 0)
	mustCreate(t, l, "a", 1)
	id, epoch, err := l.InitProducer(ctx, "x", time.Minute, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	put(t, l, tp, keyed{id: id, epoch: epoch, txn: true}, "x", kv{key: "a", value: "1"})
	put(t, l, tp, keyed{}, "", kv{key: "a", value: "2"})
	if _, err := l.DeleteRecords(ctx, tp, -1); err != nil {
		t.Fatal(err)
	}
	if start, stable, high, _ := l.Offsets(tp); start != 2 || stable != 2 || high != 2 {
		t.Errorf("offsets %d %d %d, want 2 2 2", start, stable, high)
	}
	mustVerify(t, l)
	if _, _, err := l.EndTxn(ctx, "x", id, epoch, false, false); err != nil {
		t.Fatal(err)
	}
	put(t, l, tp, keyed{}, "", kv{key: "a", value: "3"})
	if got, _ := follow(t, l, tp, 2); shown(got) != "3:a=3" {
		t.Errorf("got %s", shown(got))
	}
	mustVerify(t, l)
}

// TestCutsAndCompactionAgreeWithAppends mixes appends that end runs with cuts,
// compaction and restarts, from several goroutines.
func TestCutsAndCompactionAgreeWithAppends(t *testing.T) {
	c := newClock()
	o := c.options(vfs.NewMem())
	l := open(t, o)
	tp := at("a", 0)
	mustCreate(t, l, "a", 1, "cleanup.policy", "compact,delete", "min.cleanable.dirty.ratio", "0", "retention.bytes", fmt.Sprint(8<<20))
	done := make(chan struct{})
	go func() {
		defer close(done)
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range 300 {
			size := 1 << rng.IntN(18)
			r := appendAll(l, Append{TopicPartition: tp, Batch: keyed{ms: l.now()}.bytes(t, kv{key: fmt.Sprint(rng.IntN(50)), value: strings.Repeat("x", size)}, kv{key: fmt.Sprint(i), value: "y"})})[0]
			if r.Err != nil {
				t.Error(r.Err)
				return
			}
		}
	}()
	rng := rand.New(rand.NewPCG(2, 2))
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		mustKeepUp(t, l)
		start, _, high, err := l.Offsets(tp)
		if err != nil {
			t.Fatal(err)
		}
		if rng.IntN(4) == 0 && high > start {
			if _, err := l.DeleteRecords(ctx, tp, start+rng.Int64N(high-start+1)/4); err != nil {
				t.Fatal(err)
			}
		}
	}
	starts(t, l, tp)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, o)
	defer l.Close()
	starts(t, l, tp)
}

func TestAbortedTransactionsGoWithTheirRecords(t *testing.T) {
	l := openMem(t)
	tp := at("a", 0)
	mustCreate(t, l, "a", 1)
	id, epoch, err := l.InitProducer(ctx, "x", time.Minute, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // markers at 1, 3, 5
		put(t, l, tp, keyed{id: id, epoch: epoch, seq: int32(i), txn: true}, "x", kv{key: "a", value: "1"})
		if _, _, err := l.EndTxn(ctx, "x", id, epoch, false, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.DeleteRecords(ctx, tp, 3); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, l)
	if got, _ := follow(t, l, tp, 3); len(got) > 0 {
		t.Errorf("aborted records are seen: %s", shown(got))
	}
}

// TestAPlanIsNotCarriedOutOnAnotherState lets the growing run end between the
// planning of a cut and the cut.
func TestAPlanIsNotCarriedOutOnAnotherState(t *testing.T) {
	l := openMem(t)
	tp := at("a", 0)
	mustCreate(t, l, "a", 1)
	fill(t, l, tp, 3)
	uid := l.directory.Load().partition(tp).uid
	var c cut
	plan := func() {
		t.Helper()
		err := l.snapshot(func(r pebble.Reader) (err error) {
			c, _, err = planCut(r, uid, 2)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	plan()
	fill(t, l, tp, 1) // ends the run
	if err := l.change(ctx, func(b *build) error { return b.cut(c) }); !errors.Is(err, errMoved) {
		t.Fatalf("got %v, want errMoved", err)
	}
	plan()
	if err := l.change(ctx, func(b *build) error { return b.cut(c) }); err != nil {
		t.Fatal(err)
	}
	if got := starts(t, l, tp)[0]; got != 2 {
		t.Errorf("log begins at %d, want 2", got)
	}
}
