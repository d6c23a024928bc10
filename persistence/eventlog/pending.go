package eventlog

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// pending counts down the records of one commit. One promise serves them all.
type pending struct {
	bad  atomic.Bool
	done chan struct{} // closed when none is left

	mu   sync.Mutex // guards what follows; taken once a record
	left int
	err  error
}

func (p *pending) promise(r *Record, err error) {
	p.mu.Lock()
	if err != nil {
		p.err = worse(p.err, sinkError(r.Topic, err))
		p.bad.Store(true)
	}
	p.left--
	if p.left == 0 {
		close(p.done)
	}
	p.mu.Unlock()
}

// failed reports whether any record has failed so far.
func (p *pending) failed() bool { return p.bad.Load() }

// worst returns the error that says most of those so far.
func (p *pending) worst() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// worse picks the error that says most: one record's refusal makes the client
// fail all others of the transaction for a reason that only repeats it.
func worse(a, b error) error {
	if a == nil || (rank(b) > rank(a)) {
		return b
	}
	return a
}

func rank(err error) int {
	switch {
	case fenced(err):
		return 3
	case Classify(err) == Fatal:
		return 2
	case errors.Is(err, kgo.ErrAborting), errors.Is(err, kgo.ErrClientClosed):
		return 0
	}
	return 1
}

// closedError gives the client's word for being closed our name.
func closedError(err error) error {
	if errors.Is(err, kgo.ErrClientClosed) {
		return ErrClosed
	}
	return err
}
