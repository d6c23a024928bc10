package broker

import (
	"math/bits"
	"sync"
)

// Buffers are kept in classes of a power of two, from 1<<minClass bytes to
// 1<<maxClass; larger ones are left to the garbage collector, so that a rare
// huge request does not stay in memory.
const (
	minClass = 14
	maxClass = 22
)

// buffers are used again.
type buffers struct {
	classes [maxClass - minClass + 1]sync.Pool
}

// get returns an empty buffer with room for at least n bytes.
func (b *buffers) get(n int) []byte {
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		return make([]byte, 0, n)
	}
	if p, ok := b.classes[class-minClass].Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// put takes back a buffer of get's. Nobody may use it any more.
func (b *buffers) put(buf []byte) {
	class := bits.Len(uint(cap(buf))) - 1
	if class < minClass || class > maxClass || cap(buf) != 1<<class {
		return
	}
	buf = buf[:0]
	b.classes[class-minClass].Put(&buf)
}
