package partition

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/gemello/gemello/device/query"
	"github.com/gemello/gemello/windows"
)

// Secondary indexes are derived from the documents: what the store holds of them
// is written with the documents that it is of, and what was changed since lies
// over it in memory. They change no answer, only what it costs, so their set is
// neither in the log nor in the changelog: the host says which there are to be.

// MaxIndexes bounds the indexes of a core.
const MaxIndexes = 32

// maxPending bounds the entries that wait for the next Save while an index is
// built.
const maxPending = 16 << 10

// Kinds of an index's keys (docs/format/store.md).
const (
	indexKind      = 'p' // + id: definition
	indexEntryKind = 'v' // + id, collection, value, entity key
	indexFormat    = 1
	indexIDLen     = 8
)

// Collections in the keys of entries.
const (
	indexDevices = 0
	indexModules = 1
)

// index is one index. Entities up to built, or all when it is whole, have their
// entries in the store or among pending.
type index struct {
	path    *query.Path
	text    string
	id      [indexIDLen]byte
	built   string
	whole   bool
	ready   bool     // whole, and what was pending is saved
	pending []string // entries, without the prefix of their keys
	touched bool     // the definition is to be saved
	overlay overlay  // of entities changed since the last Save
}

// IndexState says how far an index is.
type IndexState struct {
	Path  string
	Ready bool
	Built string // key of the last entity that has entries, while it is not whole
}

func newIndex(path *query.Path) (*index, error) {
	text, ok := path.IndexText()
	if !ok {
		return nil, fmt.Errorf("no index over %v", path.Steps)
	}
	x := &index{path: path, text: text, overlay: newOverlay()}
	sum := sha256.Sum256([]byte(text))
	copy(x.id[:], sum[:])
	return x, nil
}

func (x *index) key() []byte { return append([]byte{0, 1, indexKind}, x.id[:]...) }

// prefix is that of the entries' keys.
func (x *index) prefix() []byte { return append([]byte{0, 1, indexEntryKind}, x.id[:]...) }

func (x *index) state() IndexState {
	s := IndexState{Path: x.text, Ready: x.ready}
	if !x.whole {
		s.Built = x.built
	}
	return s
}

// covers reports whether the entity's entries are in the store as the store has
// the entity.
func (x *index) covers(key string) bool { return x.whole || key <= x.built && x.built != "" }

// appendDefinition encodes what is saved of the index itself: version, whether it
// is whole, how far it is, the path.
func (x *index) appendDefinition(dst []byte) []byte {
	whole := byte(0)
	if x.whole {
		whole = 1
	}
	dst = append(dst, indexFormat, whole)
	dst = binary.AppendUvarint(dst, uint64(len(x.built)))
	dst = append(dst, x.built...)
	return append(dst, x.text...)
}

// decodeIndex reads a definition; false for one of another version or unreadable,
// whose index is to be built again.
func decodeIndex(id, b []byte) (*index, bool) {
	if len(b) < 3 || b[0] != indexFormat || b[1] > 1 {
		return nil, false
	}
	built, text, ok := cutBytes(b[2:])
	if !ok {
		return nil, false
	}
	path, err := query.ParseIndexPath(string(text))
	if err != nil {
		return nil, false
	}
	x, err := newIndex(path)
	if err != nil || x.text != string(text) || string(id) != string(x.id[:]) {
		return nil, false
	}
	x.built, x.whole, x.ready = string(built), b[1] == 1, b[1] == 1
	return x, true
}

// indexes are those of a core, in order of their paths.
type indexes struct {
	state   windows.State
	list    []*index
	dropped [][]byte // keys of what the next Save removes: definitions
	old, is *Row     // scratch
}

// loadIndexes reads the definitions that the store holds.
func (d *Devices) loadIndexes() error {
	x := &d.indexes
	*x = indexes{state: d.o.State, old: newRow(), is: newRow()}
	err := x.state.Scan([]byte{0, 1, indexKind}, []byte{0, 1, indexKind + 1}, func(k, v []byte) error {
		if one, ok := decodeIndex(k[3:], v); ok {
			x.list = append(x.list, one)
		} else {
			x.dropped = append(x.dropped, slices.Clone(k))
		}
		return nil
	})
	slices.SortFunc(x.list, func(a, b *index) int { return strings.Compare(a.text, b.text) })
	d.cache.noting = x.anyReady()
	return err
}

func (x *indexes) anyReady() bool {
	return slices.ContainsFunc(x.list, func(i *index) bool { return i.ready })
}

func (x *indexes) named(text string) *index {
	i, ok := slices.BinarySearchFunc(x.list, text, func(i *index, text string) int { return strings.Compare(i.text, text) })
	if !ok {
		return nil
	}
	return x.list[i]
}

// SetIndexes makes the indexes those of the given paths, of which at most
// MaxIndexes count. New ones are built by BuildIndexes and not used before they
// are whole. The error is of a path that can't be indexed.
func (d *Devices) SetIndexes(paths []string) error {
	var list []*index
	for _, p := range paths[:min(len(paths), MaxIndexes)] {
		path, err := query.ParseIndexPath(p)
		if err != nil {
			return err
		}
		x, err := newIndex(path)
		if err != nil {
			return err
		}
		if has := d.indexes.named(x.text); has != nil {
			x = has
		} else {
			x.touched = true
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b *index) int { return strings.Compare(a.text, b.text) })
	list = slices.CompactFunc(list, func(a, b *index) bool { return a.text == b.text })
	for _, x := range d.indexes.list {
		if !slices.Contains(list, x) {
			d.indexes.dropped = append(d.indexes.dropped, x.key())
		}
	}
	d.indexes.list = list
	d.noteChanges()
	return nil
}

// noteChanges has changed entities noted for the overlays while there is an index
// that is used.
func (d *Devices) noteChanges() {
	d.cache.noting = d.indexes.anyReady()
	if !d.cache.noting {
		d.cache.fresh = nil
	}
}

// Indexes returns the state of the indexes in order of their paths.
func (d *Devices) Indexes() []IndexState {
	out := make([]IndexState, len(d.indexes.list))
	for i, x := range d.indexes.list {
		out[i] = x.state()
	}
	return out
}

// BuildIndexes gives up to limit entities of the store their entries in an index
// that is not whole. It reports whether there is more to do at once; what is built
// waits for a Save, which the core then asks for.
func (d *Devices) BuildIndexes(limit int) (more bool, err error) {
	for _, x := range d.indexes.list {
		if x.whole || len(x.pending) >= maxPending {
			continue
		}
		return true, d.build(x, limit)
	}
	return false, nil
}

func (d *Devices) build(x *index, limit int) error {
	lo := deviceKey(x.built)
	if x.built != "" {
		lo = append(lo, 0)
	}
	n := 0
	err := d.o.State.Scan(lo, []byte{0, 1, 'd' + 1}, func(k, v []byte) error {
		if n++; n > limit {
			return errEnough
		}
		key := string(k[3:])
		err := d.indexes.entries(x, d.indexes.is, key, v, func(e []byte) { x.pending = append(x.pending, string(e)) })
		x.built = key
		return err
	})
	x.touched = true
	if err == errEnough {
		return nil
	}
	x.whole = err == nil
	return err
}

// entries visits an entity's entries as keys without their prefix.
func (x *indexes) entries(i *index, row *Row, key string, stored []byte, visit func([]byte)) error {
	if stored == nil {
		return nil
	}
	if err := row.of(key, stored); err != nil {
		return fmt.Errorf("stored device %q: %w", key, err)
	}
	rowEntries(i, row, key, visit)
	if row.err != nil {
		return fmt.Errorf("stored device %q: %w", key, row.err)
	}
	return nil
}

func rowEntries(i *index, row *Row, key string, visit func([]byte)) {
	var room [256]byte
	v := row.Source().Lookup(i.path)
	v.IndexValues(func(value []byte) {
		e := append(room[:0], indexCollection(isModule(key)))
		e = append(e, value...)
		visit(append(e, key...))
	})
}

func indexCollection(modules bool) byte {
	if modules {
		return indexModules
	}
	return indexDevices
}

// urgent reports whether indexes wait for a Save.
func (x *indexes) urgent() bool {
	return len(x.dropped) > 0 || slices.ContainsFunc(x.list, func(i *index) bool {
		return i.whole && !i.ready || len(i.pending) >= maxPending
	})
}

// save writes what is not of a changed entity.
func (x *indexes) save(b windows.Batch) {
	for _, k := range x.dropped {
		b.Delete(k)
		lo := slices.Clone(k)
		lo[2] = indexEntryKind
		b.DeleteRange(lo, prefixEnd(lo))
	}
	x.dropped = nil
	for _, i := range x.list {
		if !i.touched {
			continue
		}
		b.Set(i.key(), i.appendDefinition(nil))
		prefix := i.prefix()
		for _, e := range i.pending {
			b.Set(append(prefix, e...), nil)
		}
	}
}

// replace writes the change of an entity's entries from what the store holds to
// stored, nil for a deleted one, which has not been written yet.
func (x *indexes) replace(b windows.Batch, key string, stored []byte) error {
	if !slices.ContainsFunc(x.list, func(i *index) bool { return i.covers(key) }) {
		return nil
	}
	was, err := x.state.Get(deviceKey(key))
	if err != nil {
		return err
	}
	for _, i := range x.list {
		if !i.covers(key) {
			continue
		}
		var before, now []string
		if err := x.entries(i, x.old, key, was, func(e []byte) { before = append(before, string(e)) }); err != nil {
			return err
		}
		if err := x.entries(i, x.is, key, stored, func(e []byte) { now = append(now, string(e)) }); err != nil {
			return err
		}
		prefix := i.prefix()
		for _, e := range before {
			if !slices.Contains(now, e) {
				b.Delete(append(prefix, e...))
			}
		}
		for _, e := range now {
			if !slices.Contains(before, e) {
				b.Set(append(prefix, e...), nil)
			}
		}
	}
	return nil
}

// savedIndexes notes that all is saved.
func (d *Devices) savedIndexes() {
	for _, i := range d.indexes.list {
		i.pending, i.touched, i.ready = nil, false, i.whole
		i.overlay = newOverlay()
	}
	d.cache.fresh = nil
	d.noteChanges()
}
