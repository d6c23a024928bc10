package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// sampleLog makes a closed log with a bit of everything: topic a (number 1) with
// five plain batches, an aborted and a committed transaction and one that is
// open, a compacted topic b (number 2), and a group.
func sampleLog(t testing.TB) Options {
	t.Helper()
	o := newClock().options(vfs.NewMem())
	o.MaxTransactionTimeout = time.Hour
	l := open(t, o)
	mustCreate(t, l, "a", 1)
	mustCreate(t, l, "b", 1, "cleanup.policy", "compact")
	a, b := at("a", 0), at("b", 0)
	for i := range 5 { // 0 to 4
		put(t, l, a, keyed{}, "", kv{key: "k", value: fmt.Sprint("v", i)})
	}
	id, epoch, err := l.InitProducer(ctx, "x", time.Hour, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	k := keyed{id: id, epoch: epoch, txn: true}
	for i, commit := range []bool{false, true} { // 5 to 8
		k.seq = int32(i)
		put(t, l, a, k, "x", kv{key: "k", value: "x"})
		if _, _, err := l.EndTxn(ctx, "x", id, epoch, commit, false); err != nil {
			t.Fatal(err)
		}
	}
	k.seq = 2
	put(t, l, a, k, "x", kv{key: "k", value: "open"}) // 9
	if err := l.AddOffsets(ctx, "x", id, epoch, "g", []Offset{{TopicPartition: a, Offset: 3}}, true); err != nil {
		t.Fatal(err)
	}
	if err := l.CommitOffsets(ctx, "g", []Offset{{TopicPartition: a, Offset: 2, Metadata: "m"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		put(t, l, b, keyed{}, "", kv{key: "k", value: fmt.Sprint("v", i)}, kv{key: fmt.Sprint(i), value: "v"})
	}
	mustKeepUp(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

// tamper changes a closed log behind its back.
func tamper(t testing.TB, o Options, f func(db *pebble.DB) error) {
	t.Helper()
	e, err := Offline{Dir: o.Dir, FS: o.FS}.open(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.view(f); err != nil {
		t.Fatal(err)
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
}

// changeValue gives a stored value to f and stores what it returns.
func changeValue(key []byte, f func([]byte) []byte) func(*pebble.DB) error {
	return func(db *pebble.DB) error {
		v, err := get(db, key)
		if err != nil || v == nil {
			return fmt.Errorf("key %x: %v", key, err)
		}
		return db.Set(key, f(v), pebble.Sync)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] ^= 1
		return b
	}
}

func drop(key []byte) func(*pebble.DB) error {
	return func(db *pebble.DB) error { return db.Delete(key, pebble.Sync) }
}

func TestASoundLogIsFoundSound(t *testing.T) {
	o := sampleLog(t)
	r, err := Offline{Dir: o.Dir, FS: o.FS}.Verify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		t.Error(f)
	}
	if r.Topics != 2 || r.Partitions != 2 || r.Batches != 13 || r.Records != 14 || r.Transactions != 1 || r.Groups != 1 || r.Bytes == 0 {
		t.Errorf("report %+v", r)
	}
}

func TestDamageIsFoundAndRepaired(t *testing.T) {
	const uid = 1
	for _, tc := range []struct {
		name   string
		tamper func(*pebble.DB) error
		kind   FindingKind
		drop   bool   // the repair has to be told
		lost   int    // findings
		want   string // what readers of topic a see afterwards, committed
	}{
		{"bit in the middle", changeValue(keyBatch(uid, 2), flip(70)), DamagedBatch, true, 1, "0:k=v0 1:k=v1 3:k=v3 4:k=v4 7:k=x"},
		{"bit in the header", changeValue(keyBatch(uid, 2), flip(3)), DamagedBatch, true, 1, "0:k=v0 1:k=v1 3:k=v3 4:k=v4 7:k=x"},
		{"bit at the end", changeValue(keyBatch(uid, 9), flip(70)), DamagedBatch, false, 1, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"batch cut short", changeValue(keyBatch(uid, 0), func(b []byte) []byte { return b[:30] }), DamagedBatch, true, 1, "1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"marker damaged", changeValue(keyBatch(uid, 6), flip(63)), DamagedBatch, true, 1, ""},
		{"batch missing", drop(keyBatch(uid, 3)), MissingBatches, false, 1, "0:k=v0 1:k=v1 2:k=v2 4:k=v4 7:k=x"},
		{"last batch missing", drop(keyBatch(uid, 9)), MissingBatches, false, 1, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"aborted transaction not listed", drop(keyAborted(uid, 6)), WrongIndex, false, 0, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"committed transaction listed", func(db *pebble.DB) error {
			return db.Set(keyAborted(uid, 8), abortedValue{producer: 1, first: 7, stable: 9}.encode(), pebble.Sync)
		}, WrongIndex, false, 0, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"wrong size", changeValue(keyPartition(uid), flip(24)), WrongIndex, false, 0, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"wrong size of a run", changeValue(keyPartition(uid), flip(56)), WrongIndex, false, 0, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"mark without batches", func(db *pebble.DB) error {
			return db.Set(keyMark(uid, 3), mark{next: 5, bytes: 10}.encode(), pebble.Sync)
		}, WrongIndex, false, 0, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"batches of nobody", func(db *pebble.DB) error {
			return db.Set(keyBatch(77, 3), []byte{1}, pebble.Sync)
		}, Orphan, false, 0, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"offset for nothing", func(db *pebble.DB) error {
			return db.Set(keyOffset("g", at("c", 0)), offsetValue{}.encode(), pebble.Sync)
		}, Orphan, false, 0, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"transaction without an owner", func(db *pebble.DB) error {
			if err := db.DeleteRange([]byte{tagPending}, []byte{tagPending + 1}, pebble.Sync); err != nil {
				return err
			}
			return db.Delete(keyTxn("x"), pebble.Sync)
		}, WrongState, false, 0, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"producer forgot its transaction", changeValue(keyProducer(uid, 1), func([]byte) []byte {
			return producerValue{txnStart: -1}.append(nil)
		}), WrongState, false, 0, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"producer is behind its batches", changeValue(keyProducer(uid, 1), func([]byte) []byte {
			return producerValue{txnStart: 9, window: []sequenced{{base: 5}}}.append(nil)
		}), WrongState, false, 0, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
		{"group offset that is none", func(db *pebble.DB) error {
			return db.Set(keyOffset("h", at("a", 0)), []byte{9}, pebble.Sync)
		}, WrongState, true, 1, "0:k=v0 1:k=v1 2:k=v2 3:k=v3 4:k=v4 7:k=x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := sampleLog(t)
			tamper(t, o, tc.tamper)
			off := Offline{Dir: o.Dir, FS: o.FS}
			found := func() (Report, bool) {
				t.Helper()
				r, err := off.Verify(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range r.Findings {
					if f.Kind == tc.kind {
						return r, true
					}
				}
				return r, false
			}
			if r, ok := found(); !ok {
				t.Fatalf("not found: %v", r.Findings)
			}
			repaired := func(how Repairs) Repaired {
				t.Helper()
				how.Now = o.Now().UnixMilli()
				r, err := off.Repair(ctx, how)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			repaired(Repairs{DropDamaged: true, DryRun: true})
			if _, ok := found(); !ok {
				t.Error("a dry run changed something")
			}
			if tc.drop {
				if r := repaired(Repairs{}); len(r.Left) == 0 || len(r.Lost) > 0 {
					t.Errorf("without being told it gave up %v and left %v", r.Lost, r.Left)
				}
			}
			done := repaired(Repairs{DropDamaged: tc.drop})
			if len(done.Lost) != tc.lost || len(done.Left) > 0 || len(done.Done)+len(done.Lost) == 0 {
				t.Errorf("repaired: %+v", done)
			}
			if r, _ := found(); !r.Sound() {
				t.Fatalf("after the repair: %v\n%+v", r.Findings, done)
			}
			l := open(t, o)
			defer l.Close()
			got, _ := follow(t, l, at("a", 0), 0)
			if tc.want != "" && shown(got) != tc.want {
				t.Errorf("readers see %s, want %s", shown(got), tc.want)
			}
			if base := put(t, l, at("a", 0), keyed{}, "", kv{key: "k", value: "next"}); base < 10 {
				t.Errorf("offset %d is used again", base)
			}
			mustVerify(t, l)
		})
	}
}

func TestOfflineRefusesALogInUseAndADirectoryWithoutOne(t *testing.T) {
	o := newClock().options(vfs.NewMem())
	l := open(t, o)
	off := Offline{Dir: o.Dir, FS: o.FS}
	if _, err := off.Verify(ctx); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a log in use gives %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := off.Verify(ctx); err != nil {
		t.Error(err)
	}
	off.Dir = "elsewhere"
	if _, err := off.Verify(ctx); err == nil || !strings.Contains(err.Error(), "holds no log") {
		t.Errorf("no log gives %v", err)
	}
	if _, err := o.FS.Stat("elsewhere"); err == nil {
		t.Error("looking made a directory")
	}
}

func TestDumpWritesALineForEachThing(t *testing.T) {
	o := sampleLog(t)
	tamper(t, o, changeValue(keyBatch(1, 2), flip(70)))
	for _, tc := range []struct {
		filter DumpFilter
		want   string
	}{
		{DumpFilter{Partition: -1, State: true}, "topic:2 partition:2 producer:1 transaction:1 pending:1 offset:1"},
		{DumpFilter{Partition: -1, Topic: "b", Batches: true}, "batch:3"},
		{DumpFilter{Partition: -1, Records: true}, "record:11 damage:1"},
		{DumpFilter{Partition: 0, Topic: "a", Batches: true, Records: true, From: 1, To: 6}, "batch:4 record:4 damage:1"},
		{DumpFilter{Partition: 1, Batches: true}, ""},
	} {
		var out bytes.Buffer
		if err := (Offline{Dir: o.Dir, FS: o.FS}).Dump(ctx, &out, tc.filter); err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for line := range strings.Lines(out.String()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			n[m["type"].(string)]++
		}
		var got []string
		for _, kind := range []string{"topic", "partition", "producer", "transaction", "pending", "offset", "batch", "record", "damage"} {
			if n[kind] > 0 {
				got = append(got, fmt.Sprintf("%s:%d", kind, n[kind]))
			}
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%+v: %s, want %s\n%s", tc.filter, s, tc.want, out.String())
		}
	}
}
