package partition

import (
	"maps"
	"slices"
	"strings"

	"github.com/gemello/gemello/windows"
)

// shelf keeps small values of a devices core by name, over its store: those
// changed since the last save in memory. A name is a kind letter and text. In
// the state topic its key is a slash and the name, which no device id begins
// with.
type shelf struct {
	state   windows.State
	changed map[string][]byte   // nil: deleted
	touched map[string]struct{} // changed since the last take
}

func newShelf(state windows.State) shelf {
	return shelf{state: state, changed: map[string][]byte{}, touched: map[string]struct{}{}}
}

func shelfKey(name string) []byte { return append([]byte{0, 1}, name...) }

// get returns nil for a name that is absent.
func (s *shelf) get(name string) ([]byte, error) {
	if v, ok := s.changed[name]; ok {
		return v, nil
	}
	return s.state.Get(shelfKey(name))
}

// put keeps v, which must not be changed any more; nil deletes.
func (s *shelf) put(name string, v []byte) {
	s.changed[name] = v
	s.touched[name] = struct{}{}
}

// scan visits the names that begin with prefix and lie above after, in order,
// until visit returns false or an error. What visit changes is not seen.
func (s *shelf) scan(prefix, after string, visit func(name string, v []byte) (bool, error)) error {
	after = max(after, prefix)
	var names []string
	for n := range s.changed {
		if n > after && strings.HasPrefix(n, prefix) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	more := true
	upTo := func(limit string, all bool) error {
		for more && len(names) > 0 && (all || names[0] <= limit) {
			name := names[0]
			names = names[1:]
			if v := s.changed[name]; v != nil {
				var err error
				if more, err = visit(name, v); err != nil {
					return err
				}
			}
		}
		return nil
	}
	overlay := map[string]bool{}
	for _, n := range names {
		overlay[n] = true
	}
	lo, hi := append(shelfKey(after), 0), prefixEnd(shelfKey(prefix))
	err := s.state.Scan(lo, hi, func(k, v []byte) error {
		name := string(k[2:])
		if err := upTo(name, false); err != nil {
			return err
		}
		if !more {
			return errEnough
		}
		if overlay[name] {
			return nil
		}
		var err error
		if more, err = visit(name, slices.Clone(v)); err == nil && !more {
			err = errEnough
		}
		return err
	})
	if err != nil && err != errEnough {
		return err
	}
	return upTo("", true)
}

// take emits the changelog of what was touched.
func (s *shelf) take(d *Devices, e *Effects, topic uint32) {
	for _, name := range slices.Sorted(maps.Keys(s.touched)) {
		v := s.changed[name]
		b := e.room()
		from := len(b)
		b = append(append(b, '/'), name...)
		mid := len(b)
		b = append(b, v...)
		e.done(topic, b, from, mid)
		e.alongside()
		if v == nil {
			e.tombstone()
		}
	}
	clear(s.touched)
}

// save writes what was changed.
func (s *shelf) save(b windows.Batch) {
	for _, name := range slices.Sorted(maps.Keys(s.changed)) {
		k := shelfKey(name)
		if v := s.changed[name]; v != nil {
			b.Set(k, v)
		} else {
			b.DeleteRange(k, append(slices.Clone(k), 0))
		}
	}
	clear(s.changed)
}

// restore takes a record of the state topic; it reports false when the key is
// another's.
func (s *shelf) restore(key string, v []byte) bool {
	name, ok := strings.CutPrefix(key, "/")
	if ok {
		s.changed[name] = slices.Clone(v)
	}
	return ok
}
