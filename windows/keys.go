package windows

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"unsafe"
)

// keyTable numbers group keys densely, so that slices hold four bytes a key.
// Numbers are never observable: rows come in the order of the key bytes, which
// ranks keep. A key no slice refers to is dormant; dormant keys are dropped
// once there are more than were live lately by dormantSlack, and their numbers
// used again.
//
// The table from keys to numbers is an open-addressed one rather than a map:
// finding the key is most of what a record costs.
type keyTable struct {
	slots []keySlot
	seed  maphash.Seed // shows nowhere
	count int
	short []shortName       // names by number, if they fit
	long  map[uint32]string // the others
	refs  []uint32          // rows of live slices that have the key
	lines []*line           // with a timeline a key: whose group it is
	rank  []uint32          // place in order, valid for keys in it
	order []uint32          // ranked keys by name
	fresh []uint32          // keys not ranked yet
	free  []uint32
	live  int
	peak  int // of live, lately
	text  int // bytes of long names

	merged []uint32 // scratch
}

// shortName is a name of at most 31 bytes in half a cache line, so that
// comparing it misses the cache once. Its size is one more than its length: 0
// stands for a longer name, or none.
type shortName struct {
	size uint8
	text [31]byte
}

// setName gives a number its name.
func (t *keyTable) setName(n uint32, name []byte) {
	s := shortName{}
	if len(name) <= len(s.text) {
		s.size = uint8(copy(s.text[:], name)) + 1
	} else {
		if t.long == nil {
			t.long = map[uint32]string{}
		}
		t.long[n] = string(name)
		t.text += len(name)
	}
	t.short[n] = s
}

// dropName forgets the name of a number.
func (t *keyTable) dropName(n uint32) {
	if name, ok := t.long[n]; ok {
		t.text -= len(name)
		delete(t.long, n)
	}
	t.short[n] = shortName{}
}

// name returns the name of a number; it is valid until keys come or go.
func (t *keyTable) name(n uint32) string {
	s := &t.short[n]
	if s.size == 0 {
		return t.long[n]
	}
	return unsafe.String(&s.text[0], s.size-1)
}

// numbers is how many numbers were ever given.
func (t *keyTable) numbers() int { return len(t.short) }

// keySlot refers to a key: part of its hash, and its number plus one.
type keySlot struct{ hash, entry uint32 }

const (
	dormantSlack  = 4096
	leastKeySlots = 64
)

func newKeyTable() *keyTable {
	return &keyTable{slots: make([]keySlot, leastKeySlots), seed: maphash.MakeSeed()}
}

// find returns the number of a key, and its hash for insert.
func (t *keyTable) find(key []byte) (n, hash uint32, ok bool) {
	hash = uint32(maphash.Bytes(t.seed, key))
	mask := uint32(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := t.slots[i&mask]
		if s.entry == 0 {
			return 0, hash, false
		}
		if s.hash != hash {
			continue
		}
		if short := &t.short[s.entry-1]; int(short.size) == len(key)+1 {
			if string(short.text[:len(key)]) == string(key) {
				return s.entry - 1, hash, true
			}
		} else if short.size == 0 && len(key) > len(short.text) && t.long[s.entry-1] == string(key) {
			return s.entry - 1, hash, true
		}
	}
}

func (t *keyTable) insert(hash, n uint32) {
	if t.count++; 8*t.count > 5*len(t.slots) {
		t.resize(3 * t.count)
	}
	t.place(keySlot{hash, n + 1})
}

func (t *keyTable) place(s keySlot) {
	mask := uint32(len(t.slots) - 1)
	i := s.hash & mask
	for t.slots[i&mask].entry != 0 {
		i = (i + 1) & mask
	}
	t.slots[i&mask] = s
}

// resize makes room for n slots and leaves out dropped keys.
func (t *keyTable) resize(n int) {
	size := leastKeySlots
	for size < n {
		size *= 2
	}
	old := t.slots
	t.slots = make([]keySlot, size)
	for _, s := range old {
		if s.entry != 0 && t.refs[s.entry-1] != dropped {
			t.place(s)
		}
	}
}

// dropped marks numbers that are not in use.
const dropped = 1<<32 - 1

// intern returns the number of a key, giving it one if it is new. The caller
// takes a reference at once.
func (t *keyTable) intern(key []byte) uint32 {
	n, hash, ok := t.find(key)
	if ok {
		return n
	}
	if l := len(t.free); l > 0 {
		n = t.free[l-1]
		t.free = t.free[:l-1]
		t.refs[n] = 0
	} else {
		n = uint32(len(t.short))
		t.short = append(t.short, shortName{})
		t.refs = append(t.refs, 0)
		t.lines = append(t.lines, nil)
		t.rank = append(t.rank, 0)
	}
	t.setName(n, key)
	t.insert(hash, n)
	t.fresh = append(t.fresh, n)
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
		name := t.name(f)
		for i < len(t.order) && t.name(t.order[i]) < name {
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
	if t.count-t.live <= max(t.live, t.peak)+dormantSlack {
		return
	}
	drop := func(n uint32) bool {
		if t.refs[n] != 0 {
			return false
		}
		t.dropName(n)
		t.lines[n], t.refs[n] = nil, dropped
		t.free = append(t.free, n)
		t.count--
		return true
	}
	t.order = slices.DeleteFunc(t.order, drop)
	t.fresh = slices.DeleteFunc(t.fresh, drop)
	t.renumber()
	t.resize(3 * t.count)
}

// note remembers how many keys were live lately, so that a set of keys that
// comes back window after window keeps its numbers and ranks meanwhile.
func (t *keyTable) note() { t.peak = max(t.live, t.peak-t.peak/8) }

// calm is for times without any state: it lets go of more with each call.
func (t *keyTable) calm() {
	t.peak /= 2
	if t.peak > 0 {
		return
	}
	*t = keyTable{slots: make([]keySlot, leastKeySlots), seed: t.seed}
}

func (t *keyTable) bytes() int64 {
	return int64(t.text + len(t.slots)*8 + len(t.long)*48 + cap(t.short)*32 + cap(t.refs)*4 + cap(t.lines)*8 +
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

func (t *keyTable) compare(a, b uint32) int { return strings.Compare(t.name(a), t.name(b)) }
