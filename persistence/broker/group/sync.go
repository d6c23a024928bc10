package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Sync takes a SyncGroup request of version 0 to 5.
func (c *Coordinator) Sync(now time.Time, req *kmsg.SyncGroupRequest, t Ticket) []Reply {
	w := waiter{t, req.Version}
	switch g := c.classic(req.Group); {
	case req.Group == "":
		c.refuseSync(w, kerr.InvalidGroupID)
	case req.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil):
		c.refuseSync(w, kerr.InconsistentGroupProtocol)
	case g == nil || g.state == empty:
		c.refuseSync(w, kerr.UnknownMemberID)
	default:
		g.syncGroup(now, req, w)
	}
	return c.done(req.Group)
}

// classic returns the classic group of a name, or nil.
func (c *Coordinator) classic(name string) *classic {
	if e := c.groups[name]; e != nil {
		g, _ := e.group.(*classic)
		return g
	}
	return nil
}

func (c *Coordinator) refuseSync(w waiter, err *kerr.Error) {
	r := kmsg.NewPtrSyncGroupResponse()
	r.Version, r.ErrorCode = w.version, err.Code
	c.reply(w.ticket, r)
}

func (g *classic) syncGroup(now time.Time, req *kmsg.SyncGroupRequest, w waiter) {
	if err := g.checkSync(req); err != nil {
		g.c.refuseSync(w, err)
		return
	}
	m := g.byID[req.MemberID]
	switch g.state {
	case preparing:
		g.c.refuseSync(w, kerr.RebalanceInProgress)
	case completing:
		g.endSyncWait(m, kerr.RebalanceInProgress)
		m.sync = w
		g.synced(m)
		if g.leader == m.id {
			g.assign(now, req.GroupAssignment)
		}
	case stable:
		g.synced(m)
		g.answerSync(m, w)
	}
}

func (g *classic) checkSync(req *kmsg.SyncGroupRequest) *kerr.Error {
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		return err
	}
	differs := func(asked *string, have string) bool { return asked != nil && have != "" && *asked != have }
	switch {
	case req.Generation != g.generation:
		return kerr.IllegalGeneration
	case differs(req.ProtocolType, g.protocolType), differs(req.Protocol, g.protocolName):
		return kerr.InconsistentGroupProtocol
	}
	return nil
}

// synced notes that the member has asked for its assignment.
func (g *classic) synced(m *member) {
	delete(g.unsynced, m.id)
	if len(g.unsynced) == 0 {
		g.syncAt = time.Time{}
	}
}

// assign takes the leader's word and tells it to all who wait.
func (g *classic) assign(now time.Time, assignments []kmsg.SyncGroupRequestGroupAssignment) {
	size := 0
	for _, a := range assignments {
		size += len(a.MemberAssignment)
	}
	if g.c.bytes+size > g.c.opts.MaxBytes {
		// As when Kafka's record of the assignment is too large.
		for _, m := range g.members {
			g.endSyncWait(m, kerr.UnknownServerError)
			g.touch(m, now)
		}
		g.prepare(now)
		return
	}
	for _, m := range g.members {
		g.setAssignment(m, nil)
	}
	for _, a := range assignments {
		if m := g.byID[a.MemberID]; m != nil {
			g.setAssignment(m, a.MemberAssignment)
		}
	}
	g.enter(stable, now)
	for _, m := range g.members {
		if m.sync.waits() {
			g.answerSync(m, m.sync)
			m.sync = waiter{}
			g.touch(m, now)
		}
	}
}

func (g *classic) setAssignment(m *member, a []byte) {
	m.assignment = slices.Clone(a)
	g.charge(m)
}

func (g *classic) answerSync(m *member, w waiter) {
	r := kmsg.NewPtrSyncGroupResponse()
	r.Version = w.version
	r.ProtocolType, r.Protocol = text(g.protocolType), text(g.protocolName)
	r.MemberAssignment = m.assignment
	g.c.reply(w.ticket, r)
}

// endSyncWait answers a sync that waits, with an error.
func (g *classic) endSyncWait(m *member, err *kerr.Error) {
	if m.sync.waits() {
		g.c.refuseSync(m.sync, err)
		m.sync = waiter{}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
