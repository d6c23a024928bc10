package storage

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/persistence/broker/batch"
)

// pageExamples returns the worked examples of docs/format/log.md by name: lines
// of hex with comments.
func pageExamples(t testing.TB) map[string][]byte {
	t.Helper()
	page, err := os.ReadFile("../../../docs/format/log.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, m := range regexp.MustCompile("(?s)```hex ([a-z ]+)\n(.*?)```").FindAllSubmatch(page, -1) {
		text := regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(string(m[2]), "")
		b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			t.Fatalf("example %s: %v", m[1], err)
		}
		out[string(m[1])] = b
	}
	return out
}

// formats has an example of each stored value, and of each key that is not a tag
// and a text.
func formats() []format {
	id := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	tp := TopicPartition{"t", 1}
	c := counters{cluster: id, uid: 3, producer: 8, sequence: 5}
	topic := topicValue{id: id, uids: []uint32{1, 2}, configs: map[string]string{"retention.ms": "1000"}}
	part := partitionValue{start: 2, next: 9, bytes: 500, open: mark{first: 5, next: 9, maxTime: 1000, bytes: 300}}
	prod := producerValue{epoch: 1, txnStart: 5, lastTime: 1000, seen: 1001, window: []sequenced{{first: 3, last: 4, base: 5, time: 1000}}}
	tx := txnValue{producer: 7, epoch: 1, lastProducer: -1, lastEpoch: 0, state: txnOngoing, timeout: 60000, started: 1000, updated: 1001, partitions: []uint32{2}, groups: []string{"g"}}
	off := offsetValue{offset: 5, leaderEpoch: -1, sequence: 4, time: 1000, metadata: "m"}
	comp := compactState{clean: 8, due: 2000}
	m := mark{first: 2, next: 5, maxTime: 900, bytes: 200}
	ab := abortedValue{producer: 7, first: 5, stable: 8}
	return []format{
		{"counters", c.encode(), c, func(b []byte) (any, error) { return decodeCounters(b) }},
		{"topic", topic.encode(), topic, func(b []byte) (any, error) { return decodeTopic(b) }},
		{"partition", part.append(nil), part, func(b []byte) (any, error) { return decodePartition(b) }},
		{"producer", prod.append(nil), prod, func(b []byte) (any, error) { return decodeProducer(b) }},
		{"transaction", tx.encode(), tx, func(b []byte) (any, error) { return decodeTxn(b) }},
		{"offset", off.encode(), off, func(b []byte) (any, error) { return decodeOffset(b) }},
		{"compaction", comp.encode(), comp, func(b []byte) (any, error) { return decodeCompact(b) }},
		{"mark", m.encode(), m, func(b []byte) (any, error) { return decodeMark(2, b) }},
		{"aborted", ab.encode(), ab, func(b []byte) (any, error) { return decodeAborted(b) }},
		{"key of a batch", keyBatch(2, 5), [2]int64{2, 5}, func(b []byte) (any, error) {
			uid, n, err := splitNumbered(b)
			return [2]int64{int64(uid), n}, err
		}},
		{"key of an offset", keyOffset("g", tp), []any{"g", tp}, func(b []byte) (any, error) {
			group, tp, err := splitOffset(b)
			return []any{group, tp}, err
		}},
		{"key of a pending offset", keyPending("x", "g", tp), []any{"x", "g", tp}, func(b []byte) (any, error) {
			txn, group, tp, err := splitPending(b)
			return []any{txn, group, tp}, err
		}},
	}
}

type format struct {
	name   string
	bytes  []byte
	value  any
	decode func([]byte) (any, error)
}

func TestFormatPageIsWhatTheCodeWrites(t *testing.T) {
	examples := pageExamples(t)
	for _, f := range formats() {
		t.Run(f.name, func(t *testing.T) {
			example := examples[f.name]
			delete(examples, f.name)
			if !bytes.Equal(example, f.bytes) {
				t.Errorf("the page has %x\nthe code writes %x", example, f.bytes)
			}
			got, err := f.decode(f.bytes)
			if err != nil || !reflect.DeepEqual(got, f.value) {
				t.Errorf("decoded %+v, %v; want %+v", got, err, f.value)
			}
			if strings.HasPrefix(f.name, "key ") {
				return
			}
			for n := range f.bytes {
				if _, err := f.decode(f.bytes[:n]); err == nil {
					t.Errorf("%d of %d bytes are accepted", n, len(f.bytes))
				}
			}
			if _, err := f.decode(append(slices.Clone(f.bytes), 0)); err == nil {
				t.Error("a byte too many is accepted")
			}
			other := slices.Clone(f.bytes)
			other[0] = 2
			if _, err := f.decode(other); err == nil {
				t.Error("another version is accepted")
			}
		})
	}
	for _, b := range []struct {
		name string
		want []byte
	}{
		{"batch", keyed{id: 7, epoch: 1, seq: 3, txn: true, ms: 1000}.bytes(t, kv{key: "k", value: "v"}, kv{key: "k"})},
		{"marker", batch.Marker(7, 1, true, 1000)},
		{"empty batch", batch.Empty(5, 3, 1000)},
	} {
		want := slices.Clone(b.want)
		if b.name != "empty batch" {
			batch.SetBase(want, 5)
		}
		batch.SetLeaderEpoch(want, 0)
		if !bytes.Equal(examples[b.name], want) {
			t.Errorf("%s: the page has %x\nthe code writes %x", b.name, examples[b.name], want)
		}
		if _, err := batch.Intact(want); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
		delete(examples, b.name)
	}
	for name := range examples {
		t.Errorf("the example %q is of nothing", name)
	}
}

func FuzzStoredValues(f *testing.F) {
	for _, x := range formats() {
		f.Add(x.bytes)
	}
	decoders := formats()
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range decoders {
			// Whatever is accepted has the one form that the code writes; what is
			// not is no panic.
			v, err := d.decode(b)
			if err != nil {
				continue
			}
			var again []byte
			switch v := v.(type) {
			case counters:
				again = v.encode()
			case partitionValue:
				again = v.append(nil)
			case producerValue:
				again = v.append(nil)
			case txnValue:
				again = v.encode()
			case offsetValue:
				again = v.encode()
			case compactState:
				again = v.encode()
			case mark:
				again = v.encode()
			case abortedValue:
				again = v.encode()
			default:
				continue // maps and keys of other tags have several forms
			}
			if !bytes.Equal(again, b) {
				t.Errorf("%s: %x decodes to %+v, which encodes to %x", d.name, b, v, again)
			}
		}
	})
}
