package partition

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// Keys of a devices core's store (docs/format/store.md): stage 1 is the devices
// core, kind 'd' a document by its key (device.Ref.Key), kind 'm' the counts.
var countsKey = []byte{0, 1, 'm', 'c'}

func deviceKey(key string) []byte { return append([]byte{0, 1, 'd'}, key...) }

// documents are the decoded documents of a partition: those changed since the
// last save, and a bounded cache of clean ones in two generations. What the
// cache holds is not observable.
type documents struct {
	state   windows.State
	limit   int
	changed map[string]*Device // nil: deleted
	young   map[string]*Device // nil: known to be absent
	old     map[string]*Device
	order   changedOrder // the ids of changed
	// fresh are the keys put since the indexes' overlays were brought up to date,
	// some of them repeatedly, while noting.
	fresh  []string
	noting bool
}

func newDocuments(state windows.State, limit int) documents {
	return documents{
		state: state, limit: limit,
		changed: map[string]*Device{}, young: map[string]*Device{}, old: map[string]*Device{},
	}
}

// get returns the document, or nil when there is none. The caller must not
// change it; change a copy and put that.
func (c *documents) get(id string) (*Device, error) {
	if doc, ok := c.changed[id]; ok {
		return doc, nil
	}
	if doc, ok := c.young[id]; ok {
		return doc, nil
	}
	doc, ok := c.old[id]
	if !ok {
		v, err := c.state.Get(deviceKey(id))
		if err != nil {
			return nil, err
		}
		if v != nil {
			if doc, err = decodeDevice(v); err != nil {
				return nil, fmt.Errorf("stored device %q: %w", id, err)
			}
		}
	}
	c.remember(id, doc)
	return doc, nil
}

// find is get by a key that is not kept.
func (c *documents) find(key string) (*Device, error) {
	if doc, ok := c.changed[key]; ok {
		return doc, nil
	}
	if doc, ok := c.young[key]; ok {
		return doc, nil
	}
	return c.get(strings.Clone(key))
}

func (c *documents) remember(id string, doc *Device) {
	if len(c.young) >= c.limit/2 {
		c.young, c.old = map[string]*Device{}, c.young
	}
	c.young[id] = doc
}

func (c *documents) put(id string, doc *Device) {
	if _, ok := c.changed[id]; !ok {
		c.order.add(id)
	}
	c.changed[id] = doc
	c.note(id)
}

// peek returns a changed document.
func (c *documents) peek(id string) *Device { return c.changed[id] }

func (c *documents) dirty() []string { return slices.Collect(maps.Keys(c.changed)) }

// saved moves the changed documents to the clean cache.
func (c *documents) saved() {
	for id, doc := range c.changed {
		delete(c.old, id)
		c.remember(id, doc)
	}
	c.changed = map[string]*Device{}
	c.order = changedOrder{}
}

// list merges the saved documents with the changed ones in order of their keys,
// those above after that want accepts.
func (c *documents) list(after string, limit int, want func(key string) bool) ([]Device, error) {
	ids := slices.Sorted(maps.Keys(c.changed))
	i, found := slices.BinarySearch(ids, after)
	if found {
		i++
	}
	var out []Device
	changedUpTo := func(id string, inclusive bool) {
		for ; i < len(ids) && len(out) < limit && (ids[i] < id || inclusive && ids[i] == id); i++ {
			if doc := c.changed[ids[i]]; doc != nil && want(ids[i]) {
				out = append(out, *doc)
			}
		}
	}
	lo := deviceKey(after)
	if after != "" {
		lo = append(lo, 0)
	}
	err := c.state.Scan(lo, []byte{0, 1, 'd' + 1}, func(k, v []byte) error {
		id := string(k[3:])
		changedUpTo(id, true)
		if len(out) >= limit {
			return errEnough
		}
		if _, ok := c.changed[id]; ok || !want(id) {
			return nil
		}
		doc, err := decodeDevice(v)
		if err != nil {
			return fmt.Errorf("stored device %q: %w", id, err)
		}
		out = append(out, *doc)
		return nil
	})
	if err != nil && err != errEnough {
		return nil, err
	}
	for ; i < len(ids) && len(out) < limit; i++ {
		if doc := c.changed[ids[i]]; doc != nil && want(ids[i]) {
			out = append(out, *doc)
		}
	}
	return out, nil
}

var errEnough = fmt.Errorf("enough")

// Device is what a partition keeps of one device or module.
type Device struct {
	device.Document
	Session string   // id of the current session; empty while disconnected
	Modules []string // module ids of a device, sorted; never changed in place
	Queue   device.CommandQueue
	// Configured is what configurations have made of the entity, as JSON; "" for
	// nothing.
	Configured string
}

// appendDevice encodes a device (docs/format/device-state.md): version, identity
// and twin with their lengths, presence, session, module ids, the queue's heads.
func appendDevice(dst []byte, d *Device) ([]byte, error) {
	dst = append(dst, deviceFormat)
	for _, part := range []interface {
		AppendBinary([]byte) ([]byte, error)
	}{&d.Identity, &d.Twin} {
		from := len(dst)
		var err error
		if dst, err = part.AppendBinary(dst); err != nil {
			return nil, err
		}
		dst = insertLength(dst, from)
	}
	connected := byte(0)
	if d.Presence.Connected {
		connected = 1
	}
	dst = append(dst, connected)
	for _, t := range [...]time.Time{d.Presence.Updated, d.Presence.LastActivity} {
		tick := windows.Unset
		if !t.IsZero() {
			tick = windows.TickOf(t)
		}
		dst = binary.AppendVarint(dst, int64(tick))
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Session)))
	dst = append(dst, d.Session...)
	dst = binary.AppendUvarint(dst, uint64(len(d.Modules)))
	for _, m := range d.Modules {
		dst = binary.AppendUvarint(dst, uint64(len(m)))
		dst = append(dst, m...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Configured)))
	dst = append(dst, d.Configured...)
	return d.Queue.AppendBinary(dst)
}

// insertLength puts the length of what lies from from on before it.
func insertLength(b []byte, from int) []byte {
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(b)-from))
	b = append(b, length[:n]...)
	copy(b[from+n:], b[from:len(b)-n])
	copy(b[from:], length[:n])
	return b
}

// deviceFormat is the version of a stored device.
const deviceFormat = 3

// storedDevice is a stored device in its parts: the two documents as they
// encode themselves, what is known of its connection, and all behind that.
type storedDevice struct {
	identity, twin []byte
	presence       device.Presence // without Queued
	rest           []byte
}

// split finds the parts without reading what is in them.
func (s *storedDevice) split(b []byte) error {
	if len(b) == 0 || b[0] != deviceFormat {
		return fmt.Errorf("%w: version of a device", errCorrupt)
	}
	b = b[1:]
	for _, part := range [...]*[]byte{&s.identity, &s.twin} {
		var ok bool
		if *part, b, ok = cutBytes(b); !ok {
			return fmt.Errorf("%w: a device is cut off", errCorrupt)
		}
	}
	if len(b) == 0 || b[0] > 1 {
		return fmt.Errorf("%w: presence of a device", errCorrupt)
	}
	s.presence = device.Presence{Connected: b[0] == 1}
	b = b[1:]
	for _, t := range [...]*time.Time{&s.presence.Updated, &s.presence.LastActivity} {
		v, n := binary.Varint(b)
		if !shortest(b, n) {
			return fmt.Errorf("%w: presence of a device", errCorrupt)
		}
		b = b[n:]
		if tick := windows.Tick(v); tick != windows.Unset {
			*t = tick.Time()
		}
	}
	s.rest = b
	return nil
}

// cutBytes takes a text with its length off the front.
func cutBytes(b []byte) (part, rest []byte, ok bool) {
	l, n := binary.Uvarint(b)
	if !shortest(b, n) || l > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(l)], b[n+int(l):], true
}

func decodeDevice(b []byte) (*Device, error) {
	var s storedDevice
	if err := s.split(b); err != nil {
		return nil, err
	}
	d := &Device{}
	if err := d.Identity.UnmarshalBinary(s.identity); err != nil {
		return nil, err
	}
	if err := d.Twin.UnmarshalBinary(s.twin); err != nil {
		return nil, err
	}
	d.Presence, b = s.presence, s.rest
	session, b, ok := cutBytes(b)
	if !ok {
		return nil, fmt.Errorf("%w: session of a device", errCorrupt)
	}
	d.Session = string(session)
	count, n := binary.Uvarint(b)
	if !shortest(b, n) || count > device.MaxModules {
		return nil, fmt.Errorf("%w: modules of a device", errCorrupt)
	}
	b = b[n:]
	for i := range count {
		var m []byte
		if m, b, ok = cutBytes(b); !ok || i > 0 && d.Modules[i-1] >= string(m) {
			return nil, fmt.Errorf("%w: modules of a device", errCorrupt)
		}
		d.Modules = append(d.Modules, string(m))
	}
	text, b, ok := cutBytes(b)
	if !ok {
		return nil, fmt.Errorf("%w: configurations of a device", errCorrupt)
	}
	d.Configured = string(text)
	configured, err := d.configured()
	if err != nil {
		return nil, err
	}
	d.Configurations = configured.shown()
	if err := d.Queue.UnmarshalBinary(b); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	d.Presence.Queued = d.Queue.Len()
	return d, nil
}

// appendState encodes a record of the state topic: version, the log offset
// below which all changes of the device are contained, the device.
func appendState(dst []byte, position int64, d *Device) ([]byte, error) {
	dst = append(dst, 1)
	dst = binary.AppendVarint(dst, position)
	return appendDevice(dst, d)
}

func decodeState(b []byte) (*Device, error) {
	if len(b) == 0 || b[0] != 1 {
		return nil, fmt.Errorf("%w: version of a state record", errCorrupt)
	}
	_, n := binary.Varint(b[1:])
	if !shortest(b[1:], n) {
		return nil, fmt.Errorf("%w: position of a state record", errCorrupt)
	}
	return decodeDevice(b[1+n:])
}

func appendCounts(dst []byte, s *device.Statistics) []byte {
	dst = append(dst, 1)
	for _, n := range [...]int64{s.Total, s.Enabled, s.Disabled, s.Connected} {
		dst = binary.AppendVarint(dst, n)
	}
	return dst
}

func decodeCounts(b []byte) (s device.Statistics, err error) {
	if len(b) == 0 || b[0] != 1 {
		return s, fmt.Errorf("%w: version of the counts", errCorrupt)
	}
	b = b[1:]
	for _, p := range [...]*int64{&s.Total, &s.Enabled, &s.Disabled, &s.Connected} {
		v, n := binary.Varint(b)
		if !shortest(b, n) {
			return s, fmt.Errorf("%w: counts", errCorrupt)
		}
		*p, b = v, b[n:]
	}
	if len(b) > 0 {
		return s, fmt.Errorf("%w: bytes after the counts", errCorrupt)
	}
	return s, nil
}

// shortest reports whether b begins with a varint of n bytes that no shorter one
// could stand for; n is as package binary gives it.
func shortest(b []byte, n int) bool { return n == 1 || n > 1 && b[n-1] != 0 }
