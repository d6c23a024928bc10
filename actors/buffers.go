package actors

import (
	"sync"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/persistence/eventlog"
)

// buffers lends the large buffers of commits to all cores of a node: only the
// commits that are under way hold one, and the collector takes back what a
// burst left behind.
type buffers struct {
	effectsPool, slabPool, headersPool sync.Pool
}

func (b *buffers) effects() *partition.Effects {
	if e, ok := b.effectsPool.Get().(*partition.Effects); ok {
		return e
	}
	return &partition.Effects{}
}

// giveEffects takes back effects that were committed.
func (b *buffers) giveEffects(e *partition.Effects) {
	e.Reset()
	b.effectsPool.Put(e)
}

// slab returns n records whose fields hold anything.
func (b *buffers) slab(n int) []eventlog.Record {
	if s, ok := b.slabPool.Get().(*[]eventlog.Record); ok && cap(*s) >= n {
		return (*s)[:n]
	}
	return make([]eventlog.Record, n, n+n/4)
}

// headers returns room for the headers of a slab's records.
func (b *buffers) headers() []eventlog.Header {
	if h, ok := b.headersPool.Get().(*[]eventlog.Header); ok {
		return *h
	}
	return nil
}

// giveSlab takes back a slab and its headers of which the log's client holds
// nothing any more.
func (b *buffers) giveSlab(s []eventlog.Record, h []eventlog.Header) {
	if s == nil {
		return
	}
	s = s[:cap(s)]
	for i := range s {
		s[i].Key, s[i].Value, s[i].Headers = nil, nil, nil
	}
	b.slabPool.Put(&s)
	if cap(h) > 0 {
		clear(h)
		h = h[:0]
		b.headersPool.Put(&h)
	}
}
