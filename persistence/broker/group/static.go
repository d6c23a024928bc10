package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// replaceStatic gives an instance that has started again a new member id; who
// still uses the old one is fenced. In a stable group whose protocol stays the
// new member takes over the assignment without a rebalance.
func (g *classic) replaceStatic(now time.Time, old *member, id string, req *kmsg.JoinGroupRequest, protocols []kmsg.JoinGroupRequestProtocol, w waiter) {
	oldLeader := g.leader
	g.endWait(old, kerr.FencedInstanceID)
	g.endSyncWait(old, kerr.FencedInstanceID)
	delete(g.byID, old.id)
	if _, ok := g.unsynced[old.id]; ok {
		delete(g.unsynced, old.id)
		g.unsynced[id] = struct{}{}
	}
	if g.leader == old.id {
		g.leader = id
	}
	m := old
	m.id, m.fresh = id, false
	g.byID[id] = m
	g.update(m, req, protocols, w)
	g.touch(m, now)

	switch g.state {
	case stable:
		if g.choose() != g.protocolName {
			g.rebalance(now)
			return
		}
		m.join = waiter{}
		leads := g.leader == m.id
		if w.version >= 9 {
			g.answerJoin(m, w, leads, leads)
			return
		}
		// A client that cannot be told to skip the assignment is not told that
		// it leads.
		lead := g.leader
		g.leader = oldLeader
		g.answerJoin(m, w, false, false)
		g.leader = lead
	case completing:
		g.prepare(now)
	case preparing:
		g.completeIfAllJoined(now)
	}
}
