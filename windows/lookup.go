package windows

import (
	"slices"
	"strings"
)

// line is the timeline of one key (TIMESTAMP BY … OVER) as far as the operator
// has closed windows by it.
type line struct {
	name   string
	mark   Tick     // windows that end before it were emitted
	next   Tick     // last instant of its earliest window that has something to emit
	groups []uint32 // group keys with rows, by name
}

func (l *line) join(t *keyTable, n uint32) {
	i, _ := slices.BinarySearchFunc(l.groups, t.name(n), func(g uint32, name string) int {
		return strings.Compare(t.name(g), name)
	})
	l.groups = slices.Insert(l.groups, i, n)
	t.lines[n] = l
}

func (l *line) leave(n uint32) {
	if i := slices.Index(l.groups, n); i >= 0 {
		l.groups = slices.Delete(l.groups, i, i+1)
	}
}

// AddFor is Add with the key of the record's timeline, for an operator with
// PerKey. All records of a group come from one timeline.
func (o *Operator) AddFor(timeline []byte, pos int64, ts Tick, key []byte, args []Value) Outcome {
	return o.addLookup(timeline, pos, ts, key, args)
}

func (o *Operator) addLookup(timeline []byte, pos int64, ts Tick, key []byte, args []Value) Outcome {
	mark := o.mark
	var ln *line
	if o.opt.PerKey {
		if ln = o.lines[string(timeline)]; ln != nil {
			mark = max(mark, ln.mark)
		}
	}
	if ts < mark && !o.opt.AcceptLate {
		return Outcome{PastGrace: true}
	}
	var out Outcome
	s := o.cur
	if s == nil || ts <= s.lo || ts > s.hi {
		lo, hi := o.edges.slice(ts)
		first, last := o.edges.windowsOf(lo, hi)
		if first <= last && ts < mark && o.closedFor(last, mark) {
			return Outcome{PastGrace: true}
		}
		if s, out = o.sliceFor(lo, hi, pos); s == nil {
			return out
		}
		o.cur = s
		if o.err != nil {
			return out
		}
	} else if ts < mark && o.closedFor(s.last, mark) {
		return Outcome{PastGrace: true}
	}
	if ts < mark {
		o.soil(s, mark, key)
	}
	row, isNew := o.rowFor(s, key)
	o.next = min(o.next, o.firstOpen(s, o.mark))
	if o.opt.PerKey {
		if ln == nil {
			ln = o.newLine(string(timeline))
		}
		if isNew {
			if n := s.rows.keys[row]; o.keys.refs[n] == 1 {
				ln.join(o.keys, n)
			}
		}
		ln.next = min(ln.next, o.firstOpen(s, mark))
	}
	out.Refused = o.take(s, row, args)
	if o.grew {
		o.settle()
	}
	return out
}

func (o *Operator) newLine(name string) *line {
	ln := &line{name: name, mark: Unset, next: never}
	o.lines[name] = ln
	o.lineText += len(name)
	return ln
}

// FireKey moves the watermark of one timeline and emits the rows of its groups
// for the windows that end before it, by end, then by group key. Its timeline
// never trails the floor: what Fire emitted is not emitted again, and Fire
// skips what FireKey emitted.
func (o *Operator) FireKey(timeline []byte, w Tick, emit func(*Result) error) error {
	if o.err != nil {
		return o.err
	}
	if w <= o.mark {
		return nil
	}
	w = min(w, MaxTick+2*MaxSpan)
	ln := o.lines[string(timeline)]
	if ln == nil {
		if o.opt.AcceptLate {
			o.newLine(string(timeline)).mark = w
			o.sweepLines()
		}
		return nil
	}
	before := max(ln.mark, o.mark)
	if w <= before {
		return nil
	}
	ln.mark = w
	if o.opt.AcceptLate {
		if err := o.purgeLine(ln, w, emit); err != nil {
			return o.fail(err)
		}
	}
	if ln.next < w {
		if err := o.fireLine(ln, max(ln.next, before), w, emit); err != nil {
			return o.fail(err)
		}
	}
	o.takeOut(ln, before, w)
	o.keys.sweep()
	o.sweepLines()
	if o.grew {
		o.settle()
	}
	return o.err
}

func (o *Operator) fireLine(ln *line, from, w Tick, emit func(*Result) error) error {
	for {
		ln.next = o.nextOfLine(ln, from)
		if o.err != nil || ln.next >= w {
			return o.err
		}
		last := ln.next
		ws := o.members(last)
		if err := o.bringBack(ws); err != nil {
			return err
		}
		l := o.layoutOf(ws)
		for _, n := range ln.groups {
			if err := o.emitKey(last, n, ws, l, Final, 0, emit); err != nil {
				return err
			}
		}
		from = last + 1
	}
}

// nextOfLine is the last instant of the first window at or after from in which
// a timeline has rows.
func (o *Operator) nextOfLine(ln *line, from Tick) Tick {
	start := 0
	if from > Unset+o.edges.size {
		start = o.search(from - o.edges.size) // those before end too early
	}
	for _, s := range o.slices[start:] {
		if s.last < from {
			continue
		}
		if s.place != inMemory {
			o.restore(s)
			if o.err != nil {
				return never
			}
		}
		for _, n := range ln.groups {
			if s.has(n) {
				return o.firstOpen(s, from)
			}
		}
	}
	return never
}

func (s *slice) has(n uint32) bool {
	i := s.index.find(s.rows.keys, n)
	return i >= 0 && s.rows.row(i)[0] != 0
}

// takeOut removes a timeline's rows from the slices whose windows its
// watermark has closed, and slices left empty: other timelines may trail by
// much, its own state is not needed any more.
func (o *Operator) takeOut(ln *line, before, w Tick) {
	groups := append(o.takingOut[:0], ln.groups...)
	o.takingOut = groups
	emptied := false
	start := 0
	if before != Unset { // rows of slices further back were taken out before
		start = o.search(before - o.edges.after - o.opt.Grace - o.edges.size)
	}
	for _, s := range o.slices[start:] {
		if !o.closedFor(s.last, w) {
			break
		}
		if o.closedFor(s.last, before) || s.place != inMemory {
			continue
		}
		for _, n := range groups {
			if i := s.index.find(s.rows.keys, n); i >= 0 {
				if row := s.rows.row(i); row[0] != 0 {
					clear(row)
					s.live--
					s.changed = true
					o.keys.release(n)
				}
			}
		}
		emptied = emptied || s.live == 0
	}
	if emptied {
		o.slices = slices.DeleteFunc(o.slices, func(s *slice) bool {
			if s.live == 0 {
				o.drop(s)
			}
			return s.live == 0
		})
	}
}

// sweepLines forgets timelines without rows once there are many.
func (o *Operator) sweepLines() {
	if len(o.lines) < o.sweepAt {
		return
	}
	for name, ln := range o.lines {
		if len(ln.groups) == 0 && (ln.mark <= o.mark || !o.opt.AcceptLate) {
			delete(o.lines, name)
			o.lineText -= len(name)
		}
	}
	o.sweepAt = max(leastKeySweep, 2*len(o.lines))
}

// fireLookup emits a window from slices that keep their index, skipping groups
// whose own timeline has emitted it.
func (o *Operator) fireLookup(last Tick, ws []*slice, emit func(*Result) error) error {
	if err := o.bringBack(ws); err != nil {
		return err
	}
	o.keys.rankAll()
	l := o.layoutOf(ws)
	o.ranks.clear(len(o.keys.order))
	for _, s := range ws {
		for i, n := range s.rows.keys {
			if s.rows.row(i)[0] == 0 {
				continue
			}
			if ln := o.keys.lines[n]; ln == nil || ln.mark <= last {
				o.ranks.add(o.keys.rank[n])
			}
		}
	}
	for rank := range o.ranks.all {
		if err := o.emitKey(last, o.keys.order[rank], ws, l, Final, 0, emit); err != nil {
			return err
		}
	}
	return nil
}

// emitKey merges and emits one group of a window, if it has records.
func (o *Operator) emitKey(last Tick, n uint32, ws []*slice, l *layout, k ResultKind, rev int, emit func(*Result) error) error {
	flip := o.edges.flip(last)
	ps := o.parts[:0]
	for _, s := range ws {
		if i := s.index.find(s.rows.keys, n); i >= 0 {
			if w := s.rows.row(i); w[0] != 0 {
				ps = append(ps, partial{w, &s.rows.texts, s.lo < flip})
			}
		}
	}
	o.parts = ps
	if len(ps) == 0 {
		return nil
	}
	w, t := o.fold(l, ps)
	return o.emit(last, o.keys.name(n), l, w, t, k, rev, emit)
}

// bringBack makes sure that slices are in memory.
func (o *Operator) bringBack(ws []*slice) error {
	for _, s := range ws {
		if s.place != inMemory {
			o.restore(s)
		}
	}
	return o.err
}
