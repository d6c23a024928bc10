package mqtt

import "testing"

// The queue behaves as a list of entries that only leave from the front.
func TestInflightKeepsOrderWhileItGrowsAndWraps(t *testing.T) {
	var q inflight
	next, first := uint16(0), uint16(0)
	for round := range 100 {
		for range round%7 + 1 {
			if seq := q.push(entry{id: next}); seq != uint64(next) {
				t.Fatalf("sequence %d, want %d", seq, next)
			}
			next++
		}
		if _, ok := q.pop(); ok {
			t.Fatal("an entry that waits has left")
		}
		for range round % 5 {
			if first == next {
				break
			}
			q.at(uint64(first)).done = true
			e, ok := q.pop()
			if !ok || e.id != first {
				t.Fatalf("popped %d, %v, want %d", e.id, ok, first)
			}
			if q.at(uint64(first)) != nil {
				t.Fatal("what has left can be found")
			}
			first++
		}
		if q.n != int(next-first) {
			t.Fatalf("%d entries, want %d", q.n, next-first)
		}
	}
	if q.at(uint64(next)) != nil {
		t.Error("what has not come can be found")
	}
	q.shrink()
	if q.ring == nil {
		t.Error("a queue in use has lost its memory")
	}
	for ; first < next; first++ {
		q.at(uint64(first)).done = true
		q.pop()
	}
	if q.shrink(); q.ring != nil {
		t.Error("an empty queue keeps its memory")
	}
	if seq := q.push(entry{}); seq != uint64(next) {
		t.Errorf("sequence %d after shrinking, want %d", seq, next)
	}
}
