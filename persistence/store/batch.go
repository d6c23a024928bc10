package store

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
)

// Batch collects changes for one Flush, in memory. Later changes win over
// earlier ones, as if each had been applied in turn. The zero Batch is empty
// and ready. It copies what it is given, and is not safe for concurrent use.
type Batch struct {
	chunk  []byte // keys and values are cut from it
	bytes  int64
	points []point
	ranges []span
}

type point struct {
	key, value []byte // value nil: a delete
	seq        int
}

type span struct {
	lo, hi []byte
	seq    int // highest sequence of the deletes that cover it
}

// Set stores value under key.
func (b *Batch) Set(key, value []byte) {
	v := b.copy(value)
	if v == nil {
		v = []byte{}
	}
	b.points = append(b.points, point{key: b.copy(key), value: v, seq: b.Len()})
}

// Delete removes key.
func (b *Batch) Delete(key []byte) {
	b.points = append(b.points, point{key: b.copy(key), seq: b.Len()})
}

// DeleteRange removes all keys in [lo, hi). An empty range is no change.
func (b *Batch) DeleteRange(lo, hi []byte) {
	if bytes.Compare(lo, hi) < 0 {
		b.ranges = append(b.ranges, span{lo: b.copy(lo), hi: b.copy(hi), seq: b.Len()})
	}
}

// Len returns the number of changes collected.
func (b *Batch) Len() int { return len(b.points) + len(b.ranges) }

// Bytes returns the size of the keys and values collected.
func (b *Batch) Bytes() int64 { return b.bytes }

// Reset empties the batch for reuse.
func (b *Batch) Reset() {
	clear(b.points)
	clear(b.ranges)
	b.chunk, b.bytes, b.points, b.ranges = b.chunk[:0], 0, b.points[:0], b.ranges[:0]
}

const chunkBytes = 64 << 10

func (b *Batch) copy(p []byte) []byte {
	if cap(b.chunk)-len(b.chunk) < len(p) {
		b.chunk = make([]byte, 0, max(chunkBytes, len(p)))
	}
	n := len(b.chunk)
	b.chunk = append(b.chunk, p...)
	b.bytes += int64(len(p))
	return b.chunk[n:len(b.chunk):len(b.chunk)]
}

// settle returns the net effect of the batch: points in key order, one a key
// and none that a later range delete covers, and disjoint range deletes in key
// order. Applying the range deletes first and the points after is the same as
// applying the batch in turn.
func (b *Batch) settle() ([]point, []span) {
	slices.SortFunc(b.points, func(x, y point) int {
		if c := bytes.Compare(x.key, y.key); c != 0 {
			return c
		}
		return cmp.Compare(y.seq, x.seq)
	})
	points := slices.CompactFunc(slices.Clone(b.points), func(x, y point) bool { return bytes.Equal(x.key, y.key) })
	fragments := fragment(b.ranges)
	i := 0
	points = slices.DeleteFunc(points, func(p point) bool {
		for i < len(fragments) && bytes.Compare(fragments[i].hi, p.key) <= 0 {
			i++
		}
		return i < len(fragments) && bytes.Compare(fragments[i].lo, p.key) <= 0 && fragments[i].seq > p.seq
	})
	return points, join(fragments)
}

// fragment cuts overlapping ranges at each other's ends; each piece carries the
// highest sequence of the ranges over it.
func fragment(ranges []span) []span {
	if len(ranges) == 0 {
		return nil
	}
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(x, y span) int { return bytes.Compare(x.lo, y.lo) })
	edges := make([][]byte, 0, 2*len(sorted))
	for _, r := range sorted {
		edges = append(edges, r.lo, r.hi)
	}
	slices.SortFunc(edges, bytes.Compare)
	edges = slices.CompactFunc(edges, bytes.Equal)

	var out []span
	var open newestFirst
	next := 0
	for i := 0; i+1 < len(edges); i++ {
		for next < len(sorted) && bytes.Compare(sorted[next].lo, edges[i]) <= 0 {
			heap.Push(&open, sorted[next])
			next++
		}
		for len(open) > 0 && bytes.Compare(open[0].hi, edges[i]) <= 0 {
			heap.Pop(&open)
		}
		if len(open) > 0 {
			out = append(out, span{lo: edges[i], hi: edges[i+1], seq: open[0].seq})
		}
	}
	return out
}

// join merges neighbours that touch, whatever their sequences.
func join(fragments []span) []span {
	var out []span
	for _, f := range fragments {
		if n := len(out); n > 0 && bytes.Equal(out[n-1].hi, f.lo) {
			out[n-1].hi = f.hi
			continue
		}
		out = append(out, f)
	}
	return out
}

// newestFirst is a heap of ranges by descending sequence.
type newestFirst []span

func (h newestFirst) Len() int           { return len(h) }
func (h newestFirst) Less(i, j int) bool { return h[i].seq > h[j].seq }
func (h newestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *newestFirst) Push(x any)        { *h = append(*h, x.(span)) }
func (h *newestFirst) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
