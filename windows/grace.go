package windows

import "slices"

// lateWindow holds the rows of a closed window that late records touched.
type lateWindow struct {
	last  Tick
	rows  map[uint32]lateRow
	dirty int
}

// lateRow is the number of the next revision of a row, and whether it is due.
type lateRow struct {
	next  int
	dirty bool
}

// soil marks the row of a key for revision in the closed windows of a slice,
// before the record is added.
func (o *Operator) soil(s *slice, mark Tick, key []byte) {
	n := o.keys.intern(key)
	for last := s.first; last <= s.last && last < mark; last += o.edges.hop {
		if o.closedFor(last, mark) {
			continue
		}
		i, found := slices.BinarySearchFunc(o.late, last, func(w lateWindow, t Tick) int {
			switch {
			case w.last < t:
				return -1
			case w.last > t:
				return 1
			}
			return 0
		})
		if !found {
			o.late = slices.Insert(o.late, i, lateWindow{last: last, rows: map[uint32]lateRow{}})
		}
		w := &o.late[i]
		r, touched := w.rows[n]
		if r.dirty {
			continue
		}
		if !touched && o.emitted(last, n) {
			r.next = 1
		}
		r.dirty = true
		w.rows[n] = r
		w.dirty++
	}
}

// emitted reports whether a closed window had a row for a key that no late
// record touched yet: it had if there are records.
func (o *Operator) emitted(last Tick, n uint32) bool {
	ws := o.members(last)
	if o.bringBack(ws) != nil {
		return false
	}
	return slices.ContainsFunc(ws, func(s *slice) bool { return s.has(n) })
}

// FireDirty emits a revision of every row that late records changed since the
// last call, by end, then by group key. The caller does so when the arrival
// clock crosses a multiple of 500 ms, so that a replay repeats it.
func (o *Operator) FireDirty(emit func(*Result) error) error {
	if o.err != nil {
		return o.err
	}
	for i := range o.late {
		if err := o.revise(&o.late[i], nil, emit); err != nil {
			return o.fail(err)
		}
	}
	return nil
}

// Dirty reports whether FireDirty would emit a row.
func (o *Operator) Dirty() bool {
	return slices.ContainsFunc(o.late, func(w lateWindow) bool { return w.dirty > 0 })
}

// revise emits the dirty rows of a window, of one timeline if given.
func (o *Operator) revise(w *lateWindow, ln *line, emit func(*Result) error) error {
	if w.dirty == 0 {
		return nil
	}
	ws := o.members(w.last)
	if err := o.bringBack(ws); err != nil {
		return err
	}
	o.keys.rankAll()
	l := o.layoutOf(ws)
	o.ranks.clear(len(o.keys.order))
	for n, r := range w.rows {
		if r.dirty && (ln == nil || o.keys.lines[n] == ln) {
			o.ranks.add(o.keys.rank[n])
		}
	}
	for rank := range o.ranks.all {
		n := o.keys.order[rank]
		r := w.rows[n]
		kind := Update
		if r.next == 0 {
			kind = Final
		}
		w.rows[n] = lateRow{next: r.next + 1}
		w.dirty--
		if err := o.emitKey(w.last, n, ws, l, kind, r.next, emit); err != nil {
			return err
		}
	}
	return nil
}

// purge emits what is due of windows closed for good, and forgets them.
func (o *Operator) purge(w Tick, emit func(*Result) error) error {
	n := 0
	for n < len(o.late) && o.closedFor(o.late[n].last, w) {
		if err := o.revise(&o.late[n], nil, emit); err != nil {
			return err
		}
		n++
	}
	o.late = slices.Delete(o.late, 0, n)
	return nil
}

// purgeLine does so for the rows of one timeline.
func (o *Operator) purgeLine(ln *line, w Tick, emit func(*Result) error) error {
	for i := range o.late {
		lw := &o.late[i]
		if !o.closedFor(lw.last, w) {
			break
		}
		if err := o.revise(lw, ln, emit); err != nil {
			return err
		}
		for _, n := range ln.groups {
			delete(lw.rows, n)
		}
	}
	o.late = slices.DeleteFunc(o.late, func(lw lateWindow) bool { return len(lw.rows) == 0 })
	return nil
}
