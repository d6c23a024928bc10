package storage

import (
	"bytes"
	"reflect"
	"testing"
)

func TestStoredFormsComeBack(t *testing.T) {
	for _, tt := range []struct {
		value  any
		bytes  []byte
		decode func([]byte) (any, error)
	}{
		{counters{[16]byte{1, 2}, 7, 8, 9}, counters{[16]byte{1, 2}, 7, 8, 9}.encode(), func(b []byte) (any, error) { return decodeCounters(b) }},
		{topicValue{[16]byte{5}, []uint32{1, 9}, map[string]string{"a": "b", "c": ""}}, topicValue{[16]byte{5}, []uint32{1, 9}, map[string]string{"c": "", "a": "b"}}.encode(), func(b []byte) (any, error) { return decodeTopic(b) }},
		{mark{3, 9, -1, 100}, mark{3, 9, -1, 100}.encode(), func(b []byte) (any, error) { return decodeMark(3, b) }},
		{partitionValue{1, 20, 300, mark{4, 20, 5, 6}}, partitionValue{1, 20, 300, mark{4, 20, 5, 6}}.append(nil), func(b []byte) (any, error) { return decodePartition(b) }},
		{producerValue{3, -1, 5, 6, []sequenced{{1, 2, 3, 4}, {5, 6, 7, 8}}}, producerValue{3, -1, 5, 6, []sequenced{{1, 2, 3, 4}, {5, 6, 7, 8}}}.append(nil), func(b []byte) (any, error) { return decodeProducer(b) }},
		{abortedValue{1, 2, 3}, abortedValue{1, 2, 3}.encode(), func(b []byte) (any, error) { return decodeAborted(b) }},
		{txnValue{1, 2, -1, -1, txnAborted, 5, 6, 7, []uint32{8}, []string{"g", ""}}, txnValue{1, 2, -1, -1, txnAborted, 5, 6, 7, []uint32{8}, []string{"g", ""}}.encode(), func(b []byte) (any, error) { return decodeTxn(b) }},
		{offsetValue{1, -1, 3, 4, "m"}, offsetValue{1, -1, 3, 4, "m"}.encode(), func(b []byte) (any, error) { return decodeOffset(b) }},
	} {
		got, err := tt.decode(tt.bytes)
		if err != nil || !reflect.DeepEqual(got, tt.value) {
			t.Errorf("%T: %+v, %v, want %+v", tt.value, got, err, tt.value)
		}
		for n := range tt.bytes {
			if _, err := tt.decode(tt.bytes[:n]); err == nil {
				t.Errorf("%T cut to %d of %d bytes is taken", tt.value, n, len(tt.bytes))
			}
		}
		if _, err := tt.decode(append(bytes.Clone(tt.bytes), 0)); err == nil {
			t.Errorf("%T with one byte more is taken", tt.value)
		}
		if _, err := tt.decode(append([]byte{2}, tt.bytes[1:]...)); err == nil {
			t.Errorf("%T of another version is taken", tt.value)
		}
	}
}

func TestKeysComeBackAndSortByNumber(t *testing.T) {
	tp := TopicPartition{"t", 5}
	if txn, g, got, err := splitPending(keyPending("x", "", tp)); txn != "x" || g != "" || got != tp || err != nil {
		t.Errorf("%q %q %v %v", txn, g, got, err)
	}
	if g, got, err := splitOffset(keyOffset("g", tp)); g != "g" || got != tp || err != nil {
		t.Errorf("%q %v %v", g, got, err)
	}
	var last []byte
	for _, uid := range []uint32{0, 1, 255, 256, 1 << 31} {
		for _, n := range []int64{0, 1, 255, 256, 1 << 62} {
			k := keyBatch(uid, n)
			if bytes.Compare(last, k) >= 0 {
				t.Errorf("%x does not come after %x", k, last)
			}
			if u, m, err := splitNumbered(k); u != uid || m != n || err != nil {
				t.Errorf("%d %d %v", u, m, err)
			}
			last = k
		}
	}
}

// FuzzStored decodes foreign bytes as each stored form. Whatever is taken must
// be written again as it was.
func FuzzStored(f *testing.F) {
	f.Add(producerValue{3, -1, 5, 6, []sequenced{{1, 2, 3, 4}}}.append(nil))
	f.Add(topicValue{[16]byte{5}, []uint32{1, 9}, map[string]string{"a": "b"}}.encode())
	f.Add(txnValue{1, 2, -1, -1, txnAborted, 5, 6, 7, []uint32{8}, []string{"g"}}.encode())
	f.Add(offsetValue{1, -1, 3, 4, "m"}.encode())
	f.Add(keyPending("x", "g", TopicPartition{"t", 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, err error, again []byte) {
			if err == nil && !bytes.Equal(again, b) {
				t.Fatalf("%s: %x becomes %x", what, b, again)
			}
		}
		c, err := decodeCounters(b)
		same("counters", err, c.encode())
		m, err := decodeMark(0, b)
		same("mark", err, m.encode())
		p, err := decodePartition(b)
		same("partition", err, p.append(nil))
		pr, err := decodeProducer(b)
		same("producer", err, pr.append(nil))
		a, err := decodeAborted(b)
		same("aborted", err, a.encode())
		x, err := decodeTxn(b)
		same("transaction", err, x.encode())
		o, err := decodeOffset(b)
		same("offset", err, o.encode())
		// A topic's configurations may come in another order.
		if tv, err := decodeTopic(b); err == nil {
			if again, err := decodeTopic(tv.encode()); err != nil || !reflect.DeepEqual(again, tv) {
				t.Fatalf("topic: %+v becomes %+v, %v", tv, again, err)
			}
		}
		if len(b) > 0 {
			if txn, g, tp, err := splitPending(b); err == nil {
				k := keyPending(txn, g, tp)
				k[0] = b[0]
				same("pending key", nil, k)
			}
			if g, tp, err := splitOffset(b); err == nil {
				k := keyOffset(g, tp)
				k[0] = b[0]
				same("offset key", nil, k)
			}
		}
		// Errors are all that a wrong key may give.
		_, _, _ = splitNumbered(b)
	})
}
