package actors

import (
	"sync"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

// Limits of a queue in bytes of keys and values. Pausing a partition throws
// away what the client has buffered for it, so the two are far apart.
const (
	queueHigh = 6 << 20
	queueLow  = 2 << 20
)

// queue carries batches from a feed to the host of one core. It holds at most
// queueHigh bytes and one fetch: above that the feed pauses the partition, and
// resumes it when the host has drained the queue to queueLow.
type queue struct {
	ready chan struct{} // holds one token while batches wait

	mu      sync.Mutex // guards the following; nothing is called while it is held
	batches []eventlog.Batch
	bytes   int
	paused  bool
	stable  int64     // newest last stable offset that the feed has seen
	asked   time.Time // when the log was last asked for it: all that was there by then lies below
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// push appends a batch and reports whether the partition must be paused now.
func (q *queue) push(b eventlog.Batch) (pause bool) {
	q.mu.Lock()
	q.batches = append(q.batches, b)
	q.bytes += size(&b)
	q.stable = max(q.stable, b.Stable)
	if q.bytes > queueHigh && !q.paused {
		q.paused, pause = true, true
	}
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return pause
}

// pop takes the oldest batch and reports whether the partition must be resumed.
func (q *queue) pop() (b eventlog.Batch, ok, resume bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) == 0 {
		return eventlog.Batch{}, false, false
	}
	b = q.batches[0]
	q.batches[0] = eventlog.Batch{}
	q.batches = q.batches[1:]
	q.bytes -= size(&b)
	if q.paused && q.bytes < queueLow {
		q.paused, resume = false, true
	}
	if len(q.batches) > 0 {
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
	return b, true, resume
}

// idleSince reports whether a core at position next has read all there was at a
// moment, and that moment: no batch waits, nothing is paused, and the position is
// the last stable offset as the log said it then. Before an answer that is newer
// than the silence there is no idleness: the log may be out of reach, or this
// process may have been frozen, while records came.
func (q *queue) idleSince(next int64) (time.Time, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.asked, len(q.batches) == 0 && !q.paused && next >= q.stable
}

// known notes the log's answer to a question for the last stable offset that was
// put at a moment.
func (q *queue) known(stable int64, asked time.Time) {
	q.mu.Lock()
	q.stable, q.asked = max(q.stable, stable), asked
	q.mu.Unlock()
}

// lag returns how many offsets lie between next and the last stable offset.
func (q *queue) lag(next int64) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(0, q.stable-next)
}

// recordOverhead is about what the client spends on a record beside its bytes.
const recordOverhead = 250

func size(b *eventlog.Batch) int {
	n := 64
	for _, r := range b.Records {
		n += len(r.Key) + len(r.Value) + recordOverhead
	}
	return n
}
