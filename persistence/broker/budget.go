package broker

import (
	"context"
	"sync"
)

// budget bounds bytes that many share. One lease at a time may go beyond it, so
// that leases which have taken a part and wait for more don't wait for each
// other for ever.
type budget struct {
	mu      sync.Mutex // guards what follows
	free    int64
	over    *lease        // the one that may go beyond
	changed chan struct{} // closed and replaced when something comes back
}

func newBudget(n int64) *budget {
	return &budget{free: n, changed: make(chan struct{})}
}

// lease is a part of a budget. It belongs to one goroutine at a time.
type lease struct {
	budget *budget
	n      int64
}

// try takes n more bytes if it can at once.
func (l *lease) try(n int64) bool {
	b := l.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	return l.tryLocked(n)
}

// tryLocked needs l.budget.mu.
func (l *lease) tryLocked(n int64) bool {
	b := l.budget
	if b.free < n {
		if b.over != nil && b.over != l {
			return false
		}
		b.over = l
	}
	b.free -= n
	l.n += n
	return true
}

// take takes n more bytes, and waits for them as long as ctx allows.
func (l *lease) take(ctx context.Context, n int64) error {
	b := l.budget
	for {
		b.mu.Lock()
		ok, changed := l.tryLocked(n), b.changed
		b.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// upTo takes as much as is free, at most n bytes; it never goes beyond the
// budget.
func (l *lease) upTo(n int64) int64 {
	b := l.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	n = max(0, min(n, b.free))
	b.free -= n
	l.n += n
	return n
}

// settle makes the lease n bytes, whether there is room for them or not: they
// are in memory already.
func (l *lease) settle(n int64) {
	b := l.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += l.n - n
	less := n < l.n
	l.n = n
	if b.over == l && (b.free >= 0 || n == 0) {
		b.over = nil
	}
	if less {
		close(b.changed)
		b.changed = make(chan struct{})
	}
}

// release gives everything back.
func (l *lease) release() { l.settle(0) }
