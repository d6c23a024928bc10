package windows

import "iter"

// partial is what one slice knows of a key.
type partial struct {
	words []uint64
	texts *texts
	front bool // the slice begins before the flip of the window
}

// fold is the space for a merged row.
type fold struct {
	words []uint64
	texts texts
}

// Fire moves the watermark (with a timeline a key: the floor) to w and emits a
// row for each group of each window whose last instant lies before it, by end,
// then by group key (semantics 2.1, 5.2). Windows about to be purged emit what
// late records changed since FireDirty first. It costs one comparison when
// nothing is due. The function emit must not call the operator. After an error, emit's or the store's, the operator must be
// thrown away.
func (o *Operator) Fire(w Tick, emit func(*Result) error) error {
	if o.err != nil {
		return o.err
	}
	if w <= o.mark {
		return nil
	}
	w = min(w, MaxTick+2*MaxSpan)
	o.mark = w
	if o.opt.AcceptLate {
		if err := o.purge(w, emit); err != nil {
			return o.fail(err)
		}
	}
	if o.next >= w && !o.outlived(w) {
		o.Rest()
		return nil
	}
	o.keys.note()
	for o.next < w {
		last := o.next
		if err := o.fireWindow(last, emit); err != nil {
			return o.fail(err)
		}
		if !o.opt.AcceptLate {
			o.expire(last)
		}
		o.next = o.nextWindow(last + 1)
	}
	if o.opt.AcceptLate {
		o.expire(w - 1 - o.edges.after - o.opt.Grace)
	}
	if len(o.slices) == 0 {
		o.stacks.reset(o)
	}
	o.sweepLines()
	o.keys.sweep()
	o.settle()
	return o.err
}

// Rest gives memory back if there is no state. It changes nothing that can be
// observed, so that a caller may do it whenever nothing comes in.
func (o *Operator) Rest() {
	if len(o.slices) > 0 || o.keys.short == nil && o.freeRows == nil {
		return
	}
	o.freeRows, o.freeIndex, o.blocks = nil, nil, blockWriter{}
	if len(o.late) == 0 {
		o.keys.calm()
	}
	o.settle()
}

// outlived reports whether the oldest slice is beyond its grace.
func (o *Operator) outlived(w Tick) bool {
	return o.opt.AcceptLate && len(o.slices) > 0 && o.closedFor(o.slices[0].last, w)
}

// closedFor reports whether the window that ends with last is closed for good
// under the watermark w.
func (o *Operator) closedFor(last, w Tick) bool { return last+o.edges.after+o.opt.Grace < w }

// fail makes an error stick.
func (o *Operator) fail(err error) error {
	if o.err == nil {
		o.err = err
	}
	return o.err
}

// nextWindow is the last instant of the first window at or after from that has
// a record, never without one. It looks at one slice, however far away that is.
func (o *Operator) nextWindow(from Tick) Tick {
	for _, s := range o.slices[o.search(from-o.edges.size):] { // those before end too early
		if s.last >= from {
			return o.firstOpen(s, from)
		}
	}
	return never
}

// expire drops the slices whose final window ends with last or before.
func (o *Operator) expire(last Tick) {
	n := 0
	for n < len(o.slices) && o.slices[n].last <= last {
		s := o.slices[n]
		o.stacks.popThrough(o, s.lo)
		o.drop(s)
		n++
	}
	if n > 0 {
		m := copy(o.slices, o.slices[n:])
		clear(o.slices[m:])
		o.slices = o.slices[:m]
	}
}

// drop gives back what a slice holds; the caller takes it out of the list.
func (o *Operator) drop(s *slice) {
	if o.cur == s {
		o.cur = nil
	}
	if s.saved {
		o.gone = append(o.gone, s.hi)
	}
	if s.place == inScratch {
		o.unscratch(s)
	}
	for _, k := range s.kept {
		o.keys.release(k)
	}
	s.kept = nil
	if s.rows == nil {
		return
	}
	if o.stacks.back.rows == s.rows {
		o.stacks.reset(o)
	}
	o.hint = len(s.rows.keys)
	for i, k := range s.rows.keys {
		if s.rows.row(i)[0] != 0 {
			o.keys.release(k)
		}
	}
	o.freeSlice(s)
}

// freeSlice returns the buffers of a slice.
func (o *Operator) freeSlice(s *slice) {
	if s.rows != nil {
		o.recycle(s.rows)
		s.rows = nil
	}
	o.recycleIndex(s)
}

func (o *Operator) recycleIndex(s *slice) {
	if s.index.slots != nil && len(o.freeIndex) < o.maxFree {
		o.freeIndex = append(o.freeIndex, s.index)
	}
	s.index = index{}
}

func (o *Operator) newRows(l *layout) *rows {
	if n := len(o.freeRows); n > 0 {
		r := o.freeRows[n-1]
		o.freeRows = o.freeRows[:n-1]
		r.reset(l)
		return r
	}
	return &rows{lay: l}
}

func (o *Operator) recycle(r *rows) {
	if len(o.freeRows) < o.maxFree {
		r.texts.reset()
		o.freeRows = append(o.freeRows, r)
	}
}

// members returns the slices of the window that ends with last.
func (o *Operator) members(last Tick) []*slice {
	i := o.search(last - o.edges.size + 1)
	for i < len(o.slices) && o.slices[i].lo < last-o.edges.size {
		i++
	}
	j := o.search(last + 1)
	return o.slices[i:max(i, j)]
}

func (o *Operator) fireWindow(last Tick, emit func(*Result) error) error {
	ws := o.members(last)
	if len(ws) == 0 {
		return nil
	}
	if o.lookup {
		return o.fireLookup(last, ws, emit)
	}
	o.keys.rankAll()
	if o.single {
		return o.fireSingle(last, ws[0], emit)
	}
	evicted := false
	for _, s := range ws {
		if s.place != inMemory {
			evicted = true
		} else {
			o.sort(s)
		}
	}
	switch {
	case evicted:
		return o.fireStreams(last, ws, emit)
	case o.stacks.prepare(o, last, ws):
		return o.fireStacks(last, emit)
	}
	return o.fireDirect(last, ws, emit)
}

// emit gives one row to the caller.
func (o *Operator) emit(last Tick, key string, l *layout, w []uint64, t *texts, k ResultKind, rev int, emit func(*Result) error) error {
	r := &o.result
	r.End = last + o.edges.after
	r.Start = r.End - o.edges.size
	r.Key = append(r.Key[:0], key...)
	r.Kind, r.Revision = k, rev
	o.sh.finish(o.fin, l, w, t, r)
	return emit(r)
}

// fireSingle emits an open slice that is the whole window.
func (o *Operator) fireSingle(last Tick, s *slice, emit func(*Result) error) error {
	r := s.rows
	for i := range o.inOrder(s) {
		if err := o.emit(last, o.keys.name(r.keys[i]), r.lay, r.row(i), &r.texts, Final, 0, emit); err != nil {
			return err
		}
	}
	return nil
}

// inOrder yields the rows of a slice in memory in the order of their keys,
// which all are ranked.
func (o *Operator) inOrder(s *slice) iter.Seq[int] {
	return func(yield func(row int) bool) {
		r := s.rows
		switch {
		case s.sorted:
			for i := range r.keys {
				if !yield(i) {
					return
				}
			}
		case 8*len(r.keys) >= len(o.keys.order):
			for _, n := range o.keys.order {
				if i := s.index.find(r.keys, n); i >= 0 && r.row(i)[0] != 0 && !yield(i) {
					return
				}
			}
		default:
			o.ranks.clear(len(o.keys.order))
			for i, k := range r.keys {
				if r.row(i)[0] != 0 {
					o.ranks.add(o.keys.rank[k])
				}
			}
			for rank := range o.ranks.all {
				if !yield(s.index.find(r.keys, o.keys.order[rank])) {
					return
				}
			}
		}
	}
}

// sort closes a slice: its rows go into rank order and its index is freed.
func (o *Operator) sort(s *slice) {
	if s.sorted {
		return
	}
	r := s.rows
	to := o.newRows(r.lay)
	to.reserve(len(r.keys))
	for i := range o.inOrder(s) {
		copy(to.push(r.keys[i]), r.row(i))
	}
	to.texts, r.texts = r.texts, to.texts
	o.hint = len(r.keys)
	o.recycle(r)
	o.recycleIndex(s)
	s.rows, s.sorted = to, true
	if o.cur == s {
		o.cur = nil
	}
}

// fold merges the partials of a key in the order of their slices, associated
// by the flip alone: front from its end, back from its beginning, then both
// (semantics 8.3). It returns the row and its texts.
func (o *Operator) fold(l *layout, ps []partial) ([]uint64, *texts) {
	n := 0
	for n < len(ps) && ps[n].front {
		n++
	}
	var front, back partial
	if n > 0 {
		front = ps[n-1]
		for i := n - 2; i >= 0; i-- {
			front = o.mergeInto(l, i&1, ps[i], front)
		}
	}
	if n < len(ps) {
		back = ps[n]
		for i := n + 1; i < len(ps); i++ {
			back = o.mergeInto(l, 2+i&1, back, ps[i])
		}
	}
	switch {
	case n == 0:
		return back.words, back.texts
	case n == len(ps):
		return front.words, front.texts
	}
	// The front stands in fold 0 or in a slice, so fold 1 is free.
	row := o.mergeInto(l, 1, front, back)
	return row.words, row.texts
}

func (o *Operator) mergeInto(l *layout, f int, a, b partial) partial {
	d := &o.folds[f]
	if cap(d.words) < l.stride {
		d.words = make([]uint64, l.stride)
	}
	d.words = d.words[:l.stride]
	d.texts.reset()
	o.sh.mergeRow(l, d.words, &d.texts, a.words, a.texts, b.words, b.texts)
	return partial{words: d.words, texts: &d.texts}
}

// layoutOf brings the rows of slices to one layout.
func (o *Operator) layoutOf(ws []*slice) *layout {
	l := o.sh.lowest
	for _, s := range ws {
		l = o.sh.join(l, s.rows.lay)
	}
	for _, s := range ws {
		o.sh.widen(s.rows, l)
	}
	return l
}
