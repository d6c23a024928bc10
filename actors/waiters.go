package actors

import (
	"strconv"
	"strings"
	"sync"

	"github.com/gemello/gemello/actors/partition"
)

// waiters are the requests whose control record is in the log and whose answer
// comes when a core has applied it. The number is bounded by maxWaiters; a
// request that is given up on is forgotten by its owner.
type waiters struct {
	prefix string // node name and start, so that an answer to an earlier life finds nobody

	mu   sync.Mutex // guards the following; callbacks run outside
	next uint64
	open map[uint64]func(partition.Reply)
}

const maxWaiters = 100_000

func newWaiters(prefix string) *waiters {
	return &waiters{prefix: prefix + "/", open: map[uint64]func(partition.Reply){}}
}

// add registers done and returns the request's name, or ErrBusy. done runs at
// most once, from the core's goroutine.
func (w *waiters) add(done func(partition.Reply)) (request string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.open) >= maxWaiters {
		return "", ErrBusy
	}
	w.next++
	w.open[w.next] = done
	return w.prefix + strconv.FormatUint(w.next, 10), nil
}

// take removes a request and returns its callback, or nil when it is not of
// this node's life or was answered already.
func (w *waiters) take(request string) func(partition.Reply) {
	seq, ok := strings.CutPrefix(request, w.prefix)
	if !ok {
		return nil
	}
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	done := w.open[n]
	delete(w.open, n)
	return done
}

// answer hands replies to those who wait for them.
func (w *waiters) answer(replies []partition.Reply) {
	for i := range replies {
		if done := w.take(replies[i].Request); done != nil {
			done(replies[i])
		}
	}
}
