package windows

import "hash/maphash"

// TouchKeys is how many keys Touch takes at a time.
const TouchKeys = 32

// Touch reads what Add will need of the group keys of coming records, so that
// their cache misses overlap instead of following one another. With a hundred
// thousand devices they are most of what a record costs. It changes nothing
// that rows show, and keys may be wrong or missing.
//
// Each stage is a loop of its own: its loads do not depend on each other, and
// the processor has many of them under way at once.
func (o *Operator) Touch(keys [][]byte) {
	var at [TouchKeys]uint32
	n := min(len(keys), TouchKeys)
	t := o.keys
	mask := uint32(len(t.slots) - 1)
	for i := range n {
		at[i] = uint32(maphash.Bytes(t.seed, keys[i])) & mask
	}
	for i := range n {
		at[i] = t.slots[at[i]].entry
	}
	seen := uint8(0)
	for i := range n {
		if e := at[i]; e != 0 {
			seen += t.short[e-1].size
		}
	}
	o.touched += seen // the loads are of use to nobody else
	s := o.cur
	if s == nil || !s.index.direct || s.rows == nil {
		return
	}
	slots, rows := s.index.slots, s.rows
	for i := range n {
		if e := at[i]; e != 0 && int(e-1) < len(slots) {
			at[i] = slots[e-1]
		} else {
			at[i] = 0
		}
	}
	count := uint64(0)
	for i := range n {
		if row := at[i]; row != 0 && int(row) <= len(rows.keys) {
			count += rows.row(int(row) - 1)[0]
		}
	}
	o.touched += uint8(count)
}
