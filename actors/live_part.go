package actors

import (
	"maps"
	"slices"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// livePart is what a partition's feed keeps of one live query: which of the
// partition's rows the reader holds. It belongs to the feed's goroutine.
type livePart struct {
	query   *LiveQuery
	modules bool
	members map[string]uint64 // rows by key, with their checksums; 0: as nobody knows

	reading bool     // the partition is being read, up to after
	after   string   // last key read
	known   []string // keys not read yet, sorted, of rows that the reader may hold
	// silent: the rows that are read and are no members are those that the reader
	// holds, unless they are suspects.
	silent bool
	// devices are those of which a silent read knows no module to be as it was.
	devices map[string]bool
	// held: it is not read until release.
	held       bool
	attached   chan struct{} // closed when no change is missed any more
	isAttached bool
}

// newLivePart returns the part of a query that begins.
func newLivePart(s *LiveQuery) *livePart {
	return &livePart{query: s, modules: s.query.From == query.Modules, members: map[string]uint64{}, reading: true}
}

// again has the partition read from its beginning: what the reader holds and is
// not met any more is gone.
func (p *livePart) again() {
	p.reading, p.after = true, ""
	p.known = slices.Sorted(maps.Keys(p.members))
}

// suspect notes a key that a silent read must not take for known.
func (p *livePart) suspect(key string) {
	if !p.silent || (device.ParseKey(key).Module != "") != p.modules {
		return
	}
	if _, ok := p.members[key]; ok {
		return
	}
	if !p.query.hold(1) {
		p.query.cut(CutRows)
		return
	}
	p.members[key] = 0
	i, _ := slices.BinarySearch(p.known, key)
	p.known = slices.Insert(p.known, i, key)
}

// row takes a row of the answer; fresh is the event of one that the reader does
// not hold, query.Ready for none.
func (p *livePart) row(f *liveFeed, key string, row []byte, next int64, fresh query.EventKind, events []query.Event) []query.Event {
	sum := f.sum(row)
	old, held := p.members[key]
	kind := query.Changed
	switch {
	case held && old == sum:
		return events
	case held && old == 0:
		kind = query.Added
	case !held:
		if !p.query.hold(1) {
			p.query.cut(CutRows)
			return events
		}
		if kind = fresh; kind == query.Ready && p.devices[device.ParseKey(key).Device] {
			kind = query.Added
		}
	}
	p.members[key] = sum
	if kind == query.Ready {
		return events
	}
	return append(events, query.Event{Kind: kind, Ref: device.ParseKey(key), Row: row, Position: f.position(next)})
}

// gone takes a row out of the answer.
func (p *livePart) gone(f *liveFeed, key string, next int64, events []query.Event) []query.Event {
	if _, held := p.members[key]; !held {
		return events
	}
	delete(p.members, key)
	p.query.hold(-1)
	return append(events, query.Event{Kind: query.Removed, Ref: device.ParseKey(key), Position: f.position(next)})
}

// passed says that the read has met all rows up to a key, and with inclusive the
// key itself.
func (p *livePart) passed(f *liveFeed, key string, inclusive bool, next int64, events []query.Event) []query.Event {
	for len(p.known) > 0 && (p.known[0] < key || inclusive && p.known[0] == key) {
		events = p.gone(f, p.known[0], next, events)
		p.known = p.known[1:]
	}
	return events
}

func (f *liveFeed) position(next int64) device.LogPosition {
	return device.LogPosition{Partition: f.host.partition, Next: next}
}
