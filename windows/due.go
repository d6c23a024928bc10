package windows

// Due reports whether Fire or FireKey with a watermark of w could emit a row or
// forget state; false means that moving there is not observable.
func (o *Operator) Due(w Tick) bool {
	if w <= o.mark || len(o.slices) == 0 {
		return false
	}
	return o.next < w || o.opt.PerKey || o.opt.AcceptLate
}
