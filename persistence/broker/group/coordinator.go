package group

import (
	"container/heap"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Ticket names a request that waits; the host chooses it, never 0.
type Ticket uint64

// Reply is the answer to a request.
type Reply struct {
	Ticket   Ticket
	Response kmsg.Response
}

// Client is who sends a request.
type Client struct{ ID, Host string }

// Coordinator is all groups of a broker. It is not safe for concurrent use.
type Coordinator struct {
	opts   Options
	groups map[string]*entry
	due    dueHeap
	// bytes is what all members are remembered by; see Options.MaxBytes.
	bytes int
	// first is what generations of new classic groups come after, last the
	// highest of any group so far.
	first, last int32
	// out collects the replies of the call under way.
	out []Reply
}

// entry is a group with its place among the deadlines.
type entry struct {
	name string
	group
	at    time.Time // no later than the group's next deadline; zero: none
	index int       // in due; -1: not there
	// active is what Options.Activity was told last.
	active bool
}

// group is what classic and consumer groups have in common.
type group interface {
	// tick ends what is overdue.
	tick(now time.Time)
	// deadline returns when tick is needed next; zero is never.
	deadline() time.Time
	// size returns the number of members.
	size() int
	// idle reports whether the group has no members and has given out no ids.
	idle() bool
	// since is when the group came into its state.
	since() time.Time
	// kind, stateName and protocol are what ListGroups tells.
	kind() string
	stateName() string
	protocol() string
	// checkCommit reports whether a member may commit; a nil error is yes.
	checkCommit(now time.Time, c Commit) *kerr.Error
	// checkFetch reports whether a client may see offsets; a nil error is yes.
	checkFetch(member *string, epoch int32) *kerr.Error
	// subscribed reports whether members may still need offsets of the topic.
	subscribed(topic string) bool
}

// New returns a coordinator without groups.
func New(o Options) *Coordinator {
	return &Coordinator{opts: o.ensureDefaults(), groups: make(map[string]*entry)}
}

// StartAfter makes classic groups that are new from here on begin with a
// generation above the given one. Members of an earlier coordinator may come back
// and name a generation in which they owned something; the highest is believed.
func (c *Coordinator) StartAfter(generation int32) { c.first = max(c.first, generation) }

// Generation returns the highest generation that a group has had.
func (c *Coordinator) Generation() int32 { return c.last }

// Deadline returns when Tick must be called next; false is not before
// another call.
func (c *Coordinator) Deadline() (time.Time, bool) {
	if len(c.due) == 0 {
		return time.Time{}, false
	}
	return c.due[0].at, true
}

// Tick tells the time: members that are overdue are removed, rebalances that
// are overdue go on without the missing.
func (c *Coordinator) Tick(now time.Time) []Reply {
	// Each group once: one that is due again at the same moment is due in the
	// next call, so that none can keep the caller.
	var due []*entry
	for len(c.due) > 0 && !c.due[0].at.After(now) {
		due = append(due, heap.Pop(&c.due).(*entry))
	}
	for _, e := range due {
		e.tick(now)
		if e.idle() && !now.Before(e.since().Add(c.opts.EmptyRetention)) {
			c.drop(e)
			continue
		}
		c.schedule(e)
	}
	return c.take()
}

// Members returns the number of groups in memory and of their members.
func (c *Coordinator) Members() (groups, members int) {
	for _, e := range c.groups {
		members += e.size()
	}
	return len(c.groups), members
}

// Known reports whether the group is in memory. Of others the host says
// whether it has stored offsets.
func (c *Coordinator) Known(name string) bool { return c.groups[name] != nil }

// Active reports whether the group has members.
func (c *Coordinator) Active(name string) bool {
	e := c.groups[name]
	return e != nil && e.size() > 0
}

// Forget drops a group that has no members, as when its offsets were deleted.
func (c *Coordinator) Forget(name string) {
	if e := c.groups[name]; e != nil && e.size() == 0 {
		c.drop(e)
	}
}

// schedule puts the group where its next deadline belongs. Deadlines that
// moved away are found out when the earlier one has come.
func (c *Coordinator) schedule(e *entry) {
	c.note(e, e.size() > 0)
	at := e.deadline()
	if e.idle() {
		empty := e.since().Add(c.opts.EmptyRetention)
		if at.IsZero() || empty.Before(at) {
			at = empty
		}
	}
	switch {
	case at.IsZero():
		if e.index >= 0 {
			heap.Remove(&c.due, e.index)
		}
		e.at = at
	case e.index < 0:
		e.at = at
		heap.Push(&c.due, e)
	case at.Before(e.at):
		e.at = at
		heap.Fix(&c.due, e.index)
	}
}

// note tells whether the group has members.
func (c *Coordinator) note(e *entry, active bool) {
	if e.active != active {
		e.active = active
		c.opts.Activity(e.name, active)
	}
}

func (c *Coordinator) drop(e *entry) {
	c.note(e, false)
	if e.index >= 0 {
		heap.Remove(&c.due, e.index)
	}
	if g, ok := e.group.(*classic); ok {
		// The group may come back, and its members with it.
		c.first = max(c.first, g.generation)
		for id := range g.pending {
			g.dropPending(id)
		}
	}
	delete(c.groups, e.name)
}

// put makes g the group of the name; nil if there are too many groups.
func (c *Coordinator) put(name string, g group) *entry {
	e := c.groups[name]
	if e == nil {
		if len(c.groups) >= c.opts.MaxGroups && !c.evict() {
			return nil
		}
		e = &entry{name: name, index: -1}
		c.groups[name] = e
	}
	e.group = g
	return e
}

// evict drops the group that has been empty for longest.
func (c *Coordinator) evict() bool {
	var oldest *entry
	for _, e := range c.groups {
		if e.idle() && (oldest == nil || e.since().Before(oldest.since()) ||
			e.since().Equal(oldest.since()) && e.name < oldest.name) {
			oldest = e
		}
	}
	if oldest != nil {
		c.drop(oldest)
	}
	return oldest != nil
}

// names returns the names of the groups in memory, in order.
func (c *Coordinator) names() []string { return slices.Sorted(maps.Keys(c.groups)) }

// done ends a call that may have changed the group of the name.
func (c *Coordinator) done(name string) []Reply {
	if e := c.groups[name]; e != nil {
		c.schedule(e)
	}
	return c.take()
}

func (c *Coordinator) take() []Reply {
	out := c.out
	c.out = nil
	return out
}

func (c *Coordinator) reply(t Ticket, r kmsg.Response) {
	if t != 0 {
		c.out = append(c.out, Reply{t, r})
	}
}

// dueHeap has the earliest deadline first.
type dueHeap []*entry

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].name < h[j].name
	}
	return h[i].at.Before(h[j].at)
}
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}
