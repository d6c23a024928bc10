package partition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gemello/gemello/device/query"
)

// maxCandidates is how many entries of indexes one slice of a search reads, and so
// how many entities an index may lead to in a partition: where there are more,
// passing all of them in order is as good, since a page of so many is soon full.
const maxCandidates = 4096

// guesses of what a range of ids holds, next to which indexes are chosen.
const (
	modulesOfDevice = 16
	prefixOfIDs     = maxCandidates
)

// Find visits the rows of a reach as Scan does all rows: in the order of their
// keys, from the one above after on. Which way it takes to them shows in used
// alone; the visitor evaluates the whole condition.
func (d *Devices) Find(reach *query.Reach, after string, modules bool, limit int, visit func(*Row) error) (last string, more bool, used query.Access, err error) {
	f := finder{core: d, after: after, modules: modules}
	w, err := f.look(reach, maxCandidates)
	used.Entries = f.entries
	if err != nil {
		return after, false, used, err
	}
	counted := func(r *Row) error {
		used.Rows++
		return visit(r)
	}
	switch {
	case w == nil:
		used.By = query.ByScan
		last, more, err = d.Scan(after, modules, limit, counted)
	case w.spans != nil:
		used.By = query.ByID
		last, more, err = d.scanSpans(w.spans, after, modules, limit, counted)
	default:
		used.By, used.Indexes = query.ByID, w.indexes
		if w.indexes != nil {
			used.By = query.ByIndex
		}
		last, more, err = d.visitKeys(w.keys, after, modules, limit, counted)
	}
	return last, more, used, err
}

// way leads to the rows of a reach: the keys of entities or ranges of them, in
// order.
type way struct {
	keys    []string // those above the finder's place
	spans   []query.Span
	indexes []string
	cost    int
}

// finder looks for the cheapest way.
type finder struct {
	core    *Devices
	after   string
	modules bool
	entries int // read so far
}

// look returns the cheapest way to a reach that costs at most budget, nil when
// there is none.
func (f *finder) look(r *query.Reach, budget int) (*way, error) {
	switch {
	case r == nil || budget < 0:
		return nil, nil
	case r.All != nil:
		return f.cheapest(r.All, budget)
	case r.Any != nil:
		return f.together(r.Any, budget)
	case r.Path != "":
		return f.indexed(r, budget)
	}
	w := &way{}
	if !r.Exact {
		w.spans, w.cost = r.Keys, prefixOfIDs
		if f.modules {
			w.cost = min(prefixOfIDs, modulesOfDevice*len(r.Keys))
		}
		return w, nil
	}
	for _, k := range r.Keys {
		if k.Lo > f.after {
			w.keys = append(w.keys, k.Lo)
		}
	}
	w.cost = len(w.keys)
	return w, nil
}

// cheapest looks at ids before indexes, which have to be read to know their cost.
func (f *finder) cheapest(all []*query.Reach, budget int) (best *way, err error) {
	for _, ids := range []bool{true, false} {
		for _, r := range all {
			if (r.Keys != nil) != ids {
				continue
			}
			w, err := f.look(r, budget)
			if err != nil {
				return nil, err
			}
			if w != nil && (best == nil || w.cost < best.cost) {
				best = w
				budget = min(budget, w.cost-1)
			}
		}
	}
	return best, nil
}

// together needs a way to each.
func (f *finder) together(any []*query.Reach, budget int) (*way, error) {
	out := &way{}
	keys := false
	for _, r := range any {
		w, err := f.look(r, budget-out.cost)
		if w == nil || err != nil {
			return nil, err
		}
		out.cost += w.cost
		out.spans = append(out.spans, w.spans...)
		out.keys = append(out.keys, w.keys...)
		out.indexes = append(out.indexes, w.indexes...)
		keys = keys || w.spans == nil
	}
	if out.spans != nil && keys {
		return nil, nil
	}
	slices.Sort(out.keys)
	out.keys = slices.Compact(out.keys)
	slices.Sort(out.indexes)
	out.indexes = slices.Compact(out.indexes)
	out.spans = disjoint(out.spans)
	return out, nil
}

// disjoint puts ranges in order and joins those that meet.
func disjoint(spans []query.Span) []query.Span {
	slices.SortFunc(spans, func(a, b query.Span) int { return strings.Compare(a.Lo, b.Lo) })
	var out []query.Span
	for _, s := range spans {
		if n := len(out); n > 0 && s.Lo <= out[n-1].Hi {
			out[n-1].Hi = max(out[n-1].Hi, s.Hi)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// indexed reads the keys that an index holds for a reach.
func (f *finder) indexed(r *query.Reach, budget int) (*way, error) {
	if len(r.Spans) == 0 {
		return &way{}, nil // no row passes
	}
	x := f.core.indexes.named(r.Path)
	if x == nil || !x.ready {
		return nil, nil
	}
	f.core.freshen()
	w := &way{indexes: []string{x.text}}
	left := budget
	take := func(entry string) error {
		f.entries++
		if left--; left < 0 {
			return errEnough
		}
		n, err := query.IndexValueLen([]byte(entry[1:]))
		if err != nil {
			return fmt.Errorf("%w: index %s: %w", errCorrupt, x.text, err)
		}
		if key := entry[1+n:]; key > f.after {
			w.keys = append(w.keys, key)
		}
		return nil
	}
	collection := string([]byte{indexCollection(f.modules)})
	prefix := x.prefix()
	for _, s := range r.Spans {
		lo, hi := collection+s.Lo, collection+s.Hi
		if n, err := query.IndexValueLen([]byte(s.Lo)); err == nil && n == len(s.Lo) && f.after != "" && s.One() {
			lo += f.after + "\x00" // within one value entries are in the order of keys
		}
		err := x.stateScan(f.core, prefix, lo, hi, take)
		if err == nil {
			x.overlay.scan(lo, hi, func(e string) bool {
				err = take(e)
				return err == nil
			})
		}
		if err == errEnough {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(w.keys)
	w.keys = slices.Compact(w.keys)
	w.cost = budget - left
	return w, nil
}

func (x *index) stateScan(d *Devices, prefix []byte, lo, hi string, take func(entry string) error) error {
	n := len(prefix)
	return d.o.State.Scan(append(slices.Clip(prefix), lo...), append(slices.Clip(prefix), hi...), func(k, _ []byte) error {
		return take(string(k[n:]))
	})
}

// visitKeys visits the entities with the given keys above after that exist.
func (d *Devices) visitKeys(keys []string, after string, modules bool, limit int, visit func(*Row) error) (last string, more bool, err error) {
	last = after
	row := newRow()
	for i, key := range keys {
		if i == limit {
			return last, true, nil
		}
		last = key
		doc, changed := d.cache.changed[key]
		switch {
		case isModule(key) != modules || changed && doc == nil:
			continue
		case changed:
			row.decoded(key, doc)
		default:
			v, err := d.o.State.Get(deviceKey(key))
			if err != nil {
				return last, false, err
			}
			if v == nil {
				continue
			}
			if err := row.of(key, v); err != nil {
				return last, false, fmt.Errorf("stored device %q: %w", key, err)
			}
		}
		if err := row.visited(key, visit); err != nil {
			return last, false, err
		}
	}
	return last, false, nil
}

// scanSpans scans ranges of keys one after the other.
func (d *Devices) scanSpans(spans []query.Span, after string, modules bool, limit int, visit func(*Row) error) (last string, more bool, err error) {
	last = after
	for _, s := range spans {
		if s.Hi <= after {
			continue
		}
		passed := 0
		last, more, passed, err = d.scan(last, s, modules, limit, visit)
		if err != nil || more {
			return last, more, err
		}
		limit -= passed
	}
	return last, false, nil
}
