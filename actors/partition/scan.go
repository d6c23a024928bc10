package partition

import (
	"fmt"
	"slices"
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

// Scan visits up to limit devices with ids above after, in order of id. It
// returns the last id that it passed and whether others may follow. The visitor
// must not change the device; its error ends the scan and is returned.
func (d *Devices) Scan(after string, limit int, visit func(*Device) error) (last string, more bool, err error) {
	c := &d.cache
	changed := c.order.above(after)
	last = after
	passed := 0
	// pass visits a device unless it is gone.
	pass := func(id string, doc *Device) error {
		last = id
		passed++
		if doc == nil {
			return nil
		}
		return visit(doc)
	}
	lo := deviceKey(after)
	if after != "" {
		lo = append(lo, 0)
	}
	err = c.state.Scan(lo, []byte{0, 1, 'd' + 1}, func(k, v []byte) error {
		id := string(k[3:])
		for len(changed) > 0 && changed[0] < id {
			if passed == limit {
				return errEnough
			}
			if err := pass(changed[0], c.changed[changed[0]]); err != nil {
				return err
			}
			changed = changed[1:]
		}
		if passed == limit {
			return errEnough
		}
		if len(changed) > 0 && changed[0] == id {
			changed = changed[1:]
			return pass(id, c.changed[id])
		}
		doc, err := decodeDevice(v)
		if err != nil {
			return fmt.Errorf("stored device %q: %w", id, err)
		}
		return pass(id, doc)
	})
	if err == errEnough {
		return last, true, nil
	}
	for err == nil && len(changed) > 0 {
		if passed == limit {
			return last, true, nil
		}
		err = pass(changed[0], c.changed[changed[0]])
		changed = changed[1:]
	}
	return last, false, err
}
