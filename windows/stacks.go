package windows

// stacks answer window after window from merged slices: the front holds, for
// each slice before the flip, that slice and all after it up to the flip; the
// back is the running total of the slices after it. A window is the front's
// top merged with the back (semantics 8.3).
type stacks struct {
	valid  bool
	flip   Tick
	denied Tick // flip for which there was no memory
	front  []level
	back   level
	backTo Tick // end of the last slice in the back
}

// level is a merged run of slices that begins at lo. Rows of a single slice
// are the slice's own.
type level struct {
	lo    Tick
	rows  *rows
	owned bool
}

// stackSlices is the number of slices from which stacks beat a direct merge.
const stackSlices = 4

// prepare brings the stacks to the window that ends with last, whose slices
// are ws. It reports false when the window is to be merged directly.
func (st *stacks) prepare(o *Operator, last Tick, ws []*slice) bool {
	flip := o.edges.flip(last)
	if st.valid && st.flip != flip {
		st.reset(o)
	}
	if !st.valid {
		if len(ws) < stackSlices || st.denied == flip || !st.fits(o, flip, ws) {
			return false
		}
		st.build(o, flip, ws)
	}
	st.popBelow(o, last-o.edges.size)
	for _, s := range ws {
		if s.lo < flip || s.hi <= st.backTo {
			continue
		}
		st.backTo = s.hi
		if st.back.rows == nil {
			st.back = level{rows: s.rows}
			continue
		}
		to := o.newRows(s.rows.lay)
		o.sh.mergeRows(to, st.back.rows, s.rows, o.keys.rank)
		st.release(o, st.back)
		st.back = level{rows: to, owned: true}
	}
	return true
}

// fits reckons whether the budget has room for the front. A level has a row for
// each live key at most, however many slices it merges.
func (st *stacks) fits(o *Operator, flip Tick, ws []*slice) bool {
	if o.opt.Budget == nil {
		return true
	}
	var need, suffix, row int64
	for i := len(ws) - 1; i >= 0; i-- {
		if b := ws[i].rows.bytes(); ws[i].lo < flip {
			row = max(row, b/int64(max(1, len(ws[i].rows.keys))))
			suffix = min(suffix+b, int64(o.keys.live)*row)
			need += suffix
		}
	}
	if o.opt.Budget.room() < need {
		st.denied = flip
		return false
	}
	return true
}

func (st *stacks) build(o *Operator, flip Tick, ws []*slice) {
	st.valid, st.flip, st.backTo = true, flip, Unset
	for i := len(ws) - 1; i >= 0; i-- {
		s := ws[i]
		if s.lo >= flip {
			continue
		}
		if n := len(st.front); n == 0 {
			st.front = append(st.front, level{lo: s.lo, rows: s.rows})
		} else {
			to := o.newRows(s.rows.lay)
			o.sh.mergeRows(to, s.rows, st.front[n-1].rows, o.keys.rank)
			st.front = append(st.front, level{lo: s.lo, rows: to, owned: true})
		}
	}
}

// popBelow drops the levels of slices that begin before lo.
func (st *stacks) popBelow(o *Operator, lo Tick) {
	for n := len(st.front); n > 0 && st.front[n-1].lo < lo; n-- {
		st.release(o, st.front[n-1])
		st.front = st.front[:n-1]
	}
}

func (st *stacks) popThrough(o *Operator, lo Tick) { st.popBelow(o, lo+1) }

func (st *stacks) release(o *Operator, l level) {
	if l.owned {
		o.recycle(l.rows)
	}
}

// reset empties the stacks.
func (st *stacks) reset(o *Operator) {
	st.popBelow(o, never)
	if st.back.rows != nil {
		st.release(o, st.back)
	}
	st.back, st.valid = level{}, false
}

func (st *stacks) bytes() int64 {
	b := int64(0)
	for _, l := range st.front {
		if l.owned {
			b += l.rows.bytes()
		}
	}
	if st.back.owned {
		b += st.back.rows.bytes()
	}
	return b
}

// fireStacks emits the merge of the front's top and the back.
func (o *Operator) fireStacks(last Tick, emit func(*Result) error) error {
	st := &o.stacks
	none := rows{lay: o.sh.lowest}
	a, b := &none, &none
	if n := len(st.front); n > 0 {
		a = st.front[n-1].rows
	}
	if st.back.rows != nil {
		b = st.back.rows
	}
	l := o.sh.join(a.lay, b.lay)
	o.sh.widen(a, l)
	o.sh.widen(b, l)
	rank, names := o.keys.rank, o.keys
	i, j := 0, 0
	for i < len(a.keys) || j < len(b.keys) {
		var err error
		switch {
		case j == len(b.keys) || i < len(a.keys) && rank[a.keys[i]] < rank[b.keys[j]]:
			err = o.emit(last, names.name(a.keys[i]), l, a.row(i), &a.texts, Final, 0, emit)
			i++
		case i == len(a.keys) || a.keys[i] != b.keys[j]:
			err = o.emit(last, names.name(b.keys[j]), l, b.row(j), &b.texts, Final, 0, emit)
			j++
		default:
			row := o.mergeInto(l, 0, partial{words: a.row(i), texts: &a.texts}, partial{words: b.row(j), texts: &b.texts})
			err = o.emit(last, names.name(a.keys[i]), l, row.words, row.texts, Final, 0, emit)
			i++
			j++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cursor walks the rows of a sorted slice.
type cursor struct {
	rows  *rows
	at    int
	front bool
}

// fireDirect merges the slices of a window key by key.
func (o *Operator) fireDirect(last Tick, ws []*slice, emit func(*Result) error) error {
	l := o.layoutOf(ws)
	flip := o.edges.flip(last)
	cs := o.cursors[:0]
	for _, s := range ws {
		cs = append(cs, cursor{rows: s.rows, front: s.lo < flip})
	}
	o.cursors = cs
	defer clear(cs)
	rank := o.keys.rank
	for {
		least := uint32(1<<32 - 1)
		for i := range cs {
			if c := &cs[i]; c.at < len(c.rows.keys) {
				least = min(least, rank[c.rows.keys[c.at]])
			}
		}
		if least == 1<<32-1 {
			return nil
		}
		key := o.keys.order[least]
		ps := o.parts[:0]
		for i := range cs {
			c := &cs[i]
			if c.at < len(c.rows.keys) && c.rows.keys[c.at] == key {
				ps = append(ps, partial{c.rows.row(c.at), &c.rows.texts, c.front})
				c.at++
			}
		}
		o.parts = ps
		w, t := o.fold(l, ps)
		if err := o.emit(last, o.keys.name(key), l, w, t, Final, 0, emit); err != nil {
			return err
		}
	}
}
