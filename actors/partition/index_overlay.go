package partition

import "slices"

// overlay are an index's entries of the entities that were changed since the last
// Save, in order.
type overlay struct {
	blocks [][]string          // of at most overlayBlock, none empty
	held   map[string][]string // by entity key: its entries
}

const overlayBlock = 512

func newOverlay() overlay { return overlay{held: map[string][]string{}} }

// put makes the entries of an entity those given.
func (o *overlay) put(key string, entries []string) {
	for _, e := range o.held[key] {
		o.remove(e)
	}
	if len(entries) == 0 {
		delete(o.held, key)
		return
	}
	o.held[key] = entries
	for _, e := range entries {
		o.insert(e)
	}
}

// at returns the block that an entry lies in, or would.
func (o *overlay) at(e string) int {
	i, found := slices.BinarySearchFunc(o.blocks, e, func(b []string, e string) int {
		if b[0] < e {
			return -1
		} else if b[0] > e {
			return 1
		}
		return 0
	})
	if !found && i > 0 {
		i--
	}
	return i
}

func (o *overlay) insert(e string) {
	if len(o.blocks) == 0 {
		o.blocks = [][]string{{e}}
		return
	}
	i := o.at(e)
	b := o.blocks[i]
	j, _ := slices.BinarySearch(b, e)
	b = slices.Insert(b, j, e)
	o.blocks[i] = b
	if len(b) > overlayBlock {
		half := len(b) / 2
		o.blocks[i] = slices.Clip(b[:half])
		o.blocks = slices.Insert(o.blocks, i+1, slices.Clone(b[half:]))
	}
}

func (o *overlay) remove(e string) {
	if len(o.blocks) == 0 {
		return
	}
	i := o.at(e)
	j, found := slices.BinarySearch(o.blocks[i], e)
	if !found {
		return
	}
	if o.blocks[i] = slices.Delete(o.blocks[i], j, j+1); len(o.blocks[i]) == 0 {
		o.blocks = slices.Delete(o.blocks, i, i+1)
	}
}

// scan visits the entries from lo on and below hi in order, until visit returns
// false.
func (o *overlay) scan(lo, hi string, visit func(string) bool) {
	if len(o.blocks) == 0 {
		return
	}
	for i := o.at(lo); i < len(o.blocks); i++ {
		j, _ := slices.BinarySearch(o.blocks[i], lo)
		for _, e := range o.blocks[i][j:] {
			if e >= hi || !visit(e) {
				return
			}
		}
	}
}

// note keeps the key of an entity that was changed until the overlays are asked.
func (c *documents) note(key string) {
	if !c.noting {
		return
	}
	if len(c.fresh) >= 1024 && len(c.fresh) >= 2*len(c.changed) {
		slices.Sort(c.fresh)
		c.fresh = slices.Compact(c.fresh)
	}
	c.fresh = append(c.fresh, key)
}

// freshen brings the overlays up to date.
func (d *Devices) freshen() {
	c := &d.cache
	if len(c.fresh) == 0 {
		return
	}
	slices.Sort(c.fresh)
	row := d.indexes.is
	for _, key := range slices.Compact(c.fresh) {
		doc := c.changed[key]
		if doc != nil {
			row.decoded(key, doc)
		}
		for _, i := range d.indexes.list {
			if !i.ready {
				continue
			}
			var entries []string
			if doc != nil {
				rowEntries(i, row, key, func(e []byte) { entries = append(entries, string(e)) })
			}
			i.overlay.put(key, entries)
		}
	}
	c.fresh = nil
}
