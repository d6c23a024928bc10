package windows

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrOptions is wrapped by the errors of New.
var ErrOptions = errors.New("invalid operator options")

const (
	// MaxAggregates bounds the aggregates of an operator: sets of them are kept
	// in one word.
	MaxAggregates = 64

	never Tick = math.MaxInt64
)

// Options define an Operator.
type Options struct {
	Window     Window
	Aggregates []Aggregate

	// PerKey gives every timeline key its own watermark (TIMESTAMP BY … OVER):
	// records come by AddFor, windows close by FireKey and, for the timelines
	// that trail, by Fire with the floor.
	PerKey bool

	// AcceptLate admits records below the watermark (action accept). Windows
	// are then kept until the watermark passes their end by more than Grace,
	// and rows that were emitted are revised by FireDirty (semantics 5.3).
	AcceptLate bool
	Grace      Tick

	// Prefix starts every key in the store and in scratch space.
	Prefix []byte
	// Scratch takes what the budget leaves no memory for; nil keeps everything
	// in memory that is not in the store.
	Scratch Scratch
	// Budget is shared by operators; nil is unlimited.
	Budget *Budget
}

// Operator keeps the windows of one query over one partition: it takes
// records, and gives a row for each window and group when the watermark passes
// the window's last instant. Its rows are a function of the calls it got, not
// of memory, of saves, or of the order in maps. It is not safe for concurrent
// use.
type Operator struct {
	opt    Options
	edges  edges
	sh     *shape
	fin    []finisher
	single bool // each window is one slice
	lookup bool // closed slices keep their index

	keys   *keyTable
	slices []*slice // by time
	cur    *slice   // that the last record went to
	mark   Tick     // watermark, or floor, reached
	next   Tick     // last instant of the earliest window that has something to emit
	hint   int      // rows to expect in a slice

	touched uint8 // by Touch; means nothing

	stacks    stacks
	ranks     rankSet
	parts     []partial
	folds     [4]fold
	cursors   []cursor
	takingOut []uint32
	result    Result
	blocks    blockWriter
	lines     map[string]*line
	lineText  int // bytes of their names
	sweepAt   int // lines at which those without use are dropped
	late      []lateWindow

	maxFree   int // buffers kept for reuse, of each sort
	freeRows  []*rows
	freeIndex []index

	store   State
	gone    []Tick // slices that the store still has
	charged int64  // bytes booked on the budget
	grew    bool   // since the last settle
	err     error
}

// New makes an operator without state.
func New(o Options) (*Operator, error) {
	if err := o.Window.Validate(); err != nil {
		return nil, err
	}
	if len(o.Aggregates) > MaxAggregates {
		return nil, fmt.Errorf("%d aggregates, at most %d are possible: %w", len(o.Aggregates), MaxAggregates, ErrOptions)
	}
	for _, a := range o.Aggregates {
		if a.Kind > Varp || a.Overflow > OverflowSaturate || a.Kind != CountAll && a.Arg < 0 {
			return nil, fmt.Errorf("aggregate %+v is unknown: %w", a, ErrOptions)
		}
	}
	if o.Grace < 0 || o.Grace > MaxSpan || o.Grace > 0 && !o.AcceptLate {
		return nil, fmt.Errorf("grace %d needs the action accept and at most %d days: %w", o.Grace, MaxSpan/Day, ErrOptions)
	}
	o.Aggregates, o.Prefix = slices.Clone(o.Aggregates), slices.Clone(o.Prefix)
	op := &Operator{
		opt:     o,
		edges:   o.Window.edges(),
		sh:      newShape(o.Aggregates),
		single:  o.Window.Hop >= o.Window.Size,
		lookup:  o.PerKey || o.AcceptLate,
		keys:    newKeyTable(),
		mark:    Unset,
		next:    never,
		lines:   map[string]*line{},
		sweepAt: leastKeySweep,
		stacks:  stacks{denied: Unset},
	}
	op.maxFree = int(min(128, 8+2*(o.Window.Size/o.Window.Hop)))
	op.fin = finishersOf(o.Aggregates, op.sh.cols)
	op.result.Values = make([]Value, len(o.Aggregates))
	return op, nil
}

// Outcome tells what became of a record.
type Outcome struct {
	// Refused are the aggregates, as a bit set, that could not take their
	// argument; the others have.
	Refused uint64
	// NewSlice says that the record began a slice: its position may be the
	// oldest that the state depends on.
	NewSlice bool
	// NoWindow says that no window holds the record's time, PastGrace that all
	// that do are closed for good. Either way the record is in no result.
	NoWindow, PastGrace bool
}

// Add takes a record: its position in the input, its time after the policies,
// its group key as a tuple and the arguments of the aggregates. Nothing it is
// given is kept.
func (o *Operator) Add(pos int64, ts Tick, key []byte, args []Value) Outcome {
	if o.lookup {
		return o.addLookup(nil, pos, ts, key, args)
	}
	if ts < o.mark {
		return Outcome{PastGrace: true}
	}
	var out Outcome
	s := o.cur
	if s == nil || ts <= s.lo || ts > s.hi {
		lo, hi := o.edges.slice(ts)
		if s, out = o.sliceFor(lo, hi, pos); s == nil {
			return out
		}
		o.cur = s
		o.next = min(o.next, o.firstOpen(s, o.mark))
	}
	row, _ := o.rowFor(s, key)
	out.Refused = o.take(s, row, args)
	if o.grew {
		o.settle()
	}
	return out
}

// sliceFor finds or makes the slice (lo, hi].
func (o *Operator) sliceFor(lo, hi Tick, pos int64) (*slice, Outcome) {
	i := o.search(hi)
	if i < len(o.slices) && o.slices[i].hi == hi {
		s := o.slices[i]
		if s.place != inMemory {
			o.restore(s)
		}
		return s, Outcome{}
	}
	first, last := o.edges.windowsOf(lo, hi)
	if first > last {
		return nil, Outcome{NoWindow: true}
	}
	s := o.newSlice(lo, hi, pos)
	o.slices = slices.Insert(o.slices, i, s)
	o.grew = true
	return s, Outcome{NewSlice: true}
}

// search returns the place of the first slice that does not end before t.
func (o *Operator) search(t Tick) int {
	i, _ := slices.BinarySearchFunc(o.slices, t, func(s *slice, t Tick) int {
		if s.hi < t {
			return -1
		}
		return 1
	})
	return i
}

func (o *Operator) newSlice(lo, hi Tick, pos int64) *slice {
	s := &slice{lo: lo, hi: hi, pos: pos, rows: o.newRows(o.sh.lowest)}
	s.first, s.last = o.edges.windowsOf(lo, hi)
	o.newIndex(s)
	return s
}

func (o *Operator) newIndex(s *slice) {
	if n := len(o.freeIndex); n > 0 {
		s.index = o.freeIndex[n-1]
		o.freeIndex = o.freeIndex[:n-1]
	}
	s.index.rebuild(s.rows.keys, o.keys.numbers(), max(o.hint, len(s.rows.keys)))
}

// rowFor finds or makes the row of a key in a slice with an index.
func (o *Operator) rowFor(s *slice, key []byte) (row int, isNew bool) {
	n, _, ok := o.keys.find(key)
	if !ok {
		n = o.keys.intern(key)
	}
	if row = s.index.find(s.rows.keys, n); row >= 0 {
		if s.rows.words[row*s.rows.lay.stride] != 0 {
			return row, false
		}
	} else {
		row = len(s.rows.keys)
		o.grew = o.grew || row == cap(s.rows.keys)
		clear(s.rows.push(n))
		s.index.insert(s.rows.keys, o.keys.numbers())
	}
	o.keys.take(n)
	s.live++
	return row, true
}

// firstOpen is the last instant of the first window of a slice that ends at
// mark or later.
func (o *Operator) firstOpen(s *slice, mark Tick) Tick {
	if s.first >= mark {
		return s.first
	}
	return o.edges.firstLast(mark)
}

// take adds a record to a row of an open slice.
func (o *Operator) take(s *slice, row int, args []Value) (refused uint64) {
	s.changed = true
	l := s.rows.lay
	w := s.rows.row(row)
	w[0]++
	for i := range o.sh.cols {
		c := &o.sh.cols[i]
		v := &args[c.arg]
		switch m := l.modes[i]; {
		case v.kind == Null:
		case c.parts == 0:
			w[l.at[i]]++
		case m == modeFloat && v.kind == Float:
			c.addFloat(w[l.at[i]:], v.Float())
		case m == modeBigint && v.kind == Bigint:
			c.addBigint(w[l.at[i]:], v.Bigint())
		default:
			if to := joinModes(m, modeFor(v.kind)); to != m {
				o.sh.widen(s.rows, o.sh.with(l, i, to))
				l = s.rows.lay
				w = s.rows.row(row)
				o.grew = true
			}
			switch l.modes[i] {
			case modeFloat:
				c.addFloat(w[l.at[i]:], v.Float())
			case modeBigint:
				c.addBigint(w[l.at[i]:], v.Bigint())
			default:
				refused |= c.addWide(w[l.at[i]:], v, &s.rows.texts)
			}
		}
	}
	return refused
}

// Oldest is the smallest position of a record that open state depends on: a
// replay that starts there rebuilds it. It reports false without state.
func (o *Operator) Oldest() (int64, bool) {
	if len(o.slices) == 0 {
		return 0, false
	}
	pos := o.slices[0].pos
	for _, s := range o.slices {
		pos = min(pos, s.pos)
	}
	return pos, true
}

// OpenWindows counts the windows that hold records and are not closed by the
// watermark or, with a timeline a key, by the floor.
func (o *Operator) OpenWindows() int {
	n := 0
	from := o.mark
	for _, s := range o.slices {
		if x := o.firstOpen(s, from); x <= s.last {
			n += int((s.last-x)/o.edges.hop) + 1
			from = s.last + 1
		}
	}
	return n
}

// NextEnd is the end of the earliest window that has records and is not closed
// by the watermark (with a timeline a key: by the floor).
func (o *Operator) NextEnd() (Tick, bool) {
	if o.next == never {
		return 0, false
	}
	return o.next + o.edges.after, true
}

// OpenKeys counts the group keys with records in memory.
func (o *Operator) OpenKeys() int { return o.keys.live }

// StateBytes is about what the operator holds in memory.
func (o *Operator) StateBytes() int64 {
	b := o.keys.bytes() + o.stacks.bytes()
	for _, s := range o.slices {
		b += sliceBytes + int64(cap(s.index.slots)*4)
		if s.rows != nil {
			b += s.rows.bytes()
		}
	}
	for _, r := range o.freeRows {
		b += r.bytes()
	}
	for i := range o.freeIndex {
		b += int64(cap(o.freeIndex[i].slots) * 4)
	}
	b += int64(len(o.lines)*lineBytes + o.lineText)
	for i := range o.late {
		b += lateBytes + int64(len(o.late[i].rows)*lateBytes)
	}
	return b
}

// Sizes that StateBytes reckons with: structs and their place in maps.
const (
	sliceBytes = 200
	lineBytes  = 120
	lateBytes  = 40
)
