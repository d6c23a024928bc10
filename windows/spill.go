package windows

import (
	"bytes"
	"errors"
	"fmt"
)

// settle books what the operator holds on the budget. Over it, buffers kept
// for reuse go first, then the stacks, then closed slices from the oldest on:
// to scratch space, or just out of memory if the store has them. None of this
// shows in results. Open slices and key names stay.
func (o *Operator) settle() {
	o.grew = false
	b := o.opt.Budget
	if b == nil {
		return
	}
	o.charge()
	if b.room() >= 0 {
		return
	}
	o.freeRows, o.freeIndex = nil, nil
	if o.stacks.valid {
		o.stacks.denied = o.stacks.flip
		o.stacks.reset(o)
		o.freeRows = nil
	}
	o.charge()
	for _, s := range o.slices {
		if b.room() >= 0 || s.hi >= o.mark || o.err != nil {
			break
		}
		if s.place == inMemory {
			o.evict(s)
			o.charge()
		}
	}
}

func (o *Operator) charge() {
	n := o.StateBytes()
	o.opt.Budget.used.Add(n - o.charged)
	o.charged = n
}

// Release gives back what is booked on the budget, for an operator that is
// thrown away.
func (o *Operator) Release() {
	if o.opt.Budget != nil {
		o.opt.Budget.used.Add(-o.charged)
	}
	o.charged = 0
}

// evict takes a closed slice out of memory if there is a place for it.
func (o *Operator) evict(s *slice) {
	to := inStore
	if s.changed || !s.saved || o.store == nil {
		if o.opt.Scratch == nil {
			return
		}
		to = inScratch
		var err error
		werr := o.writeSlice(s, func(k, v []byte) {
			if err == nil {
				err = o.opt.Scratch.Set(k, v)
			}
		})
		if err = errors.Join(err, werr); err != nil {
			o.fail(fmt.Errorf("spill slice %v: %w", s.hi, err))
			return
		}
	}
	s.place = to
	if o.cur == s {
		o.cur = nil
	}
	s.index = index{}
	if o.lookup { // its groups stay known, so that windows of theirs still fire
		keep := s.rows.keys[:0]
		for i, k := range s.rows.keys {
			if s.rows.row(i)[0] != 0 {
				keep = append(keep, k)
			}
		}
		s.kept = keep
	} else {
		for _, k := range s.rows.keys {
			o.keys.release(k)
		}
	}
	s.rows = nil
}

// restore brings an evicted slice back with an index.
func (o *Operator) restore(s *slice) {
	if o.err != nil {
		return
	}
	s.rows = o.newRows(o.sh.lowest)
	o.newIndex(s)
	live := s.live
	s.live = 0
	var br blockRows
	lo, hi := o.span(s.hi)
	err := o.reader(s).Scan(lo, hi, func(_, v []byte) error {
		if err := br.decode(o.sh, v); err != nil {
			return err
		}
		o.absorb(s, &br)
		return nil
	})
	if err == nil && s.live != live {
		err = fmt.Errorf("%d rows of %d: %w", s.live, live, ErrState)
	}
	if err != nil {
		o.fail(fmt.Errorf("read slice %v back: %w", s.hi, err))
		return
	}
	for _, k := range s.kept {
		o.keys.release(k)
	}
	s.kept = nil
	if s.place == inScratch {
		o.unscratch(s)
	}
	s.place = inMemory
	o.grew = true
}

// reader is where the blocks of an evicted slice are.
func (o *Operator) reader(s *slice) State {
	if s.place == inScratch {
		return o.opt.Scratch
	}
	return o.store
}

func (o *Operator) unscratch(s *slice) {
	lo, hi := o.span(s.hi)
	if err := o.opt.Scratch.DeleteRange(lo, hi); err != nil {
		o.fail(fmt.Errorf("clear scratch space: %w", err))
	}
}

// stream walks the rows of a slice by key bytes: a sorted slice in memory, or
// an evicted one block by block.
type stream struct {
	cursor
	names  *keyTable // of keys, in memory
	from   State     // nil in memory
	lo, hi []byte    // blocks to come
	block  blockRows // the present one
	row    []uint64  // the row in the layout of the merge
}

func (st *stream) done() bool { return st.at >= len(st.rows.keys) }

func (st *stream) key() []byte {
	if st.from == nil {
		return []byte(st.names.name(st.rows.keys[st.at]))
	}
	return st.block.name(st.at)
}

// fill reads the next block if the present one is used up.
func (st *stream) fill(sh *shape) error {
	if st.from == nil || !st.done() {
		return nil
	}
	err := st.from.Scan(st.lo, st.hi, func(k, v []byte) error {
		st.lo = append(append(st.lo[:0], k...), 0)
		if err := st.block.decode(sh, v); err != nil {
			return err
		}
		st.at = 0
		return errStop
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// fireStreams merges the slices of a window when some are not in memory,
// holding one block of each.
func (o *Operator) fireStreams(last Tick, ws []*slice, emit func(*Result) error) error {
	l := o.sh.widest()
	flip := o.edges.flip(last)
	streams := make([]*stream, len(ws))
	for i, s := range ws {
		st := &stream{cursor: cursor{rows: s.rows, front: s.lo < flip}, names: o.keys, row: make([]uint64, l.stride)}
		if s.place != inMemory {
			st.from = o.reader(s)
			st.lo, st.hi = o.span(s.hi)
			st.rows = &st.block.rows
		}
		if err := st.fill(o.sh); err != nil {
			return fmt.Errorf("read slice %v: %w", s.hi, err)
		}
		streams[i] = st
	}
	var key []byte
	for {
		found := false
		for _, st := range streams {
			if !st.done() {
				if k := st.key(); !found || bytes.Compare(k, key) < 0 {
					key, found = append(key[:0], k...), true
				}
			}
		}
		if !found {
			return nil
		}
		ps := o.parts[:0]
		for _, st := range streams {
			if !st.done() && bytes.Equal(st.key(), key) {
				clear(st.row)
				o.sh.convertRow(st.row, l, st.rows.row(st.at), st.rows.lay)
				ps = append(ps, partial{st.row, &st.rows.texts, st.front})
				st.at++
			}
		}
		o.parts = ps
		w, t := o.fold(l, ps)
		if err := o.emit(last, string(key), l, w, t, Final, 0, emit); err != nil {
			return err
		}
		for i, st := range streams {
			if err := st.fill(o.sh); err != nil {
				return fmt.Errorf("read slice %v: %w", ws[i].hi, err)
			}
		}
	}
}

// widest is the layout that holds every row.
func (sh *shape) widest() *layout {
	for i := range sh.cols {
		sh.modes[i] = modeWide
		if sh.cols[i].parts == 0 {
			sh.modes[i] = modeFloat
		}
	}
	return sh.layout(sh.modes)
}
