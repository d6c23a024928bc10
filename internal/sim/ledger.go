package sim

import "sync"

// ledger is what the senders know of their messages.
type ledger struct {
	mu      sync.Mutex // guards the following
	entries map[message]*entry
	patches map[message]*patchEntry
}

// message names one message: who sent it and its number, which is never used
// twice. Patches have numbers of their own.
type message struct {
	sender string
	seq    int64
}

// entry counts how often a message was handed to a connection; each of those
// may have reached the log. A message that was sent once and acknowledged is
// there exactly once.
type entry struct {
	sent  int
	acked bool
}

// patchEntry is the same for a reported patch, with the version that the hub
// answered.
type patchEntry struct {
	entry
	version int64
}

func newLedger() *ledger {
	return &ledger{entries: map[message]*entry{}, patches: map[message]*patchEntry{}}
}

func (l *ledger) sent(m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[m]
	if e == nil {
		e = &entry{}
		l.entries[m] = e
	}
	e.sent++
}

func (l *ledger) acked(m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[m].acked = true
}

func (l *ledger) patchSent(m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.patches[m]
	if p == nil {
		p = &patchEntry{}
		l.patches[m] = p
	}
	p.sent++
}

func (l *ledger) patchAcked(m message, version int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.patches[m]
	p.acked, p.version = true, version
}

// totals counts messages, acknowledged ones and repeated sends.
func (l *ledger) totals() (messages, acked, resent int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		messages++
		resent += e.sent - 1
		if e.acked {
			acked++
		}
	}
	return messages, acked, resent
}
