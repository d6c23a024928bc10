package storage

import (
	"errors"
	"sync"
)

// ErrClosed is the answer to requests after Close.
var ErrClosed = errors.New("the log is closed")

// Bounds of what waits for the sequencer. Who would pass them waits.
const (
	maxQueuedBytes = 64 << 20
	maxQueued      = 64 << 10
	opBytes        = 256 // what a request counts besides its data
)

// op is a request to the sequencer.
type op struct {
	// run changes the state and the build, or returns an error and changes
	// nothing. It is called by the sequencer.
	run func(*build) error
	// done is called once, after what run did is durable, with the error of run
	// or KAFKA_STORAGE_ERROR. It must not block.
	done func(error)
	// writes tells that run may change something, grows that it needs room on the
	// disk that can wait for better times.
	writes, grows bool
	bytes         int
	err           error
}

// queue holds requests in the order of their arrival.
type queue struct {
	mu     sync.Mutex // guards the following
	room   sync.Cond
	ops    []*op
	bytes  int
	closed bool

	ready chan struct{} // holds a token when something was put in
}

func newQueue() *queue {
	q := &queue{ready: make(chan struct{}, 1)}
	q.room.L = &q.mu
	return q
}

// put waits for room. It returns false when the queue is closed.
func (q *queue) put(o *op) bool {
	o.bytes += opBytes
	q.mu.Lock()
	for !q.closed && len(q.ops) > 0 && (q.bytes+o.bytes > maxQueuedBytes || len(q.ops) >= maxQueued) {
		q.room.Wait()
	}
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.ops = append(q.ops, o)
	q.bytes += o.bytes
	q.mu.Unlock()
	q.signal()
	return true
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take appends to dst the requests at the front that have up to max bytes
// together, at least one if there is any. done tells that none is left and none
// will come.
func (q *queue) take(dst []*op, max int) (ops []*op, done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.ops) && (n == 0 || q.ops[n].bytes <= max) {
		max -= q.ops[n].bytes
		q.bytes -= q.ops[n].bytes
		dst = append(dst, q.ops[n])
		n++
	}
	if n > 0 {
		rest := copy(q.ops, q.ops[n:])
		clear(q.ops[rest:])
		q.ops = q.ops[:rest]
		q.room.Broadcast()
	}
	return dst, q.closed && len(q.ops) == 0
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.room.Broadcast()
	q.mu.Unlock()
	q.signal()
}
