package device

import "encoding/binary"

// Stored is the stored form of a twin, read in place: what Twin.AppendBinary
// wrote. It checks no more than it needs in order not to read past the end;
// whoever finds the bytes bad decodes them for the error.
type Stored struct {
	in       []byte
	sections [3]int32 // where a section's root begins; 0: not known yet
}

// StoredTwin returns the twin of the bytes, which must not change while it is in
// use.
func StoredTwin(b []byte) Stored { return Stored{in: b} }

// SectionName names a section of a twin.
type SectionName uint8

// The sections in the order that they are stored in.
const (
	SectionTags SectionName = iota
	SectionDesired
	SectionReported
)

// StoredValue is a value of a stored twin. The zero StoredValue is of nothing.
type StoredValue struct{ in []byte } // begins at the node

// Section returns a section's root; ok is false when the bytes are bad.
func (s *Stored) Section(name SectionName) (v StoredValue, ok bool) {
	if s.sections[0] == 0 && !s.begin() {
		return StoredValue{}, false
	}
	for n := range name {
		if s.sections[n+1] != 0 {
			continue
		}
		r := storedReader{s.in, int(s.sections[n])}
		r.skipNode()
		r.uint() // the section's version
		if r.at < 0 {
			return StoredValue{}, false
		}
		s.sections[n+1] = int32(r.at)
	}
	return StoredValue{s.in[s.sections[name]:]}, true
}

// begin finds the first section.
func (s *Stored) begin() bool {
	if len(s.in) == 0 || s.in[0] != twinFormat {
		return false
	}
	r := storedReader{s.in, 1}
	r.uint() // version
	r.uint() // changes
	r.skipText()
	r.uint() // the section's version
	s.sections[0] = int32(max(r.at, 0))
	return r.at > 0
}

// Exists reports whether there is a value.
func (v StoredValue) Exists() bool { return len(v.in) > 0 }

// Object reports whether the value is an object.
func (v StoredValue) Object() bool { return len(v.in) > 0 && v.in[0] == nodeObject }

// Text returns the JSON text of a value that is no object, nil when the bytes
// are bad. It is a part of the stored bytes.
func (v StoredValue) Text() []byte {
	if !v.Exists() || v.Object() {
		return nil
	}
	r := storedReader{v.in, 0}
	r.head()
	r.uint() // size
	return r.text()
}

// Member returns the member of an object, the zero value where there is none;
// ok is false when the bytes are bad.
func (v StoredValue) Member(key string) (member StoredValue, ok bool) {
	if !v.Object() {
		return StoredValue{}, true
	}
	r := storedReader{v.in, 0}
	r.head()
	for range r.uint() {
		name := r.text()
		if r.at < 0 {
			return StoredValue{}, false
		}
		if string(name) >= key { // members are sorted
			if string(name) == key {
				return StoredValue{r.in[r.at:]}, r.at < len(r.in)
			}
			return StoredValue{}, true
		}
		r.skipNode()
	}
	return StoredValue{}, r.at >= 0
}

// storedReader walks over bytes; at is negative once they have proved bad.
type storedReader struct {
	in []byte
	at int
}

func (r *storedReader) uint() uint64 {
	if r.at >= 0 && r.at < len(r.in) && r.in[r.at] < 0x80 {
		r.at++
		return uint64(r.in[r.at-1])
	}
	return r.long()
}

func (r *storedReader) long() uint64 {
	if r.at < 0 || r.at >= len(r.in) {
		r.at = -1
		return 0
	}
	v, n := binary.Uvarint(r.in[r.at:])
	if n <= 0 {
		r.at = -1
		return 0
	}
	r.at += n
	return v
}

// skipInt passes a number without its value.
func (r *storedReader) skipInt() {
	for at := r.at; at >= 0 && at < len(r.in); at++ {
		if r.in[at] < 0x80 {
			r.at = at + 1
			return
		}
	}
	r.at = -1
}

func (r *storedReader) text() []byte {
	n := r.uint()
	if r.at < 0 || n > uint64(len(r.in)-r.at) {
		r.at = -1
		return nil
	}
	r.at += int(n)
	return r.in[r.at-int(n) : r.at]
}

func (r *storedReader) skipText() { r.text() }

// head passes kind, time and version of a node and reports whether it is an
// object.
func (r *storedReader) head() (object bool) {
	if r.at < 0 || r.at >= len(r.in) || r.in[r.at] > nodeLeaf {
		r.at = -1
		return false
	}
	object = r.in[r.at] == nodeObject
	r.at++
	r.skipInt()
	r.skipInt()
	return object
}

// skipNode passes a node with all below it. The nodes come depth first, so a
// count of those still to come is all that it takes, however deep they are.
func (r *storedReader) skipNode() {
	for left, first := uint64(1), true; left > 0 && r.at >= 0; left, first = left-1, false {
		if !first {
			r.skipText() // its key
		}
		if !r.head() {
			r.skipInt() // size
			r.skipText()
			continue
		}
		count := r.uint()
		if r.at < 0 || count > uint64(len(r.in)-r.at) {
			r.at = -1
			return
		}
		left += count
	}
}
