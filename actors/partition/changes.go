package partition

import (
	"github.com/gemello/gemello/device"
)

// Change is a document that a record has changed.
type Change struct {
	Key  string  // device.Ref.Key
	Doc  *Device // as it is now, nil when it is gone; it must not be changed
	Next int64   // the offset after the newest record that changed it
}

// changes are the documents put while somebody watches, each as it is last. They
// are no state of the core: nothing is decided by them, and a new core has none.
type changes struct {
	on   bool
	from int64
	list []Change
	at   map[string]int // in list, by key
}

func (c *changes) put(key string, doc *Device, next int64) {
	if !c.on || next <= c.from {
		return
	}
	if i, ok := c.at[key]; ok {
		c.list[i] = Change{key, doc, next}
		return
	}
	c.at[key] = len(c.list)
	c.list = append(c.list, Change{key, doc, next})
}

// Watch has the core note the documents that records at offset from and above
// change, until they are taken by Changes. What is noted is bounded only by how
// often it is taken.
func (d *Devices) Watch(from int64) { d.changes = changes{on: true, from: from, at: map[string]int{}} }

// Unwatch ends the noting and drops what was not taken.
func (d *Devices) Unwatch() { d.changes = changes{} }

// Watching reports whether changes are noted.
func (d *Devices) Watching() bool { return d.changes.on }

// Changes visits what was changed since the last call, each document once, in the
// order of the first change.
func (d *Devices) Changes(visit func(Change)) {
	for _, c := range d.changes.list {
		visit(c)
	}
	clear(d.changes.list)
	d.changes.list = d.changes.list[:0]
	clear(d.changes.at)
}

// Reach says which documents a record of the device log may change.
type Reach uint8

// The reaches.
const (
	ReachNone    Reach = iota
	ReachEntity        // the entity of its key and module header, and the device that the module is of
	ReachModules       // a device and its modules, of which some may be made but none goes
	ReachGone          // a device and all its modules, which go
	ReachAll           // any of the partition
)

// ReachOf tells it from the record's key, kind and module header alone, so that
// who reads the log need not apply it.
func ReachOf(r *Record) Reach {
	kind := string(r.Header(device.HeaderKind))
	switch {
	case kind == device.KindConfig:
		return ReachAll
	case len(r.Key) > 0 && r.Key[0] == '/':
		return ReachNone // what is no device's
	case len(r.Header(device.HeaderModule)) > 0:
		return ReachEntity
	}
	switch kind {
	case device.KindTelemetry, "":
		return ReachEntity
	case device.KindDelete:
		return ReachGone
	}
	return ReachModules // configurations may have something for modules of the device as it is now
}
