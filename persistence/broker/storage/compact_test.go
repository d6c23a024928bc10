package storage

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/batch"
)

// kv is a record of a compacted topic: a value of "" is a tombstone, a key of
// "" is none.
type kv struct {
	key, value string
	ms         int64 // 0: the base time of the batch
}

// keyed describes a batch of such records.
type keyed struct {
	codec batch.Codec
	id    int64 // producer; 0: none
	epoch int16
	seq   int32
	txn   bool
	ms    int64
}

func (k keyed) bytes(t testing.TB, records ...kv) []byte {
	t.Helper()
	rb := kmsg.NewRecordBatch()
	rb.Magic = 2
	rb.Attributes = int16(k.codec)
	if k.txn {
		rb.Attributes |= 0x10
	}
	rb.LastOffsetDelta = int32(len(records) - 1)
	rb.NumRecords = int32(len(records))
	rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = -1, -1, -1
	if k.id > 0 {
		rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = k.id, k.epoch, k.seq
	}
	rb.FirstTimestamp = k.ms
	field := func(b []byte, s string) []byte {
		if s == "" {
			return binary.AppendVarint(b, -1)
		}
		return append(binary.AppendVarint(b, int64(len(s))), s...)
	}
	var plain []byte
	for i, r := range records {
		ms := max(r.ms, k.ms)
		rb.MaxTimestamp = max(rb.MaxTimestamp, ms)
		b := binary.AppendVarint([]byte{0}, ms-k.ms)
		b = binary.AppendVarint(b, int64(i))
		b = append(field(field(b, r.key), r.value), 0)
		plain = append(binary.AppendVarint(plain, int64(len(b))), b...)
	}
	block, err := batch.Compress(k.codec, plain)
	if err != nil {
		t.Fatal(err)
	}
	rb.Records = block
	rb.Length = int32(batch.HeaderBytes - 12 + len(block))
	b := rb.AppendTo(nil)
	batch.SetCreateTime(b, rb.MaxTimestamp)
	return b
}

// read is a record as a committed reader has it.
type readRecord struct {
	kv
	offset int64
}

// follow reads as a client does that only sees what is committed: from an
// offset to the last stable offset.
func follow(t testing.TB, l *Log, tp TopicPartition, from int64) (out []readRecord, position int64) {
	t.Helper()
	for {
		f := l.Read(Read{TopicPartition: tp, Offset: from, MaxBytes: 500, Committed: true, AtLeastOne: true}, nil)
		if f.Err != nil {
			t.Fatalf("read %v at %d: %v", tp, from, f.Err)
		}
		if from >= f.LastStable {
			return out, from
		}
		if len(f.Batches) == 0 {
			t.Fatalf("a reader at %d does not get to the end at %d", from, f.LastStable)
		}
		skip := map[int64]bool{}
		for b := f.Batches; len(b) > 0; {
			h, err := batch.Intact(b[:min(len(b), 12+int(binary.BigEndian.Uint32(b[8:])))])
			if err != nil {
				t.Fatal(err)
			}
			one := b[:h.Size()]
			b = b[h.Size():]
			for i, a := range f.Aborted {
				if a.ProducerID == h.ProducerID && a.FirstOffset <= h.Last() {
					skip[h.ProducerID] = true
					f.Aborted[i].ProducerID = -1
				}
			}
			if h.Control() {
				if commits, err := batch.MarkerCommits(one); err != nil {
					t.Fatal(err)
				} else if !commits {
					delete(skip, h.ProducerID)
				}
			}
			for r, err := range batch.Records(one, 1<<20) {
				if err != nil {
					t.Fatal(err)
				}
				if r.Offset < from || h.Control() || h.Transactional() && skip[h.ProducerID] {
					continue
				}
				out = append(out, readRecord{kv{string(r.Key), string(r.Value), r.Timestamp}, r.Offset})
			}
			from = max(from, h.Next())
		}
	}
}

// latest is what a table holds that a reader makes of records.
func latest(table map[string]string, records []readRecord) map[string]string {
	table = maps.Clone(table)
	if table == nil {
		table = map[string]string{}
	}
	for _, r := range records {
		switch {
		case r.key == "":
		case r.value == "":
			delete(table, r.key)
		default:
			table[r.key] = r.value
		}
	}
	return table
}

func shown(records []readRecord) string {
	var out []string
	for _, r := range records {
		out = append(out, fmt.Sprintf("%d:%s=%s", r.offset, r.key, r.value))
	}
	return strings.Join(out, " ")
}

func mustKeepUp(t testing.TB, l *Log) {
	t.Helper()
	if err := l.keepUp(l.now()); err != nil {
		t.Fatal(err)
	}
}

func countBatches(t testing.TB, l *Log, tp TopicPartition) (n int) {
	t.Helper()
	uid := l.directory.Load().partition(tp).uid
	err := l.engine.view(func(db *pebble.DB) error {
		return eachBatch(db, uid, 0, 1<<62, func(int64, []byte) (bool, error) { n++; return true, nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func put(t testing.TB, l *Log, tp TopicPartition, k keyed, txnID string, records ...kv) int64 {
	t.Helper()
	if k.ms == 0 {
		k.ms = l.now()
	}
	r := appendAll(l, Append{TopicPartition: tp, Batch: k.bytes(t, records...), TxnID: txnID, Implicit: true})[0]
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Base
}

func TestCompactionKeepsTheNewestRecordOfEachKey(t *testing.T) {
	for _, codec := range []batch.Codec{batch.None, batch.Gzip, batch.Snappy, batch.LZ4, batch.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			l := openMem(t)
			tp := at("t", 0)
			mustCreate(t, l, "t", 1, "cleanup.policy", "compact")
			k := keyed{codec: codec}
			put(t, l, tp, k, "", kv{key: "a", value: "1"}, kv{key: "b", value: "1"}, kv{key: "c", value: "1"})
			put(t, l, tp, k, "", kv{key: "a", value: "2"})
			put(t, l, tp, k, "", kv{key: "a", value: "3"}, kv{key: "c", value: "2"})
			mustKeepUp(t, l)
			got, end := follow(t, l, tp, 0)
			if want := "1:b=1 4:a=3 5:c=2"; shown(got) != want || end != 6 {
				t.Errorf("got %s up to %d, want %s up to 6", shown(got), end, want)
			}
			if n := countBatches(t, l, tp); n != 2 {
				t.Errorf("%d batches are left, want 2", n)
			}
			mustVerify(t, l)
		})
	}
}

func TestCompactionNeverPassesItsBounds(t *testing.T) {
	const topic = "t"
	tp := at(topic, 0)
	for _, tc := range []struct {
		name    string
		configs []string
		floor   int64
		before  func(t *testing.T, l *Log, c *clock)
		want    string
	}{
		{"last stable offset", nil, -1, func(t *testing.T, l *Log, c *clock) {
			id, epoch, err := l.InitProducer(ctx, "x", time.Minute, -1, -1)
			if err != nil {
				t.Fatal(err)
			}
			put(t, l, tp, keyed{id: id, epoch: epoch, txn: true}, "x", kv{key: "z", value: "1"})
			put(t, l, tp, keyed{}, "", kv{key: "a", value: "3"})
		}, "1:a=2"},
		{"floor", nil, 1, func(t *testing.T, l *Log, c *clock) {}, "0:a=1 1:a=2"},
		{"lag", []string{"min.compaction.lag.ms", "1000"}, -1, func(t *testing.T, l *Log, c *clock) {
			c.move(time.Second)
			put(t, l, tp, keyed{}, "", kv{key: "a", value: "3"})
			put(t, l, tp, keyed{}, "", kv{key: "a", value: "4"})
		}, "1:a=2 2:a=3 3:a=4"},
		{"ratio", []string{"min.cleanable.dirty.ratio", "0.9"}, -1, func(t *testing.T, l *Log, c *clock) {
			mustKeepUp(t, l)
			put(t, l, tp, keyed{}, "", kv{key: "a", value: "3"})
		}, "1:a=2 2:a=3"},
		{"ratio, but too long ago", []string{"min.cleanable.dirty.ratio", "0.9", "max.compaction.lag.ms", "1000"}, -1, func(t *testing.T, l *Log, c *clock) {
			mustKeepUp(t, l)
			put(t, l, tp, keyed{}, "", kv{key: "a", value: "3"})
			c.move(2 * time.Second)
		}, "2:a=3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClock()
			o := c.options(vfs.NewMem())
			o.Floor = func(string, int32) (int64, bool) { return tc.floor, tc.floor >= 0 }
			l := open(t, o)
			defer l.Close()
			mustCreate(t, l, topic, 1, append([]string{"cleanup.policy", "compact"}, tc.configs...)...)
			put(t, l, tp, keyed{}, "", kv{key: "a", value: "1"})
			put(t, l, tp, keyed{}, "", kv{key: "a", value: "2"})
			tc.before(t, l, c)
			mustKeepUp(t, l)
			if got, _ := follow(t, l, tp, 0); shown(got) != tc.want {
				t.Errorf("got %s, want %s", shown(got), tc.want)
			}
			mustVerify(t, l)
		})
	}
}

func TestTombstonesStayForTheirRetention(t *testing.T) {
	c := newClock()
	l := open(t, c.options(vfs.NewMem()))
	defer l.Close()
	tp := at("t", 0)
	mustCreate(t, l, "t", 1, "cleanup.policy", "compact", "delete.retention.ms", "1000")
	put(t, l, tp, keyed{}, "", kv{key: "a", value: "1", ms: c.ms.Load() + 7}, kv{key: "b", value: "1"})
	put(t, l, tp, keyed{}, "", kv{key: "a"}, kv{key: "c", value: "1", ms: c.ms.Load() + 3})
	put(t, l, tp, keyed{}, "", kv{key: "d", value: "1"})
	times := c.ms.Load()
	want := func(when, s string) {
		t.Helper()
		mustKeepUp(t, l)
		got, _ := follow(t, l, tp, 0)
		if shown(got) != s {
			t.Errorf("%s: got %s, want %s", when, shown(got), s)
		}
		for _, r := range got {
			if r.key == "c" && r.ms != times+3 {
				t.Errorf("%s: time %d, was %d", when, r.ms, times+3)
			}
		}
		mustVerify(t, l)
	}
	c.move(time.Hour)
	want("first pass", "1:b=1 2:a= 3:c=1 4:d=1")
	c.move(999 * time.Millisecond)
	want("before the horizon", "1:b=1 2:a= 3:c=1 4:d=1")
	c.move(time.Millisecond)
	want("at the horizon", "1:b=1 3:c=1 4:d=1")
}

func TestAbortedRecordsAndIdleMarkersAreRemoved(t *testing.T) {
	c := newClock()
	l := open(t, c.options(vfs.NewMem()))
	defer l.Close()
	tp := at("t", 0)
	mustCreate(t, l, "t", 1, "cleanup.policy", "compact", "delete.retention.ms", "1000")
	id, epoch, err := l.InitProducer(ctx, "x", time.Minute, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	end := func(commit bool) {
		t.Helper()
		if _, _, err := l.EndTxn(ctx, "x", id, epoch, commit, false); err != nil {
			t.Fatal(err)
		}
	}
	k := keyed{id: id, epoch: epoch, txn: true}
	put(t, l, tp, keyed{}, "", kv{key: "a", value: "kept"})
	put(t, l, tp, k, "x", kv{key: "a", value: "aborted"})
	end(false) // 2
	k.seq = 1
	put(t, l, tp, k, "x", kv{key: "b", value: "old"})
	end(true) // 4
	k.seq = 2
	put(t, l, tp, k, "x", kv{key: "b", value: "new"})
	end(true) // 6
	put(t, l, tp, keyed{}, "", kv{key: "z", value: "1"})
	for _, want := range []struct {
		after   time.Duration
		batches int
	}{{0, 1 + 1 + 1 + 1 + 1 + 1}, {999 * time.Millisecond, 6}, {time.Millisecond, 4}} {
		c.move(want.after)
		mustKeepUp(t, l)
		got, _ := follow(t, l, tp, 0)
		if s := "0:a=kept 5:b=new 7:z=1"; shown(got) != s {
			t.Errorf("got %s, want %s", shown(got), s)
		}
		if n := countBatches(t, l, tp); n != want.batches {
			t.Errorf("%d batches after %v, want %d", n, want.after, want.batches)
		}
		mustVerify(t, l)
	}
}

// TestCompactionIsInvisibleToTables lets random producers, with and without
// transactions, write to compacted topics. Whatever compaction removes, a reader
// from the start and readers that are somewhere in the middle end with the table
// that all records give.
func TestCompactionIsInvisibleToTables(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { newTables(t, seed).run(t) })
	}
}

// tables is the state of such a run.
type tables struct {
	rng     *rand.Rand
	c       *clock
	l       *Log
	tp      TopicPartition
	all     map[int64]kv // every record that was committed
	order   []int64
	writers []*tableWriter
	readers []*tableReader
	removed bool
}

type tableWriter struct {
	txn     string
	id      int64
	epoch   int16
	seq     int32
	pending map[int64]kv
}

type tableReader struct {
	table    map[string]string
	position int64
	since    int64 // ms
}

const tableRetention = 5000 // ms, of tombstones

func newTables(t *testing.T, seed uint64) *tables {
	w := &tables{rng: rand.New(rand.NewPCG(seed, 1)), c: newClock(), tp: at("t", 0), all: map[int64]kv{}}
	o := w.c.options(vfs.NewMem())
	o.MaxTransactionTimeout = 1000 * time.Hour
	w.l = open(t, o)
	w.l.upkeep.maxKeys = 1 + w.rng.IntN(40)
	configs := []string{"cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0", "delete.retention.ms", fmt.Sprint(tableRetention)}
	if w.rng.IntN(3) == 0 {
		configs = append(configs, "min.compaction.lag.ms", "2000")
	}
	mustCreate(t, w.l, "t", 1, configs...)
	for i := range 4 {
		tw := &tableWriter{pending: map[int64]kv{}}
		if i > 0 {
			tw.txn = fmt.Sprint("x", i)
		}
		var err error
		if tw.id, tw.epoch, err = w.l.InitProducer(ctx, tw.txn, 999*time.Hour, -1, -1); err != nil {
			t.Fatal(err)
		}
		w.writers = append(w.writers, tw)
	}
	return w
}

func (w *tables) run(t *testing.T) {
	defer w.l.Close()
	for range 250 {
		w.c.move(time.Duration(w.rng.IntN(300)) * time.Millisecond)
		tw := w.writers[w.rng.IntN(len(w.writers))]
		switch n := w.rng.IntN(20); {
		case n < 12:
			w.write(t, tw)
		case n < 16 && tw.txn != "" && len(tw.pending) > 0:
			w.end(t, tw, w.rng.IntN(3) > 0)
		case n < 18:
			mustKeepUp(t, w.l)
			w.check(t)
		case n < 19:
			w.read(t)
		}
	}
	for _, tw := range w.writers {
		if len(tw.pending) > 0 {
			w.end(t, tw, false)
		}
	}
	for range 3 {
		mustKeepUp(t, w.l)
		w.check(t)
		w.c.move(2 * tableRetention * time.Millisecond)
	}
	if !w.removed {
		t.Error("nothing was compacted: nothing is shown")
	}
}

func (w *tables) write(t *testing.T, tw *tableWriter) {
	var records []kv
	for range 1 + w.rng.IntN(6) {
		r := kv{key: fmt.Sprint("k", w.rng.IntN(20)), ms: w.l.now() + int64(w.rng.IntN(50))}
		if w.rng.IntN(4) > 0 {
			r.value = fmt.Sprint(w.rng.IntN(1000)) + strings.Repeat("x", w.rng.IntN(200))
		}
		records = append(records, r)
	}
	k := keyed{codec: batch.Codec(w.rng.IntN(5)), id: tw.id, epoch: tw.epoch, seq: tw.seq, txn: tw.txn != ""}
	base := put(t, w.l, w.tp, k, tw.txn, records...)
	tw.seq += int32(len(records))
	for i, r := range records {
		tw.pending[base+int64(i)] = r
	}
	if tw.txn == "" {
		w.commit(tw)
	}
}

func (w *tables) commit(tw *tableWriter) {
	maps.Copy(w.all, tw.pending)
	w.order = slices.Sorted(maps.Keys(w.all))
	clear(tw.pending)
}

func (w *tables) end(t *testing.T, tw *tableWriter, commit bool) {
	if _, _, err := w.l.EndTxn(ctx, tw.txn, tw.id, tw.epoch, commit, false); err != nil {
		t.Fatal(err)
	}
	if commit {
		w.commit(tw)
	}
	clear(tw.pending)
}

// read begins a reader that stops somewhere.
func (w *tables) read(t *testing.T) {
	got, end := follow(t, w.l, w.tp, 0)
	if len(got) == 0 {
		return
	}
	n := w.rng.IntN(len(got))
	if end = got[n].offset; n > 0 {
		end = got[n-1].offset + 1
	}
	w.readers = append(w.readers, &tableReader{table: latest(nil, got[:n]), position: end, since: w.l.now()})
}

func (w *tables) check(t *testing.T) {
	t.Helper()
	_, stable, _, err := w.l.Offsets(w.tp)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	n := 0
	for _, o := range w.order {
		if o < stable {
			n++
			want = latest(want, []readRecord{{w.all[o], o}})
		}
	}
	got, end := follow(t, w.l, w.tp, 0)
	if end < stable {
		t.Fatalf("reader stops at %d of %d", end, stable)
	}
	if table := latest(nil, got); !maps.Equal(table, want) {
		t.Fatalf("table %v\nwant %v\nfrom %s", table, want, shown(got))
	}
	for _, r := range got {
		if r.kv != w.all[r.offset] {
			t.Fatalf("offset %d has %+v, was %+v", r.offset, r.kv, w.all[r.offset])
		}
	}
	w.removed = w.removed || len(got) < n
	for _, r := range w.readers {
		if w.l.now()-r.since >= tableRetention {
			continue // too slow to see all tombstones
		}
		rest, _ := follow(t, w.l, w.tp, r.position)
		if table := latest(r.table, rest); !maps.Equal(table, want) {
			t.Fatalf("reader from %d: table %v\nwant %v", r.position, table, want)
		}
	}
	mustVerify(t, w.l)
}

// TestATombstoneGetsItsTimeWhenWhatItDeletesIsGone lets a pass end in the middle
// of a batch, which the next one finishes much later.
func TestATombstoneGetsItsTimeWhenWhatItDeletesIsGone(t *testing.T) {
	c := newClock()
	l := open(t, c.options(vfs.NewMem()))
	defer l.Close()
	l.upkeep.maxKeys = 1
	tp := at("t", 0)
	mustCreate(t, l, "t", 1, "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0", "delete.retention.ms", "1000")
	put(t, l, tp, keyed{}, "", kv{key: "b", value: "1"})
	put(t, l, tp, keyed{}, "", kv{key: "a"}, kv{key: "b"})
	put(t, l, tp, keyed{}, "", kv{key: "c", value: "1"})
	p := l.directory.Load().partition(tp)
	for _, until := range []int64{1, 2, 3} {
		s, needed, err := l.planPass(p, p.conf.Load(), l.now())
		if err != nil || !needed {
			t.Fatalf("needed %t, %v", needed, err)
		}
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		if s.until != until {
			t.Fatalf("pass up to %d, want %d", s.until, until)
		}
		if until == 2 {
			c.move(time.Hour)
		}
	}
	if got, _ := follow(t, l, tp, 0); shown(got) != "1:a= 2:b= 3:c=1" {
		t.Errorf("got %s, want both tombstones: a reader may still have b", shown(got))
	}
	c.move(time.Second)
	mustKeepUp(t, l)
	if got, _ := follow(t, l, tp, 0); shown(got) != "3:c=1" {
		t.Errorf("got %s, want no tombstone after their retention", shown(got))
	}
}
