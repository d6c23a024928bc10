package group

import (
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// metadataRefresh is how often a consumer group looks whether its topics have
// changed, while members tell their heartbeats.
const metadataRefresh = time.Second

// progress is how far a member of a consumer group is towards its target.
type progress int

const (
	reconciled progress = iota // it has what its epoch's target says
	unrevoked                  // it has yet to give up partitions
	unreleased                 // it waits for partitions that others have
)

// consumer is a group whose coordinator assigns (KIP-848).
type consumer struct {
	c    *Coordinator
	name string

	// epoch grows with every change of members, subscriptions or topics;
	// targetEpoch is the epoch that target was made for.
	epoch, targetEpoch int32
	assignor           string // of target
	target             map[string]partitions
	topics             map[string]topicInfo // that members subscribe to
	refreshAt          time.Time

	members map[string]*consumerMember
	static  map[string]*consumerMember // by instance id
	// owners are the members that have a partition or were told to give it up.
	owners map[partition]*consumerMember

	emptied time.Time
	next    time.Time // as classic.next
}

// consumerMember is a member of a consumer group.
type consumerMember struct {
	id, clientID, host string
	instance, rack     *string
	rebalance          time.Duration
	topics             []string // sorted
	pattern            string
	regex              *regexp.Regexp
	assignor           string
	cost               int

	// epoch is that of the target that the member has been told of; left is
	// the epoch of a static member that will be back.
	epoch, previous int32
	progress        progress
	assigned        partitions // it may have these
	revoking        partitions // it must give up these

	expires  time.Time // the session
	revokeBy time.Time // the time to give up what is revoked
}

const (
	leaveEpoch       = -1
	leaveStaticEpoch = -2
)

func newConsumer(c *Coordinator, name string, now time.Time) *consumer {
	return &consumer{
		c: c, name: name, emptied: now,
		target: make(map[string]partitions), topics: make(map[string]topicInfo),
		members: make(map[string]*consumerMember), static: make(map[string]*consumerMember),
		owners: make(map[partition]*consumerMember),
	}
}

func (g *consumer) kind() string     { return "consumer" }
func (g *consumer) protocol() string { return consumerProtocol }
func (g *consumer) since() time.Time { return g.emptied }
func (g *consumer) size() int        { return len(g.members) }
func (g *consumer) idle() bool       { return len(g.members) == 0 }

func (g *consumer) stateName() string {
	switch {
	case len(g.members) == 0:
		return "Empty"
	case g.epoch > g.targetEpoch:
		return "Assigning"
	}
	for _, m := range g.members {
		if m.progress != reconciled || m.epoch != g.targetEpoch {
			return "Reconciling"
		}
	}
	return "Stable"
}

func (g *consumer) deadline() time.Time { return g.next }

func (g *consumer) wake(at time.Time) time.Time {
	if g.next.IsZero() || at.Before(g.next) {
		g.next = at
	}
	return at
}

func (g *consumer) tick(now time.Time) {
	due := func(at time.Time) bool { return !at.IsZero() && !at.After(now) }
	for _, id := range sortedKeys(g.members) {
		if m := g.members[id]; due(m.expires) || due(m.revokeBy) {
			g.fence(m, now)
		}
	}
	g.next = time.Time{}
	for _, m := range g.members {
		g.wake(m.expires)
		if !m.revokeBy.IsZero() {
			g.wake(m.revokeBy)
		}
	}
}

// fence takes a member out; what it had is free for others.
func (g *consumer) fence(m *consumerMember, now time.Time) {
	delete(g.members, m.id)
	delete(g.target, m.id)
	if m.instance != nil && g.static[*m.instance] == m {
		delete(g.static, *m.instance)
	}
	for p, owner := range g.owners {
		if owner == m {
			delete(g.owners, p)
		}
	}
	g.c.bytes -= m.cost
	g.epoch++
	if len(g.members) == 0 {
		g.emptied = now
	}
}

// own notes which partitions the member has, now that assigned and revoking
// may have changed.
func (g *consumer) own(m *consumerMember, before ...partitions) {
	for _, set := range before {
		for p := range set {
			if g.owners[p] == m && !m.assigned.has(p) && !m.revoking.has(p) {
				delete(g.owners, p)
			}
		}
	}
	for _, set := range []partitions{m.assigned, m.revoking} {
		for p := range set {
			g.owners[p] = m
		}
	}
}

// subscribes reports whether the member wants a topic.
func (m *consumerMember) subscribes(topic string) bool {
	if _, ok := slices.BinarySearch(m.topics, topic); ok {
		return true
	}
	return m.regex != nil && m.regex.MatchString(topic)
}

func (g *consumer) subscribed(topic string) bool {
	for _, m := range g.members {
		if m.subscribes(topic) {
			return true
		}
	}
	return false
}

func (g *consumer) checkCommit(_ time.Time, c Commit) *kerr.Error {
	if c.Generation < 0 && len(g.members) == 0 {
		return nil
	}
	m := g.members[c.Member]
	switch {
	case m == nil:
		return kerr.UnknownMemberID
	case !c.Transactional && c.Version < 9:
		return kerr.UnsupportedVersion
	case c.Generation == m.epoch:
		return nil
	case c.Transactional:
		return kerr.IllegalGeneration
	}
	return kerr.StaleMemberEpoch
}

func (g *consumer) checkFetch(member *string, epoch int32) *kerr.Error {
	if member == nil && epoch < 0 {
		return nil
	}
	var m *consumerMember
	if member != nil {
		m = g.members[*member]
	}
	switch {
	case m == nil:
		return kerr.UnknownMemberID
	case m.epoch != epoch:
		return kerr.StaleMemberEpoch
	}
	return nil
}
