package windows

import "math/bits"

// slice holds the partials of the records in (lo, hi]. It is open while
// records can come, which need to find rows by key; once closed its rows are
// sorted by rank and the index is gone. An evicted slice has no rows in
// memory, they are in the store or in scratch space.
type slice struct {
	lo, hi      Tick
	first, last Tick  // of the windows that hold it
	pos         int64 // of its first record
	live        int   // rows that were not taken out
	rows        *rows
	index       index // while open
	sorted      bool
	kept        []uint32 // keys of an evicted slice that stay referenced

	changed bool // since the last save
	saved   bool // the store has blocks of it
	place   place
}

// place is where the rows of a slice are.
type place uint8

const (
	inMemory place = iota
	inStore
	inScratch
)

// index finds the row of a key: directly by number when many of the numbers
// have a row, by open addressing otherwise. Entries are rows plus one.
type index struct {
	slots  []uint32
	direct bool
	shift  uint8
}

const (
	leastHashed = 64
	directShare = 4 // a direct index may have this many slots a row
	phi32       = 2654435769
)

// find returns the row of a key or -1.
func (x *index) find(keys []uint32, k uint32) int {
	if x.direct {
		if int(k) < len(x.slots) {
			return int(x.slots[k]) - 1
		}
		return -1
	}
	if len(x.slots) == 0 {
		return -1
	}
	mask := uint32(len(x.slots) - 1)
	for i := (k * phi32) >> x.shift; ; i = (i + 1) & mask {
		e := x.slots[i&mask]
		if e == 0 {
			return -1
		}
		if keys[e-1] == k {
			return int(e) - 1
		}
	}
}

// insert notes that the last of keys is at the last row; numbers is how many
// key numbers there are.
func (x *index) insert(keys []uint32, numbers int) {
	n := len(keys)
	k := keys[n-1]
	switch {
	case x.direct && int(k) < len(x.slots):
		x.slots[k] = uint32(n)
		return
	case !x.direct && 2*n <= len(x.slots):
		x.place(k, uint32(n))
		return
	}
	x.rebuild(keys, numbers, n)
}

func (x *index) place(k, entry uint32) {
	mask := uint32(len(x.slots) - 1)
	i := (k * phi32) >> x.shift
	for x.slots[i&mask] != 0 {
		i++
	}
	x.slots[i&mask] = entry
}

// rebuild makes an index of keys with room for expected rows.
func (x *index) rebuild(keys []uint32, numbers, expected int) {
	if numbers <= directShare*max(expected, leastHashed/2) {
		x.direct = true
		x.resize(numbers + numbers/8 + 8)
		for i, k := range keys {
			x.slots[k] = uint32(i + 1)
		}
		return
	}
	x.direct = false
	size := leastHashed
	for size < 4*expected {
		size *= 2
	}
	x.resize(size)
	x.shift = uint8(32 - bits.TrailingZeros(uint(size)))
	for i, k := range keys {
		x.place(k, uint32(i+1))
	}
}

// resize gives n empty slots.
func (x *index) resize(n int) {
	if cap(x.slots) < n {
		x.slots = make([]uint32, n)
		return
	}
	x.slots = x.slots[:n]
	clear(x.slots)
}
