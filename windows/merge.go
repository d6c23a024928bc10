package windows

// mergeRow writes a ⊕ b to dst, which is neither: a is the earlier one, whose
// minimum and maximum stay on equality. All three have the layout l.
func (sh *shape) mergeRow(l *layout, dst []uint64, dt *texts, a []uint64, at *texts, b []uint64, bt *texts) {
	dst[0] = a[0] + b[0]
	for i := range sh.cols {
		c, o := &sh.cols[i], l.at[i]
		switch l.modes[i] {
		case modeFloat:
			c.mergeFloat(dst[o:o+c.narrow.width], a[o:o+c.narrow.width], b[o:o+c.narrow.width])
		case modeBigint:
			c.mergeBigint(dst[o:o+c.narrow.width], a[o:o+c.narrow.width], b[o:o+c.narrow.width])
		case modeWide:
			c.mergeWide(dst[o:o+c.wide.width], dt, a[o:o+c.wide.width], at, b[o:o+c.wide.width], bt)
		}
	}
}

// copyRow writes src to dst of the same layout.
func (sh *shape) copyRow(l *layout, dst []uint64, dt *texts, src []uint64, st *texts) {
	copy(dst, src)
	if !l.texts || len(st.s) == 0 {
		return
	}
	for i := range sh.cols {
		if l.modes[i] == modeWide {
			sh.cols[i].shareTexts(dst[l.at[i]:], dt, st)
		}
	}
}

// shareTexts makes the strings of a row copied from elsewhere its own.
func (c *column) shareTexts(w []uint64, dt, st *texts) {
	if c.parts&partMin != 0 && Kind(w[2]) == String {
		w[c.wide.min] = dt.share(st.s[w[c.wide.min]])
	}
	if c.parts&partMax != 0 && Kind(w[2]>>metaMaxShift) == String {
		w[c.wide.max] = dt.share(st.s[w[c.wide.max]])
	}
}

func (c *column) mergeFloat(d, a, b []uint64) {
	an, bn := a[0], b[0]
	if bn == 0 {
		copy(d, a)
		return
	}
	if an == 0 {
		copy(d, b)
		return
	}
	d[0] = an + bn
	if c.parts&partSum != 0 {
		o := c.narrow.sum
		s, e := addTo(f64(a[o]), f64(a[o+1]), f64(b[o]))
		d[o], d[o+1] = u64(s), u64(e+f64(b[o+1]))
	}
	if c.parts&partMoments != 0 {
		mergeMoments(d, a, an, b, bn, c.narrow.moments)
	}
	if c.parts&partMin != 0 {
		o := c.narrow.min
		d[o] = a[o]
		if x := f64(b[o]); x < f64(a[o]) || x != x {
			d[o] = b[o]
		}
	}
	if c.parts&partMax != 0 {
		o := c.narrow.max
		d[o] = a[o]
		if x := f64(b[o]); x > f64(a[o]) || x != x {
			d[o] = b[o]
		}
	}
}

func mergeMoments(d, a []uint64, an uint64, b []uint64, bn uint64, o int) {
	m := moments{f64(a[o]), f64(a[o+1])}.plus(an, moments{f64(b[o]), f64(b[o+1])}, bn)
	d[o], d[o+1] = u64(m.mean), u64(m.m2)
}

func mergeInt(d, a, b []uint64, o int) {
	s := int128{a[o+1], a[o]}.plus(int128{b[o+1], b[o]})
	d[o], d[o+1] = s.lo, s.hi
}

func (c *column) mergeBigint(d, a, b []uint64) {
	an, bn := a[0], b[0]
	if bn == 0 {
		copy(d, a)
		return
	}
	if an == 0 {
		copy(d, b)
		return
	}
	d[0] = an + bn
	if c.parts&partSum != 0 {
		mergeInt(d, a, b, c.narrow.sum)
	}
	if c.parts&partMoments != 0 {
		mergeMoments(d, a, an, b, bn, c.narrow.moments)
	}
	if c.parts&partMin != 0 {
		o := c.narrow.min
		d[o] = uint64(min(int64(a[o]), int64(b[o])))
	}
	if c.parts&partMax != 0 {
		o := c.narrow.max
		d[o] = uint64(max(int64(a[o]), int64(b[o])))
	}
}

func (c *column) mergeWide(d []uint64, dt *texts, a []uint64, at *texts, b []uint64, bt *texts) {
	d[0], d[1] = a[0]+b[0], a[1]+b[1]
	meta := (a[2] | b[2]) & (metaFloat | metaBigint)
	if c.parts&partSum != 0 {
		o := c.wide.sum
		switch {
		case b[2]&metaFloat == 0:
			d[o], d[o+1] = a[o], a[o+1]
		case a[2]&metaFloat == 0:
			d[o], d[o+1] = b[o], b[o+1]
		default:
			s, e := addTo(f64(a[o]), f64(a[o+1]), f64(b[o]))
			d[o], d[o+1] = u64(s), u64(e+f64(b[o+1]))
		}
		mergeInt(d, a, b, o+2)
	}
	if c.parts&partMoments != 0 {
		mergeMoments(d, a, a[1], b, b[1], c.wide.moments)
	}
	if c.parts&partMin != 0 {
		meta |= c.mergeExtreme(d, dt, a, at, b, bt, c.wide.min, 0, -1)
	}
	if c.parts&partMax != 0 {
		meta |= c.mergeExtreme(d, dt, a, at, b, bt, c.wide.max, metaMaxShift, 1)
	}
	d[2] = meta
}

// mergeExtreme sets the value at place and returns its kind in the meta word.
func (c *column) mergeExtreme(d []uint64, dt *texts, a []uint64, at *texts, b []uint64, bt *texts, place int, shift uint, sign int) uint64 {
	ka, kb := Kind(a[2]>>shift), Kind(b[2]>>shift)
	v := Value{}
	switch {
	case kb == Null:
		if ka == Null {
			d[place] = 0
			return 0
		}
		v = at.value(ka, a[place])
	case ka == Null:
		v = bt.value(kb, b[place])
	default:
		v = at.value(ka, a[place])
		if w := bt.value(kb, b[place]); further(&w, &v, sign) {
			v = w
		}
	}
	d[place] = v.num
	if v.kind == String {
		d[place] = dt.share(v.str)
	}
	return uint64(v.kind) << shift
}

// mergeRows replaces dst by a ⊕ b, where keys are ordered by rank in all
// three. Rows of one key alone are copied.
func (sh *shape) mergeRows(dst, a, b *rows, rank []uint32) {
	l := sh.join(a.lay, b.lay)
	sh.widen(a, l)
	sh.widen(b, l)
	dst.reset(l)
	s := l.stride
	dst.reserve(max(len(a.keys), len(b.keys)))
	i, j := 0, 0
	for i < len(a.keys) && j < len(b.keys) {
		ka, kb := a.keys[i], b.keys[j]
		if ka == kb {
			sh.mergeRow(l, dst.push(ka), &dst.texts, a.words[i*s:i*s+s], &a.texts, b.words[j*s:j*s+s], &b.texts)
			i++
			j++
		} else if rank[ka] < rank[kb] {
			sh.copyRow(l, dst.push(ka), &dst.texts, a.words[i*s:i*s+s], &a.texts)
			i++
		} else {
			sh.copyRow(l, dst.push(kb), &dst.texts, b.words[j*s:j*s+s], &b.texts)
			j++
		}
	}
	for ; i < len(a.keys); i++ {
		sh.copyRow(l, dst.push(a.keys[i]), &dst.texts, a.words[i*s:i*s+s], &a.texts)
	}
	for ; j < len(b.keys); j++ {
		sh.copyRow(l, dst.push(b.keys[j]), &dst.texts, b.words[j*s:j*s+s], &b.texts)
	}
}
