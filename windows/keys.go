package windows

import (
	"math/bits"
	"slices"
	"strings"
)

// keyTable numbers group keys densely, so that slices hold four bytes a key.
// Numbers are never observable: rows come in the order of the key bytes, which
// ranks keep. A key no slice refers to is dormant; dormant keys are dropped
// once there are more than live ones by dormantSlack, and their numbers used
// again.
type keyTable struct {
	byName map[string]uint32
	names  []string
	refs   []uint32 // rows of live slices that have the key
	lines  []*line  // with a timeline a key: whose group it is
	rank   []uint32 // place in order, valid for keys in it
	order  []uint32 // ranked keys by name
	fresh  []uint32 // keys not ranked yet
	free   []uint32
	live   int
	text   int // bytes of names

	merged []uint32 // scratch
}

const dormantSlack = 4096

func newKeyTable() *keyTable { return &keyTable{byName: map[string]uint32{}} }

// intern returns the number of a key, giving it one if it is new. The caller
// takes a reference at once.
func (t *keyTable) intern(key []byte) uint32 {
	if n, ok := t.byName[string(key)]; ok {
		return n
	}
	name := string(key)
	var n uint32
	if l := len(t.free); l > 0 {
		n = t.free[l-1]
		t.free = t.free[:l-1]
		t.names[n] = name
	} else {
		n = uint32(len(t.names))
		t.names = append(t.names, name)
		t.refs = append(t.refs, 0)
		t.lines = append(t.lines, nil)
		t.rank = append(t.rank, 0)
	}
	t.byName[name] = n
	t.fresh = append(t.fresh, n)
	t.text += len(name)
	return n
}

func (t *keyTable) take(n uint32) {
	if t.refs[n]++; t.refs[n] == 1 {
		t.live++
	}
}

func (t *keyTable) release(n uint32) {
	if t.refs[n]--; t.refs[n] == 0 {
		t.live--
		if l := t.lines[n]; l != nil {
			l.leave(n)
		}
	}
}

// rankAll puts fresh keys into the order. The order of keys among each other
// never changes, so rows sorted by rank stay sorted.
func (t *keyTable) rankAll() {
	if len(t.fresh) == 0 {
		return
	}
	slices.SortFunc(t.fresh, t.compare)
	out := t.merged[:0]
	i := 0
	for _, f := range t.fresh {
		name := t.names[f]
		for i < len(t.order) && t.names[t.order[i]] < name {
			out = append(out, t.order[i])
			i++
		}
		out = append(out, f)
	}
	out = append(out, t.order[i:]...)
	t.order, t.merged = out, t.order
	t.fresh = t.fresh[:0]
	t.renumber()
}

func (t *keyTable) renumber() {
	for r, n := range t.order {
		t.rank[n] = uint32(r)
	}
}

// sweep drops dormant keys when there are too many. No row may refer to one.
func (t *keyTable) sweep() {
	if len(t.byName)-t.live <= t.live+dormantSlack {
		return
	}
	drop := func(n uint32) bool {
		if t.refs[n] != 0 {
			return false
		}
		t.text -= len(t.names[n])
		delete(t.byName, t.names[n])
		t.names[n], t.lines[n] = "", nil
		t.free = append(t.free, n)
		return true
	}
	t.order = slices.DeleteFunc(t.order, drop)
	t.fresh = slices.DeleteFunc(t.fresh, drop)
	t.renumber()
}

func (t *keyTable) bytes() int64 {
	const perName = 16 + 16 + 4 + 16 // header, its copy in the map, number, slack of the map
	return int64(t.text + len(t.byName)*perName + cap(t.names)*16 + cap(t.refs)*4 + cap(t.lines)*8 +
		(cap(t.rank)+cap(t.order)+cap(t.fresh)+cap(t.free)+cap(t.merged))*4)
}

// rankSet is a set of keys that is walked in rank order.
type rankSet struct{ bits []uint64 }

// clear empties the set and makes room for n ranks.
func (s *rankSet) clear(n int) {
	words := (n + 63) / 64
	if cap(s.bits) < words {
		s.bits = make([]uint64, words+words/4)
	}
	s.bits = s.bits[:words]
	clear(s.bits)
}

func (s *rankSet) add(rank uint32) { s.bits[rank>>6] |= 1 << (rank & 63) }

// all yields the ranks in order.
func (s *rankSet) all(yield func(rank uint32) bool) {
	for i, b := range s.bits {
		for ; b != 0; b &= b - 1 {
			if !yield(uint32(i<<6 + bits.TrailingZeros64(b))) {
				return
			}
		}
	}
}

func (t *keyTable) compare(a, b uint32) int { return strings.Compare(t.names[a], t.names[b]) }
