package partition

import (
	"fmt"
	"slices"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// changedOrder keeps the ids of changed documents so that they can be walked in
// order without sorting them all for each slice of a scan.
type changedOrder struct {
	sorted []string
	fresh  []string // added since, unsorted; none is in sorted
}

func (o *changedOrder) add(id string) { o.fresh = append(o.fresh, id) }

// above returns the ids above after, in order.
func (o *changedOrder) above(after string) []string {
	if len(o.fresh) > 0 {
		slices.Sort(o.fresh)
		merged := make([]string, 0, len(o.sorted)+len(o.fresh))
		i, j := 0, 0
		for i < len(o.sorted) && j < len(o.fresh) {
			if o.sorted[i] < o.fresh[j] {
				merged = append(merged, o.sorted[i])
				i++
			} else {
				merged = append(merged, o.fresh[j])
				j++
			}
		}
		merged = append(merged, o.sorted[i:]...)
		o.sorted, o.fresh = append(merged, o.fresh[j:]...), nil
	}
	i, found := slices.BinarySearch(o.sorted, after)
	if found {
		i++
	}
	return o.sorted[i:]
}

// Row is a device or module that a scan passes, decoded only when it has to be.
// It is valid until the visitor returns.
type Row struct {
	Ref    device.Ref
	doc    *Device
	stored []byte
	source query.Source
	parts  query.Stored
	err    error
}

// newRow returns the row that a scan fills anew for each entity.
func newRow() *Row {
	r := &Row{}
	r.parts.Decoded = func() *device.Document {
		doc, err := r.Device()
		if err != nil {
			return nil
		}
		return &doc.Document
	}
	return r
}

// decoded makes the row that of a document.
func (r *Row) decoded(key string, doc *Device) {
	r.Ref, r.doc, r.stored, r.err = device.ParseKey(key), doc, nil, nil
	r.source = &query.Twin{Document: &doc.Document, ModuleID: r.Ref.Module}
}

// of makes the row that of stored bytes.
func (r *Row) of(key string, b []byte) error {
	var s storedDevice
	if err := s.split(b); err != nil {
		return err
	}
	r.Ref, r.doc, r.stored, r.err = device.ParseKey(key), nil, b, nil
	r.parts.Ref, r.parts.Twin, r.parts.Presence = r.Ref, device.StoredTwin(s.twin), s.presence
	r.source = &r.parts
	return nil
}

// Source resolves paths of the row.
func (r *Row) Source() query.Source { return r.source }

// Device returns the whole, which must not be changed. The error is of bytes
// that can't be read.
func (r *Row) Device() (*Device, error) {
	if r.doc == nil && r.err == nil {
		r.doc, r.err = decodeDevice(r.stored)
	}
	return r.doc, r.err
}

// Scan visits devices, or with modules set all modules of them, with keys
// (device.Ref.Key) above after, in order; it passes up to limit entities of
// either sort. It returns the last key that it passed and whether others may
// follow. The visitor's error ends the scan and is returned, and so does a row
// that can't be read.
func (d *Devices) Scan(after string, modules bool, limit int, visit func(*Row) error) (last string, more bool, err error) {
	last, more, _, err = d.scan(after, query.Span{}, modules, limit, visit)
	return last, more, err
}

// scan is Scan within a range of keys, everywhere for an empty one. It returns how
// many entities it passed, too.
func (d *Devices) scan(after string, in query.Span, modules bool, limit int, visit func(*Row) error) (last string, more bool, passed int, err error) {
	c := &d.cache
	lo, hi := append(deviceKey(after), 0), []byte{0, 1, 'd' + 1}
	if after < in.Lo || after == "" {
		lo = deviceKey(in.Lo)
	}
	if in.Hi != "" {
		hi = deviceKey(in.Hi)
	}
	changed := c.order.above(after)
	from, _ := slices.BinarySearch(changed, in.Lo)
	changed = changed[from:]
	if in.Hi != "" {
		to, _ := slices.BinarySearch(changed, in.Hi)
		changed = changed[:to]
	}
	last = after
	row := newRow()
	// pass visits an entity unless it is gone or of the other sort.
	pass := func(key string, doc *Device, stored []byte) error {
		last = key
		passed++
		if doc == nil && stored == nil || isModule(key) != modules {
			return nil
		}
		if doc != nil {
			row.decoded(key, doc)
		} else if err := row.of(key, stored); err != nil {
			return fmt.Errorf("stored device %q: %w", key, err)
		}
		return row.visited(key, visit)
	}
	err = c.state.Scan(lo, hi, func(k, v []byte) error {
		key := string(k[3:])
		for len(changed) > 0 && changed[0] < key {
			if passed == limit {
				return errEnough
			}
			if err := pass(changed[0], c.changed[changed[0]], nil); err != nil {
				return err
			}
			changed = changed[1:]
		}
		if passed == limit {
			return errEnough
		}
		if len(changed) > 0 && changed[0] == key {
			changed = changed[1:]
			return pass(key, c.changed[key], nil)
		}
		return pass(key, nil, v)
	})
	if err == errEnough {
		return last, true, passed, nil
	}
	for err == nil && len(changed) > 0 {
		if passed == limit {
			return last, true, passed, nil
		}
		err = pass(changed[0], c.changed[changed[0]], nil)
		changed = changed[1:]
	}
	return last, false, passed, err
}

// visited visits the row and says when it proved unreadable.
func (r *Row) visited(key string, visit func(*Row) error) error {
	if err := visit(r); err != nil {
		return err
	}
	if r.err != nil {
		return fmt.Errorf("stored device %q: %w", key, r.err)
	}
	return nil
}
