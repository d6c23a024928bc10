package windows

import "slices"

// layout is the form of the rows of one slice: the mode of each column. The
// first word of a row counts its records and is zero only where a row was
// taken out.
type layout struct {
	modes  []mode
	at     []int // of each column in a row
	stride int
	texts  bool // rows may refer to strings
}

// maxLayouts bounds those kept for reuse; beyond it, which takes many columns
// of changing kinds, each slice has its own.
const maxLayouts = 256

// shape is what the rows of an operator are made of.
type shape struct {
	cols    []column
	layouts map[string]*layout
	lowest  *layout
	key     []byte // scratch
	modes   []mode // scratch
}

func newShape(aggs []Aggregate) *shape {
	sh := &shape{cols: columnsOf(aggs), layouts: map[string]*layout{}}
	sh.modes = make([]mode, len(sh.cols))
	for i := range sh.cols {
		sh.modes[i] = sh.cols[i].lowestMode()
	}
	sh.lowest = sh.layout(sh.modes)
	return sh
}

func (sh *shape) layout(modes []mode) *layout {
	sh.key = sh.key[:0]
	for _, m := range modes {
		sh.key = append(sh.key, byte(m))
	}
	if l, ok := sh.layouts[string(sh.key)]; ok {
		return l
	}
	l := &layout{modes: slices.Clone(modes), at: make([]int, len(modes)), stride: 1}
	for i, m := range modes {
		l.at[i] = l.stride
		l.stride += sh.cols[i].width(m)
		l.texts = l.texts || m == modeWide && sh.cols[i].parts&(partMin|partMax) != 0
	}
	if len(sh.layouts) < maxLayouts {
		sh.layouts[string(sh.key)] = l
	}
	return l
}

// join is the narrowest layout that holds rows of both.
func (sh *shape) join(a, b *layout) *layout {
	if a == b {
		return a
	}
	for i := range sh.cols {
		sh.modes[i] = joinModes(a.modes[i], b.modes[i])
	}
	return sh.layout(sh.modes)
}

// with is the layout with one column raised to a mode.
func (sh *shape) with(l *layout, col int, m mode) *layout {
	copy(sh.modes, l.modes)
	sh.modes[col] = m
	return sh.layout(sh.modes)
}

// rows are the partials of many keys in one layout.
type rows struct {
	lay   *layout
	keys  []uint32
	words []uint64
	texts texts
}

func (r *rows) row(i int) []uint64 {
	s := r.lay.stride
	return r.words[i*s : i*s+s : i*s+s]
}

// reserve makes room for about n rows in empty rows.
func (r *rows) reserve(n int) {
	if cap(r.keys) < n {
		r.keys = make([]uint32, 0, n+n/8)
	}
	if cap(r.words) < n*r.lay.stride {
		r.words = make([]uint64, 0, (n+n/8)*r.lay.stride)
	}
}

// push appends a row whose words are whatever they were.
func (r *rows) push(key uint32) []uint64 {
	n, s := len(r.words), r.lay.stride
	r.keys = append(r.keys, key)
	if n+s <= cap(r.words) {
		r.words = r.words[:n+s]
	} else {
		r.words = append(r.words, make([]uint64, s)...)
	}
	return r.words[n : n+s : n+s]
}

func (r *rows) reset(l *layout) {
	r.lay = l
	r.keys, r.words = r.keys[:0], r.words[:0]
	r.texts.reset()
}

func (r *rows) bytes() int64 {
	return int64(cap(r.keys)*4 + cap(r.words)*8 + cap(r.texts.s)*16 + r.texts.bytes)
}

// widen converts the rows to a layout that is no narrower.
func (sh *shape) widen(r *rows, to *layout) {
	if r.lay == to {
		return
	}
	// A slice begins in the lowest layout with the buffer of an earlier one, which
	// its first values must not throw away.
	var few [64]uint64
	from := *r
	if n := len(r.keys) * to.stride; len(r.words) <= len(few) && n <= cap(r.words) {
		from.words = few[:copy(few[:], r.words)]
		r.words = r.words[:n]
		clear(r.words)
	} else {
		r.words = make([]uint64, n)
	}
	r.lay = to
	for i := range r.keys {
		sh.convertRow(r.row(i), to, from.row(i), from.lay)
	}
}

// convertRow writes src in a layout no narrower to dst, which is all zero.
func (sh *shape) convertRow(dst []uint64, to *layout, src []uint64, from *layout) {
	dst[0] = src[0]
	for i := range sh.cols {
		c := &sh.cols[i]
		d, s := dst[to.at[i]:], src[from.at[i]:]
		switch m := from.modes[i]; {
		case m == modeNone:
		case m == to.modes[i]:
			copy(d, s[:c.width(m)])
		default:
			c.toWide(d, s, m)
		}
	}
}

// toWide converts one column of a row from a narrow mode.
func (c *column) toWide(d, s []uint64, from mode) {
	n := s[0]
	if n == 0 {
		return
	}
	kind, sum := Bigint, metaBigint
	if from == modeFloat {
		kind, sum = Float, metaFloat
	}
	d[0], d[1], d[2] = n, n, uint64(sum)
	if c.parts&partSum != 0 {
		at := c.wide.sum
		if kind == Bigint {
			at += 2
		}
		copy(d[at:at+2], s[c.narrow.sum:])
	}
	if c.parts&partMoments != 0 {
		copy(d[c.wide.moments:c.wide.moments+2], s[c.narrow.moments:])
	}
	if c.parts&partMin != 0 {
		d[2] |= uint64(kind)
		d[c.wide.min] = s[c.narrow.min]
	}
	if c.parts&partMax != 0 {
		d[2] |= uint64(kind) << metaMaxShift
		d[c.wide.max] = s[c.narrow.max]
	}
}
