package windows

import "math"

// A column is one argument of the aggregates with the components that they
// share: AVG(x), SUM(x) and COUNT(x) keep one count and one sum.
type column struct {
	arg   int
	parts parts
	// refused by numbers and by order: the aggregates, as a bit set, that can't
	// take a value that is not a number, or one without an order.
	numeric, ordered uint64
	narrow, wide     offsets
}

// parts are the components of a column beside its count.
type parts uint8

const (
	partSum parts = 1 << iota
	partMoments
	partMin
	partMax
)

// mode is the form of a column's partials in one slice. The narrow forms hold
// what is left to hold while only bigints or only floats were seen; they widen
// without loss when another kind comes, so that no result depends on the mode.
//
//	none    nothing: only NULLs so far
//	bigint  n | lo hi | mean m2 | min | max
//	float   n | s c   | mean m2 | min | max
//	wide    n | num | meta | s c lo hi | mean m2 | min | max
//
// n counts the values, num those that are numbers. A min or max that is a
// string is an index into the texts beside the rows. Words of components that
// no aggregate needs are left out.
type mode uint8

const (
	modeNone mode = iota
	modeBigint
	modeFloat
	modeWide
)

// The meta word: kinds of min and max, and whether sums hold either part.
const (
	metaMaxShift = 8
	metaFloat    = 1 << 16
	metaBigint   = 1 << 17
)

// offsets are the places of components in a row, relative to the column.
type offsets struct{ sum, moments, min, max, width int }

func offsetsOf(p parts, at, sumWords int) offsets {
	o := offsets{}
	for _, c := range []struct {
		part  parts
		place *int
		words int
	}{{partSum, &o.sum, sumWords}, {partMoments, &o.moments, 2}, {partMin, &o.min, 1}, {partMax, &o.max, 1}} {
		if p&c.part != 0 {
			*c.place = at
			at += c.words
		}
	}
	o.width = at
	return o
}

// columnsOf groups aggregates by argument, in order of their first use.
func columnsOf(aggs []Aggregate) []column {
	var cols []column
	for i, a := range aggs {
		if a.Kind == CountAll {
			continue
		}
		c := -1
		for j := range cols {
			if cols[j].arg == a.Arg {
				c = j
			}
		}
		if c < 0 {
			c = len(cols)
			cols = append(cols, column{arg: a.Arg})
		}
		switch a.Kind {
		case Sum, Avg:
			cols[c].parts |= partSum
		case Var, Varp, Stdev, Stdevp:
			cols[c].parts |= partMoments
		case Min:
			cols[c].parts |= partMin
		case Max:
			cols[c].parts |= partMax
		}
		if a.Kind.Numeric() {
			cols[c].numeric |= 1 << i
		}
		if a.Kind == Min || a.Kind == Max {
			cols[c].ordered |= 1 << i
		}
	}
	for i := range cols {
		c := &cols[i]
		c.narrow = offsetsOf(c.parts, 1, 2)
		c.wide = offsetsOf(c.parts, 3, 4)
	}
	return cols
}

// lowestMode is the mode of a column in an empty slice. A column that is only
// counted has one form.
func (c *column) lowestMode() mode {
	if c.parts == 0 {
		return modeFloat
	}
	return modeNone
}

func (c *column) width(m mode) int {
	switch m {
	case modeNone:
		return 0
	case modeWide:
		return c.wide.width
	}
	return c.narrow.width
}

// modeFor is the mode that a value needs by itself.
func modeFor(k Kind) mode {
	switch k {
	case Bigint:
		return modeBigint
	case Float:
		return modeFloat
	}
	return modeWide
}

func joinModes(a, b mode) mode {
	switch {
	case a == b || b == modeNone:
		return a
	case a == modeNone:
		return b
	}
	return modeWide
}

func f64(w uint64) float64 { return math.Float64frombits(w) }
func u64(f float64) uint64 { return math.Float64bits(f) }

// addFloat adds to a row in mode float. NaN, which JSON can't bring, wins
// MIN and MAX; of equal values the first stays.
func (c *column) addFloat(w []uint64, x float64) {
	n := w[0] + 1
	w[0] = n
	if c.parts&partSum != 0 {
		p := w[c.narrow.sum : c.narrow.sum+2]
		s, e := addTo(f64(p[0]), f64(p[1]), x)
		p[0], p[1] = u64(s), u64(e)
	}
	if c.parts&partMin != 0 {
		if m := &w[c.narrow.min]; n == 1 || x < f64(*m) || x != x {
			*m = u64(x)
		}
	}
	if c.parts&partMax != 0 {
		if m := &w[c.narrow.max]; n == 1 || x > f64(*m) || x != x {
			*m = u64(x)
		}
	}
	if c.parts&partMoments != 0 {
		addMoments(w[c.narrow.moments:], n, x)
	}
}

func addMoments(w []uint64, n uint64, x float64) {
	m := moments{f64(w[0]), f64(w[1])}.with(n, x)
	w[0], w[1] = u64(m.mean), u64(m.m2)
}

// addBigint adds to a row in mode bigint.
func (c *column) addBigint(w []uint64, x int64) {
	n := w[0] + 1
	w[0] = n
	if c.parts&partSum != 0 {
		addInt(w[c.narrow.sum:], int128Of(x))
	}
	if c.parts&partMin != 0 {
		if m := &w[c.narrow.min]; n == 1 || x < int64(*m) {
			*m = uint64(x)
		}
	}
	if c.parts&partMax != 0 {
		if m := &w[c.narrow.max]; n == 1 || x > int64(*m) {
			*m = uint64(x)
		}
	}
	if c.parts&partMoments != 0 {
		addMoments(w[c.narrow.moments:], n, float64(x))
	}
}

// addInt adds to the words lo, hi.
func addInt(w []uint64, x int128) {
	s := int128{w[1], w[0]}.plus(x)
	w[0], w[1] = s.lo, s.hi
}

// addWide adds a value of any kind to a row in mode wide and returns the
// aggregates that refused it.
func (c *column) addWide(w []uint64, v *Value, t *texts) (refused uint64) {
	w[0]++
	switch v.kind {
	case Bigint:
		w[1]++
		w[2] |= metaBigint
		if c.parts&partSum != 0 {
			addInt(w[c.wide.sum+2:], int128Of(v.Bigint()))
		}
		if c.parts&partMoments != 0 {
			addMoments(w[c.wide.moments:], w[1], float64(v.Bigint()))
		}
	case Float:
		w[1]++
		w[2] |= metaFloat
		if c.parts&partSum != 0 {
			p := w[c.wide.sum : c.wide.sum+2]
			s, e := addTo(f64(p[0]), f64(p[1]), v.Float())
			p[0], p[1] = u64(s), u64(e)
		}
		if c.parts&partMoments != 0 {
			addMoments(w[c.wide.moments:], w[1], v.Float())
		}
	case Record, Array:
		return c.numeric | c.ordered
	default:
		refused = c.numeric
	}
	if c.parts&partMin != 0 {
		c.keepExtreme(w, c.wide.min, 0, -1, v, t)
	}
	if c.parts&partMax != 0 {
		c.keepExtreme(w, c.wide.max, metaMaxShift, 1, v, t)
	}
	return refused
}

// keepExtreme replaces the value at a place of a wide row if v lies further
// in the direction of sign.
func (c *column) keepExtreme(w []uint64, place int, shift uint, sign int, v *Value, t *texts) {
	had := Kind(w[2] >> shift)
	if had != Null {
		old := t.value(had, w[place])
		if !further(v, &old, sign) {
			return
		}
	}
	w[2] = w[2]&^(0xff<<shift) | uint64(v.kind)<<shift
	if v.kind == String {
		w[place] = t.put(had, w[place], v.str)
		return
	}
	w[place] = v.num
}

// value reads a min or max of a wide row.
func (t *texts) value(k Kind, w uint64) Value {
	if k == String {
		return StringOf(t.s[w])
	}
	return Value{kind: k, num: w}
}

// extremeRank orders kinds for MIN and MAX over a column of several, as key
// tuples do: bit, number, datetime, nvarchar.
func extremeRank(k Kind) int {
	switch k {
	case Bit:
		return 1
	case Bigint, Float:
		return 2
	case Datetime:
		return 3
	}
	return 4
}

// further reports whether v lies beyond old in the direction of sign. Among
// numbers NaN lies beyond all others in both directions.
func further(v, old *Value, sign int) bool {
	if rv, ro := extremeRank(v.kind), extremeRank(old.kind); rv != ro {
		return (rv-ro)*sign > 0
	}
	c, ok := Compare(v, old)
	if !ok {
		return v.isNaN() && !old.isNaN()
	}
	return c*sign > 0
}

// texts holds the strings that rows refer to.
type texts struct {
	s     []string
	bytes int
}

// put stores a copy and returns its index, reusing the place of a string that
// it replaces.
func (t *texts) put(had Kind, at uint64, s string) uint64 {
	s = string(append([]byte(nil), s...))
	if had == String {
		t.bytes += len(s) - len(t.s[at])
		t.s[at] = s
		return at
	}
	return t.share(s)
}

// share stores a string that is nobody's to change.
func (t *texts) share(s string) uint64 {
	t.s = append(t.s, s)
	t.bytes += len(s)
	return uint64(len(t.s) - 1)
}

func (t *texts) reset() {
	clear(t.s)
	t.s, t.bytes = t.s[:0], 0
}
