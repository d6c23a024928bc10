package partition

import "github.com/gemello/gemello/windows"

// rewinder remembers the clocks at the places that a rebuild of a lost store
// can start from (design 5): before each record that began a slice, and with a
// timeline a key, every second of arrival time as well. A key's timeline never
// trails the floor A − L and never leads arrival by more than Y, so a rebuild
// that starts L + Y of arrival time earlier knows all of them again. The trail
// has a mark a second, fewer when L + Y is long.
type rewinder struct {
	back  windows.Tick // L + Y with a timeline a key, else 0
	marks []rewindMark // by offset
}

type rewindMark struct {
	offset int64
	clocks windows.Clocks
}

// trailMarks bounds the marks of the trail.
const trailMarks = 512

// trail notes the clocks before the record at offset if the trail is due.
func (r *rewinder) trail(offset int64, c windows.Clocks) {
	n := len(r.marks)
	if r.back > 0 && (n == 0 || c.Arrival >= r.marks[n-1].clocks.Arrival+max(windows.Second, r.back/trailMarks)) {
		r.marks = append(r.marks, rewindMark{offset, c})
	}
}

// mark notes the clocks before the record at offset, which began a slice.
func (r *rewinder) mark(offset int64, c windows.Clocks) {
	if n := len(r.marks); n == 0 || r.marks[n-1].offset != offset {
		r.marks = append(r.marks, rewindMark{offset, c})
	}
}

// point returns where a rebuild would start, given the oldest record that open
// state depends on, and forgets what lies before it. Without open state and
// trail that is the present.
func (r *rewinder) point(oldest int64, open bool, position int64, now windows.Clocks) rewindMark {
	at := rewindMark{position, now}
	n := len(r.marks)
	if open {
		for n = 0; n < len(r.marks) && r.marks[n].offset < oldest; n++ {
		}
		if n == len(r.marks) {
			at = rewindMark{oldest, windows.Clocks{Arrival: windows.Unset, Newest: windows.Unset, Watermark: windows.Unset}}
		} else {
			at = r.marks[n]
		}
	}
	if r.back > 0 {
		for n > 0 && (n == len(r.marks) || r.marks[n].clocks.Arrival == windows.Unset || r.marks[n].clocks.Arrival > at.clocks.Arrival-r.back) {
			n--
		}
		if len(r.marks) > 0 && r.marks[n].offset < at.offset {
			at = r.marks[n]
			at.clocks.Newest = windows.Unset
		}
	}
	r.marks = append(r.marks[:0], r.marks[n:]...)
	return at
}
