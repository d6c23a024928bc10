package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// state is what a classic group is in.
type state int

const (
	empty      state = iota // no members
	preparing               // members are to join
	completing              // members have joined; the leader is to assign
	stable                  // members have their assignments
)

func (s state) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// consumerProtocol is the protocol type of consumers of topics.
const consumerProtocol = "consumer"

// classic is a group whose leader assigns.
type classic struct {
	c    *Coordinator
	name string

	state    state
	previous state
	entered  time.Time

	generation   int32
	protocolType string // "" until the first member
	protocolName string // of the generation; "" without one
	leader       string

	members []*member // in the order they came
	byID    map[string]*member
	static  map[string]*member // by instance id
	// pending are ids that were given out and have not joined, with the time
	// until which they may.
	pending map[string]time.Time
	// unsynced are members of the generation that have not asked for their
	// assignment; they have until syncAt.
	unsynced map[string]struct{}
	syncAt   time.Time
	// supports counts the members that know a protocol.
	supports map[string]int
	// topics are what members subscribed to in this generation; nil if that is
	// not known.
	topics map[string]struct{}

	// joinAt ends the phase of joining. In the first one of an empty group it
	// is put off by delay, up to remaining, while members come.
	joinAt           time.Time
	delay, remaining time.Duration
	joined           bool // a member came since joinAt was set

	// next is no later than any member's deadline: moving a deadline away
	// costs nothing, and all members are looked at only when next has come.
	next time.Time
}

// member is one of a classic group.
type member struct {
	id, clientID, host string
	instance           *string
	rebalance, session time.Duration
	protocols          []kmsg.JoinGroupRequestProtocol
	assignment         []byte
	cost               int

	join, sync waiter
	// fresh is a member that was in no generation yet: it may expire though it
	// waits.
	fresh bool
	// expires is when the session ends; zero is not before the next reply.
	expires time.Time
}

// waiter is a request that waits.
type waiter struct {
	ticket  Ticket
	version int16
}

func (w waiter) waits() bool { return w.ticket != 0 }

func newClassic(c *Coordinator, name string, now time.Time) *classic {
	return &classic{
		c: c, name: name, entered: now, generation: c.first,
		byID: make(map[string]*member), static: make(map[string]*member),
		pending: make(map[string]time.Time), unsynced: make(map[string]struct{}),
		supports: make(map[string]int),
	}
}

func (g *classic) kind() string      { return "classic" }
func (g *classic) stateName() string { return g.state.String() }
func (g *classic) protocol() string  { return g.protocolType }
func (g *classic) since() time.Time  { return g.entered }

func (g *classic) size() int  { return len(g.members) }
func (g *classic) idle() bool { return len(g.members) == 0 && len(g.pending) == 0 }

func (g *classic) enter(s state, now time.Time) {
	g.previous, g.state, g.entered = g.state, s, now
}

func (g *classic) deadline() time.Time { return g.next }

// wake makes at a deadline.
func (g *classic) wake(at time.Time) time.Time {
	if g.next.IsZero() || at.Before(g.next) {
		g.next = at
	}
	return at
}

func (g *classic) tick(now time.Time) {
	due := func(at time.Time) bool { return !at.IsZero() && !at.After(now) }
	for _, id := range sortedKeys(g.pending) {
		if due(g.pending[id]) {
			g.dropPending(id)
			g.completeIfAllJoined(now)
		}
	}
	for _, m := range slices.Clone(g.members) {
		if due(m.expires) && g.byID[m.id] == m {
			m.expires = time.Time{}
			if m.fresh || !m.join.waits() && !m.sync.waits() {
				g.expire(m, now)
			}
		}
	}
	if due(g.joinAt) {
		g.endJoin(now)
	}
	if due(g.syncAt) {
		g.endSync(now)
	}
	g.next = time.Time{}
	for _, at := range g.pending {
		g.wake(at)
	}
	for _, m := range g.members {
		if !m.expires.IsZero() {
			g.wake(m.expires)
		}
	}
	for _, at := range []time.Time{g.joinAt, g.syncAt} {
		if !at.IsZero() {
			g.wake(at)
		}
	}
}

// touch begins the member's session anew.
func (g *classic) touch(m *member, now time.Time) { m.expires = g.wake(now.Add(m.session)) }

// add makes m a member.
func (g *classic) add(m *member) {
	g.dropPending(m.id)
	if len(g.members) == 0 {
		g.leader = m.id
	}
	g.members = append(g.members, m)
	g.byID[m.id] = m
	if m.instance != nil {
		g.static[*m.instance] = m
	}
	g.count(m.protocols, 1)
	g.charge(m)
}

// remove takes a member out. Its requests are answered by the caller.
func (g *classic) remove(id string) {
	g.dropPending(id)
	delete(g.unsynced, id)
	m := g.byID[id]
	if m == nil {
		return
	}
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	delete(g.byID, id)
	if m.instance != nil && g.static[*m.instance] == m {
		delete(g.static, *m.instance)
	}
	g.count(m.protocols, -1)
	g.c.bytes -= m.cost
	if g.leader == id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

func (g *classic) count(protocols []kmsg.JoinGroupRequestProtocol, by int) {
	for _, p := range protocols {
		if g.supports[p.Name] += by; g.supports[p.Name] == 0 {
			delete(g.supports, p.Name)
		}
	}
}

// charge counts what the member is remembered by.
func (g *classic) charge(m *member) {
	g.c.bytes -= m.cost
	m.cost = len(m.assignment) + costOf(m.id, m.instance, m.protocols)
	g.c.bytes += m.cost
}

const memberOverhead = 256

func costOf(id string, instance *string, protocols []kmsg.JoinGroupRequestProtocol) int {
	n := memberOverhead + len(id)
	if instance != nil {
		n += len(*instance)
	}
	for _, p := range protocols {
		n += len(p.Name) + len(p.Metadata)
	}
	return n
}

func (g *classic) dropPending(id string) {
	if _, ok := g.pending[id]; ok {
		delete(g.pending, id)
		g.c.bytes -= memberOverhead + len(id)
	}
}

// check reports whether a request may speak for a member.
func (g *classic) check(id string, instance *string) *kerr.Error {
	if instance != nil {
		switch m := g.static[*instance]; {
		case m == nil:
			return kerr.UnknownMemberID
		case m.id != id:
			return kerr.FencedInstanceID
		}
	}
	if g.byID[id] == nil {
		return kerr.UnknownMemberID
	}
	return nil
}

// accepts reports whether the group knows what a member speaks.
func (g *classic) accepts(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if g.state == empty {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == g.protocolType && slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		return g.supports[p.Name] == len(g.members)
	})
}

// choose returns the protocol that most members like best among those that
// all know.
func (g *classic) choose() string {
	votes := make(map[string]int)
	best := ""
	for _, m := range g.members {
		for _, p := range m.protocols {
			if g.supports[p.Name] == len(g.members) {
				votes[p.Name]++
				if votes[p.Name] > votes[best] {
					best = p.Name
				}
				break
			}
		}
	}
	return best
}

func (g *classic) awaitingJoin() (n int) {
	for _, m := range g.members {
		if m.join.waits() {
			n++
		}
	}
	return n
}

func (g *classic) allJoined() bool {
	return len(g.pending) == 0 && g.awaitingJoin() == len(g.members)
}

// rebalanceTimeout is the longest of any member.
func (g *classic) rebalanceTimeout() (d time.Duration) {
	for _, m := range g.members {
		d = max(d, m.rebalance)
	}
	return d
}

// metadata returns what the member said of a protocol.
func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// same reports whether a member that joins again says what it said before.
func (m *member) same(protocols []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b kmsg.JoinGroupRequestProtocol) bool {
		return a.Name == b.Name && string(a.Metadata) == string(b.Metadata)
	})
}
