package group

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rebalance asks all members to join, or ends that if all have.
func (g *classic) rebalance(now time.Time) {
	if g.state != preparing {
		g.prepare(now)
		return
	}
	g.completeIfAllJoined(now)
}

// prepare begins to wait for all members.
func (g *classic) prepare(now time.Time) {
	if g.state == completing {
		for _, m := range g.members {
			g.setAssignment(m, nil)
			if m.sync.waits() {
				g.endSyncWait(m, kerr.RebalanceInProgress)
				g.touch(m, now)
			}
		}
	}
	clear(g.unsynced)
	g.syncAt = time.Time{}
	initial := g.state == empty
	g.enter(preparing, now)
	switch {
	case initial && g.c.opts.InitialRebalanceDelay > 0:
		g.delay = g.c.opts.InitialRebalanceDelay
		g.remaining = max(0, g.rebalanceTimeout()-g.delay)
		g.joined = false
		g.joinAt = g.wake(now.Add(g.delay))
	case initial || g.allJoined():
		g.complete(now)
	default:
		g.joinAt = g.wake(now.Add(g.rebalanceTimeout()))
	}
}

// completeIfAllJoined begins the generation early. The first generation of
// an empty group waits for its time, for members that are about to come.
func (g *classic) completeIfAllJoined(now time.Time) {
	if g.state == preparing && (g.previous != empty || len(g.members) == 0) && g.allJoined() {
		g.complete(now)
	}
}

// endJoin is the end of the time to join.
func (g *classic) endJoin(now time.Time) {
	g.joinAt = time.Time{}
	if g.state != preparing {
		return
	}
	if g.previous == empty && g.joined && g.remaining > 0 {
		g.joined = false
		delay := min(g.c.opts.InitialRebalanceDelay, g.remaining)
		g.remaining = max(0, g.remaining-g.delay)
		g.delay = delay
		g.joinAt = g.wake(now.Add(delay))
		return
	}
	g.complete(now)
}

// complete begins a generation with those who have joined. Static members
// that have not are kept until their session ends.
func (g *classic) complete(now time.Time) {
	g.joinAt = time.Time{}
	var late []string
	for _, m := range g.members {
		if !m.join.waits() && m.instance == nil {
			late = append(late, m.id)
		}
	}
	for _, id := range late {
		g.remove(id)
	}
	if len(g.members) > 0 && !g.electLeader() {
		// Only static members are left, and none of them has joined. They may
		// have asked for no time at all, which must not keep the clock busy.
		g.joinAt = g.wake(now.Add(max(g.rebalanceTimeout(), time.Second)))
		return
	}
	if g.generation == math.MaxInt32 {
		g.generation = 0
	}
	g.generation++
	g.c.last = max(g.c.last, g.generation)
	clear(g.unsynced)
	if len(g.members) == 0 {
		g.protocolName, g.topics = "", map[string]struct{}{}
		if g.protocolType != consumerProtocol {
			g.topics = nil
		}
		g.enter(empty, now)
		return
	}
	g.protocolName = g.choose()
	g.topics = g.subscriptions()
	g.enter(completing, now)
	for _, m := range g.members {
		if m.join.waits() {
			g.answerJoin(m, m.join, g.leader == m.id, false)
			m.join = waiter{}
		}
		g.touch(m, now)
		m.fresh = false
		g.unsynced[m.id] = struct{}{}
	}
	g.syncAt = g.wake(now.Add(g.rebalanceTimeout()))
}

// electLeader makes sure that the leader has joined.
func (g *classic) electLeader() bool {
	if g.byID[g.leader].join.waits() {
		return true
	}
	for _, m := range g.members {
		if m.join.waits() {
			g.leader = m.id
			return true
		}
	}
	return false
}

// expire removes a member that was not heard of.
func (g *classic) expire(m *member, now time.Time) {
	g.endWait(m, kerr.UnknownMemberID)
	g.endSyncWait(m, kerr.UnknownMemberID)
	g.remove(m.id)
	switch {
	case g.state == completing || g.state == stable:
		g.prepare(now)
	case g.state == preparing && g.allJoined():
		g.complete(now)
	}
}

// endSync is the end of the time to ask for the assignment.
func (g *classic) endSync(now time.Time) {
	g.syncAt = time.Time{}
	if g.state != completing && g.state != stable || len(g.unsynced) == 0 {
		return
	}
	for _, id := range sortedKeys(g.unsynced) {
		g.remove(id)
	}
	g.prepare(now)
}

// subscriptions returns the topics of all members; nil if they can't be told.
func (g *classic) subscriptions() map[string]struct{} {
	if g.protocolType != consumerProtocol {
		return nil
	}
	topics := make(map[string]struct{})
	for _, m := range g.members {
		var meta kmsg.ConsumerMemberMetadata
		if err := meta.ReadFrom(m.metadata(g.protocolName)); err != nil {
			return nil
		}
		for _, t := range meta.Topics {
			topics[t] = struct{}{}
		}
	}
	return topics
}
