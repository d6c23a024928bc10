package mqtt

import "time"

// entry is one message that waits for the hub.
type entry struct {
	start time.Duration // server's clock when it came in
	id    uint16        // packet id, 0 for QoS 0
	code  byte          // reason code of the PUBACK, level 5
	dup   bool
	done  bool
}

// inflight is the queue of messages between the client's PUBLISH and our
// PUBACK, in the order of arrival. Its zero value is empty and holds no memory.
type inflight struct {
	ring []entry // length is a power of two
	base uint64  // sequence number of the oldest
	n    int
}

// push appends an entry and returns its sequence number.
func (q *inflight) push(e entry) uint64 {
	if q.n == len(q.ring) {
		ring := make([]entry, max(4, 2*len(q.ring)))
		for i := range q.n {
			ring[(q.base+uint64(i))&uint64(len(ring)-1)] = *q.at(q.base + uint64(i))
		}
		q.ring = ring
	}
	seq := q.base + uint64(q.n)
	q.ring[seq&uint64(len(q.ring)-1)] = e
	q.n++
	return seq
}

// at gives the entry with the sequence number, nil when it has left.
func (q *inflight) at(seq uint64) *entry {
	if seq < q.base || seq >= q.base+uint64(q.n) {
		return nil
	}
	return &q.ring[seq&uint64(len(q.ring)-1)]
}

// pop removes the oldest entry if it is done.
func (q *inflight) pop() (entry, bool) {
	if q.n == 0 {
		return entry{}, false
	}
	e := *q.at(q.base)
	if !e.done {
		return entry{}, false
	}
	q.base++
	q.n--
	return e, true
}

// shrink frees the memory of an empty queue.
func (q *inflight) shrink() {
	if q.n == 0 && len(q.ring) > 4 {
		q.ring = nil
	}
}
