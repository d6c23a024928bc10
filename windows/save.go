package windows

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Keys in the store, after the operator's prefix. Instants are big endian with
// the sign bit flipped, so that their bytes order as they do (semantics 9.1).
//
//	1 | end of the slice (8) | last group key of the block    block
//	2                                                         shape and watermark
//	3 | last instant of the window (8) | group key            revision of a row
//	4 | timeline key                                          watermark and groups
const (
	kindBlock    = 1
	kindOperator = 2
	kindRevision = 3
	kindLine     = 4
	kindEnd      = 5

	stateVersion = 1
)

func (o *Operator) key(kind byte) []byte {
	return append(slices.Clone(o.opt.Prefix), kind)
}

func appendTick(dst []byte, t Tick) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(t)^1<<63)
}

func tickOf(b []byte) Tick { return Tick(binary.BigEndian.Uint64(b) ^ 1<<63) }

// span returns the keys [lo, hi) of the blocks of the slice that ends with t.
func (o *Operator) span(t Tick) (lo, hi []byte) {
	return appendTick(o.key(kindBlock), t), appendTick(o.key(kindBlock), t+1)
}

// Save writes what changed since the last Save: whole slices, and range
// deletes for those that are gone. The batch must take effect before the next
// call to the operator. Load of what Saves have written gives an operator
// whose rows are the same as this one's.
func (o *Operator) Save(b Batch) error {
	if o.err != nil {
		return o.err
	}
	o.saveGone(b)
	for _, s := range o.slices {
		if !s.changed {
			continue
		}
		if s.saved {
			b.DeleteRange(o.span(s.hi))
		}
		if err := o.writeSlice(s, b.Set); err != nil {
			return o.fail(err)
		}
		s.changed, s.saved = false, true
		if s.place == inScratch && o.store != nil {
			o.unscratch(s)
			s.place = inStore
		}
	}
	b.Set(o.key(kindOperator), o.appendShape(appendTick([]byte{stateVersion}, o.mark)))
	if o.opt.AcceptLate {
		o.saveRevisions(b)
	}
	if o.opt.PerKey {
		o.saveLines(b)
	}
	return o.err
}

// saveGone deletes what expired, as one range up to the oldest slice.
func (o *Operator) saveGone(b Batch) {
	if len(o.gone) == 0 {
		return
	}
	oldest := never
	if len(o.slices) > 0 {
		oldest = o.slices[0].hi
	}
	below := false
	for _, t := range o.gone {
		if t < oldest {
			below = true
		} else {
			b.DeleteRange(o.span(t))
		}
	}
	if below {
		b.DeleteRange(o.key(kindBlock), appendTick(o.key(kindBlock), oldest))
	}
	o.gone = o.gone[:0]
}

// writeSlice gives the blocks of a slice to set, wherever they are.
func (o *Operator) writeSlice(s *slice, set func(key, value []byte)) error {
	if s.place != inMemory {
		lo, hi := o.span(s.hi)
		return o.reader(s).Scan(lo, hi, func(k, v []byte) error {
			set(k, v)
			return nil
		})
	}
	o.keys.rankAll()
	prefix := appendTick(o.key(kindBlock), s.hi)
	bw := &o.blocks
	bw.sh, bw.lay, bw.pos, bw.flush = o.sh, s.rows.lay, s.pos, func(last, block []byte) error {
		set(append(prefix, last...), block)
		return nil
	}
	for i := range o.inOrder(s) {
		if err := bw.add(o.keys.name(s.rows.keys[i]), s.rows.row(i), &s.rows.texts); err != nil {
			return err
		}
	}
	return bw.end()
}

// appendShape appends what saved rows depend on beside themselves.
func (o *Operator) appendShape(dst []byte) []byte {
	for _, t := range []Tick{o.edges.size, o.edges.hop, o.edges.ends % o.edges.hop, o.edges.after, o.opt.Grace} {
		dst = appendTick(dst, t)
	}
	flags := byte(0)
	if o.opt.PerKey {
		flags |= 1
	}
	if o.opt.AcceptLate {
		flags |= 2
	}
	dst = append(dst, flags)
	for i := range o.sh.cols {
		dst = binary.AppendUvarint(dst, uint64(o.sh.cols[i].arg))
		dst = append(dst, byte(o.sh.cols[i].parts))
	}
	return dst
}

func (o *Operator) saveRevisions(b Batch) {
	b.DeleteRange(o.key(kindRevision), o.key(kindRevision+1))
	for i := range o.late {
		w := &o.late[i]
		prefix := appendTick(o.key(kindRevision), w.last)
		for _, n := range slices.SortedFunc(maps.Keys(w.rows), o.keys.compare) {
			r := w.rows[n]
			v := binary.AppendUvarint([]byte{stateVersion}, uint64(r.next)<<1|uint64(bit(r.dirty)))
			b.Set(append(prefix, o.keys.name(n)...), v)
		}
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (o *Operator) saveLines(b Batch) {
	b.DeleteRange(o.key(kindLine), o.key(kindLine+1))
	for _, name := range slices.Sorted(maps.Keys(o.lines)) {
		ln := o.lines[name]
		if len(ln.groups) == 0 && ln.mark <= o.mark {
			continue
		}
		v := appendTick([]byte{stateVersion}, ln.mark)
		v = binary.AppendUvarint(v, uint64(len(ln.groups)))
		for _, n := range ln.groups {
			v = binary.AppendUvarint(v, uint64(len(o.keys.name(n))))
			v = append(v, o.keys.name(n)...)
		}
		b.Set(append(o.key(kindLine), name...), v)
	}
}

// Load takes over the state that Saves under this prefix have written, if
// there is any; the operator must be new. Slices that the budget has no room
// for stay in s, which must answer until the operator is thrown away. Errors
// about the content wrap ErrState.
func (o *Operator) Load(s State) error {
	o.store = s
	meta, err := s.Get(o.key(kindOperator))
	if err != nil {
		return o.fail(fmt.Errorf("load operator: %w", err))
	}
	if meta == nil {
		return nil
	}
	if len(meta) < 9 || meta[0] != stateVersion {
		return o.fail(fmt.Errorf("operator: unknown version: %w", ErrState))
	}
	if !bytes.Equal(meta[9:], o.appendShape(nil)) {
		return o.fail(fmt.Errorf("operator: saved by a query with other windows or aggregates: %w", ErrState))
	}
	o.mark = tickOf(meta[1:])
	for _, step := range []struct {
		kind byte
		read func(key, value []byte) error
	}{{kindLine, o.loadLine}, {kindBlock, o.loadBlock}, {kindRevision, o.loadRevision}} {
		lo, n := o.key(step.kind), len(o.opt.Prefix)+1
		err := s.Scan(lo, o.key(step.kind+1), func(k, v []byte) error {
			if len(k) < n {
				return fmt.Errorf("operator: short key: %w", ErrState)
			}
			return step.read(k[n:], v)
		})
		if err != nil {
			return o.fail(fmt.Errorf("load operator: %w", err))
		}
	}
	return o.loaded()
}

func (o *Operator) loadBlock(key, value []byte) error {
	if len(key) < 8 {
		return fmt.Errorf("operator: short block key: %w", ErrState)
	}
	hi := tickOf(key)
	if hi < MinTick-MaxSpan || hi > MaxTick+2*MaxSpan {
		return fmt.Errorf("operator: slice out of range: %w", ErrState)
	}
	var br blockRows
	if err := br.decode(o.sh, value); err != nil {
		return err
	}
	var s *slice
	if n := len(o.slices); n > 0 {
		s = o.slices[n-1]
	}
	if s == nil || s.hi != hi {
		lo, edge := o.edges.slice(hi)
		if first, last := o.edges.windowsOf(lo, hi); edge != hi || first > last {
			return fmt.Errorf("operator: slice without a window: %w", ErrState)
		}
		o.settle()
		s = o.newSlice(lo, hi, br.pos)
		s.saved = true
		o.slices = append(o.slices, s)
	}
	o.absorb(s, &br)
	return nil
}

// absorb appends the rows of a block to an open slice.
func (o *Operator) absorb(s *slice, br *blockRows) {
	l := o.sh.join(s.rows.lay, br.rows.lay)
	o.sh.widen(s.rows, l)
	o.sh.widen(&br.rows, l)
	for i := range br.rows.keys {
		row, _ := o.rowFor(s, br.name(i))
		o.sh.copyRow(l, s.rows.row(row), &s.rows.texts, br.rows.row(i), &br.rows.texts)
	}
}

func (o *Operator) loadLine(key, value []byte) error {
	bad := fmt.Errorf("timeline of an operator: %w", ErrState)
	if len(value) < 9 || value[0] != stateVersion {
		return bad
	}
	ln := o.newLine(string(key))
	ln.mark = tickOf(value[1:])
	n, p, ok := uvarint(value[9:])
	if !ok || n > uint64(len(p)) {
		return bad
	}
	for range n {
		l, rest, ok := uvarint(p)
		if !ok || l > uint64(len(rest)) {
			return bad
		}
		ln.join(o.keys, o.keys.intern(rest[:l]))
		p = rest[l:]
	}
	return nil
}

func (o *Operator) loadRevision(key, value []byte) error {
	bad := fmt.Errorf("revision of a row: %w", ErrState)
	if len(key) < 8 || len(value) < 2 || value[0] != stateVersion {
		return bad
	}
	r, _, ok := uvarint(value[1:])
	n, _, known := o.keys.find(key[8:])
	if !ok || !known || r>>1 > 1<<40 {
		return bad
	}
	last := tickOf(key)
	if k := len(o.late); k == 0 || o.late[k-1].last != last {
		o.late = append(o.late, lateWindow{last: last, rows: map[uint32]lateRow{}})
	}
	w := &o.late[len(o.late)-1]
	w.rows[n] = lateRow{next: int(r >> 1), dirty: r&1 != 0}
	w.dirty += int(r & 1)
	return nil
}

// loaded sets what follows from the loaded state.
func (o *Operator) loaded() error {
	for _, s := range o.slices {
		if x := o.firstOpen(s, o.mark); x <= s.last {
			o.next = min(o.next, x)
		}
	}
	for _, ln := range o.lines {
		for _, n := range ln.groups {
			if o.keys.refs[n] == 0 {
				return o.fail(fmt.Errorf("timeline of an operator: group without rows: %w", ErrState))
			}
		}
		ln.next = max(ln.mark, o.mark) // not later than the true one
	}
	if o.opt.PerKey {
		for n, ln := range o.keys.lines {
			if ln == nil && o.keys.refs[n] > 0 {
				return o.fail(fmt.Errorf("group of an operator without its timeline: %w", ErrState))
			}
		}
	}
	o.settle()
	return o.err
}

var errStop = errors.New("enough")
