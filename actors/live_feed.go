package actors

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

const (
	// liveSliceBytes bounds the rows of one slice of a read.
	liveSliceBytes = 512 << 10
	// liveRetry is how long a feed waits for a core that can't answer, unless it
	// is told that there is one.
	liveRetry = 200 * time.Millisecond
)

// liveFeed carries the changes of one partition from its core to its live
// queries. The core's goroutine notes which documents have changed; the feed's
// goroutine judges them by every query, so that a core waits for no query, and
// reads the partition for those that begin. While no live query is followed the
// core notes nothing and there is no such goroutine.
type liveFeed struct {
	node *Node
	host *host
	seed maphash.Seed
	wake chan struct{} // holds one token after tell

	mu       sync.Mutex // guards the following; the core's goroutine takes it, so nothing blocks while it is held
	open     bool       // the feed's goroutine runs
	at       int64      // records below this offset are in pending or were judged
	missed   bool       // changes below at are not in pending
	pending  []partition.Change
	index    map[string]int // in pending, by key
	joining  []*livePart
	released []liveRelease

	parts []*livePart // of the feed's goroutine
}

func newLiveFeed(n *Node, h *host) *liveFeed {
	return &liveFeed{node: n, host: h, seed: maphash.MakeSeed(), wake: make(chan struct{}, 1), index: map[string]int{}}
}

func (f *liveFeed) tell() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// join adds a query's part; a feed without goroutine gets one.
func (f *liveFeed) join(p *livePart) {
	l := &f.node.live
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return // it has been cut
	}
	f.mu.Lock()
	f.joining = append(f.joining, p)
	begin := !f.open
	f.open = true
	f.mu.Unlock()
	if begin {
		l.wg.Go(func() { f.run(l.ctx) })
	}
	f.tell()
}

// began is called on the core's goroutine before a new core serves anything. It
// may stand before what the one before had applied, which is skipped, or behind
// it, when another node has had the partition meanwhile.
func (f *liveFeed) began(c *devicesCore) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open {
		return
	}
	c.Watch(f.at)
	if c.Position() > f.at {
		f.missLocked()
		f.at = c.Position()
	}
	f.tell()
}

// note is called on the core's goroutine after records were applied.
func (f *liveFeed) note(c *devicesCore) {
	if !c.Watching() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open {
		c.Unwatch()
		return
	}
	c.Changes(f.addLocked)
	f.at = max(f.at, c.Position())
	f.tell()
}

func (f *liveFeed) addLocked(c partition.Change) {
	i, known := f.index[c.Key]
	switch {
	case f.missed:
	case known:
		f.pending[i] = c
	case len(f.pending) == f.node.live.limits.Pending:
		f.missLocked()
	default:
		f.index[c.Key] = len(f.pending)
		f.pending = append(f.pending, c)
	}
}

func (f *liveFeed) missLocked() {
	f.missed, f.pending = true, nil
	clear(f.index)
}

// liveBatch is what was noted since the batch before.
type liveBatch struct {
	changes []partition.Change // in the order of the log
	at      int64
	missed  bool
}

func (f *liveFeed) takeLocked() liveBatch {
	b := liveBatch{f.pending, f.at, f.missed}
	f.pending, f.missed = nil, false
	clear(f.index)
	return b
}

// run serves the feed's queries until there are none.
func (f *liveFeed) run(ctx context.Context) {
	retry := time.NewTimer(liveRetry)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			f.drop(func(*livePart) bool { return true })
			return
		case <-retry.C:
		case <-f.wake:
		}
		for more := true; more; {
			more = f.step(ctx)
		}
		if f.idle() {
			return
		}
		if f.reading() {
			retry.Reset(liveRetry)
		}
	}
}

// idle closes the feed when it has no query left.
func (f *liveFeed) idle() bool {
	f.drop(func(p *livePart) bool { return p.query.over() })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.parts)+len(f.joining) > 0 {
		return false
	}
	f.open = false
	f.takeLocked()
	return true
}

// drop forgets parts and gives their rows back.
func (f *liveFeed) drop(which func(*livePart) bool) {
	f.parts = slices.DeleteFunc(f.parts, func(p *livePart) bool {
		gone := which(p)
		if gone {
			p.query.hold(-len(p.members))
			p.members = nil
		}
		return gone
	})
}

// reading reports whether a part waits to be read.
func (f *liveFeed) reading() bool {
	return slices.ContainsFunc(f.parts, func(p *livePart) bool { return p.reading })
}

// step judges what was noted and reads one slice for every query that has to be
// read and whose reader keeps up; it reports whether there is more to do at once.
func (f *liveFeed) step(ctx context.Context) (more bool) {
	f.mu.Lock()
	b := f.takeLocked()
	joining, released := f.joining, f.released
	f.joining, f.released = nil, nil
	f.mu.Unlock()
	f.judge(&b)
	f.parts = append(f.parts, joining...)
	for _, r := range released {
		r.apply()
	}
	for _, p := range f.parts {
		if !p.reading || p.query.over() || !p.query.room() || ctx.Err() != nil {
			continue
		}
		if p.held {
			f.attach(ctx, p)
			continue
		}
		if !f.slice(ctx, p) {
			return false
		}
		more = more || p.reading
	}
	return more
}

// judge applies a batch to every part.
func (f *liveFeed) judge(b *liveBatch) {
	slices.SortFunc(b.changes, func(x, y partition.Change) int { return int(x.Next - y.Next) })
	for _, p := range f.parts {
		if b.missed {
			f.missedBy(p)
		}
		var events []query.Event
		for i := range b.changes {
			c := &b.changes[i]
			if p.reading && c.Key > p.after {
				p.suspect(c.Key) // the read comes to it
				continue
			}
			events = f.change(p, c, events)
		}
		p.query.push(f.host.partition, events, b.at, !p.reading, false)
	}
}

// missedBy has a part that may have missed changes read again. One that is
// resumed does not know what its reader holds, so its reader has to resume anew.
func (f *liveFeed) missedBy(p *livePart) {
	switch {
	case p.held && !p.isAttached:
	case p.silent:
		p.query.cut(CutMissed)
	default:
		if !p.reading || p.after != "" {
			f.node.metrics.live.resyncs.Inc()
		}
		p.again()
	}
}

// change judges one document by one query.
func (f *liveFeed) change(p *livePart, c *partition.Change, events []query.Event) []query.Event {
	ref := device.ParseKey(c.Key)
	if (ref.Module != "") != p.modules {
		return events
	}
	if c.Doc == nil {
		return p.gone(f, c.Key, c.Next, events)
	}
	source := &query.Twin{Document: &c.Doc.Document, ModuleID: ref.Module}
	if !p.query.query.Match(source) {
		return p.gone(f, c.Key, c.Next, events)
	}
	var row []byte
	if p.query.query.Items != nil {
		row = p.query.query.Row(nil, source)
	} else {
		row = c.Doc.AppendServiceView(nil)
	}
	return p.row(f, c.Key, row, c.Next, query.Added, events)
}

// do runs fn on the core's goroutine with all that was noted before it.
func (f *liveFeed) do(ctx context.Context, fn func(*devicesCore)) (b liveBatch, err error) {
	err = f.host.do(ctx, func(c core) {
		d := c.(*devicesCore)
		f.mu.Lock()
		if !d.Watching() {
			// Nobody was followed when this core began.
			d.Watch(0)
			f.missLocked()
		}
		f.mu.Unlock()
		f.note(d)
		f.mu.Lock()
		b = f.takeLocked()
		f.mu.Unlock()
		fn(d)
	})
	return b, err
}

// slice reads the next rows for a part: false, the core can't answer now.
func (f *liveFeed) slice(ctx context.Context, p *livePart) bool {
	from := p.after
	var keys []string
	var rows [][]byte
	var last string
	var more bool
	var failed error
	b, err := f.do(ctx, func(d *devicesCore) {
		bytes := 0
		q := p.query.query
		last, more, failed = d.Scan(from, p.modules, querySlice, func(r *partition.Row) error {
			if !q.Match(r.Source()) {
				return nil
			}
			row, err := rowOf(q, r)
			if err != nil {
				return err
			}
			keys, rows = append(keys, r.Ref.Key()), append(rows, row)
			if bytes += len(row); bytes > liveSliceBytes {
				return errPage
			}
			return nil
		})
		if failed == errPage {
			more, failed = true, nil
		}
	})
	if err != nil {
		return false
	}
	f.judge(&b)
	if b.missed && from != "" {
		return true // it is read from the beginning
	}
	if failed != nil {
		f.node.logger.Error("a live query can't read a twin; repair or delete it", "partition", f.host.partition, "err", failed)
		p.query.cut(CutFailed)
		return true
	}
	var events []query.Event
	for i, key := range keys {
		events = p.passed(f, key, false, b.at, events)
		kind := query.Added
		if p.silent {
			kind = query.Ready // not to be told
		}
		events = p.row(f, key, rows[i], b.at, kind, events)
		if len(p.known) > 0 && p.known[0] == key {
			p.known = p.known[1:]
		}
	}
	if more {
		events = p.passed(f, last, true, b.at, events)
		p.after = last
	} else {
		for len(p.known) > 0 {
			events = p.gone(f, p.known[0], b.at, events)
			p.known = p.known[1:]
		}
		p.reading, p.silent, p.after, p.known, p.devices = false, false, "", nil, nil
	}
	p.query.push(f.host.partition, events, b.at, !p.reading, true)
	return true
}

// attach tells who holds a part that from now on nothing is missed.
func (f *liveFeed) attach(ctx context.Context, p *livePart) {
	if p.isAttached {
		return
	}
	b, err := f.do(ctx, func(*devicesCore) {})
	if err != nil {
		return
	}
	f.judge(&b)
	p.isAttached = true
	close(p.attached)
}

// liveRelease lets a part that was held be read.
type liveRelease struct {
	part    *livePart
	changed map[string]bool
	silent  bool
}

// release has a part read: with silent, only the keys in changed and those that
// change from now on are told of.
func (f *liveFeed) release(p *livePart, changed map[string]bool, silent bool) {
	f.mu.Lock()
	f.released = append(f.released, liveRelease{p, changed, silent})
	f.mu.Unlock()
	f.tell()
}

func (r *liveRelease) apply() {
	p := r.part
	p.held = false
	if !r.silent {
		p.query.hold(-len(p.members))
		p.silent, p.members, p.known = false, map[string]uint64{}, nil
		return
	}
	if p.modules {
		p.devices = r.changed
	}
	for _, key := range slices.Sorted(maps.Keys(r.changed)) {
		p.suspect(key)
	}
}

// sum is a row's checksum, never 0.
func (f *liveFeed) sum(row []byte) uint64 { return max(1, maphash.Bytes(f.seed, row)) }
