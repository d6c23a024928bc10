package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Join takes a JoinGroup request of version 0 to 9.
func (c *Coordinator) Join(now time.Time, from Client, req *kmsg.JoinGroupRequest, t Ticket) []Reply {
	w := waiter{t, req.Version}
	session := millis(req.SessionTimeoutMillis)
	switch {
	case req.Group == "":
		c.refuseJoin(w, req.MemberID, kerr.InvalidGroupID)
		return c.take()
	case session < c.opts.MinSessionTimeout || session > c.opts.MaxSessionTimeout:
		c.refuseJoin(w, req.MemberID, kerr.InvalidSessionTimeout)
		return c.take()
	}
	e := c.groups[req.Group]
	g, ok := (*classic)(nil), false
	if e != nil {
		g, ok = e.group.(*classic)
	}
	if !ok {
		switch {
		case e != nil && !e.idle():
			c.refuseJoin(w, "", kerr.InconsistentGroupProtocol)
			return c.take()
		case req.MemberID != "":
			c.refuseJoin(w, req.MemberID, kerr.UnknownMemberID)
			return c.take()
		}
		g = newClassic(c, req.Group, now)
		if e = c.put(req.Group, g); e == nil {
			c.refuseJoin(w, "", kerr.CoordinatorNotAvailable)
			return c.take()
		}
	}
	g.joinGroup(now, from, req, w)
	if g.idle() && g.protocolType == "" && e.index < 0 {
		c.drop(e) // the request that made the group was refused
	}
	return c.done(req.Group)
}

func (c *Coordinator) refuseJoin(w waiter, id string, err *kerr.Error) {
	r := kmsg.NewPtrJoinGroupResponse()
	r.Version, r.MemberID, r.ErrorCode = w.version, id, err.Code
	c.reply(w.ticket, r)
}

func (g *classic) joinGroup(now time.Time, from Client, req *kmsg.JoinGroupRequest, w waiter) {
	protocols := distinct(req.Protocols)
	switch {
	case !g.hasRoom(req.MemberID):
		g.remove(req.MemberID)
		g.c.refuseJoin(w, "", kerr.GroupMaxSizeReached)
	case !g.accepts(req.ProtocolType, protocols):
		g.c.refuseJoin(w, req.MemberID, kerr.InconsistentGroupProtocol)
	case g.c.bytes+costOf(req.MemberID, req.InstanceID, protocols) > g.c.opts.MaxBytes:
		g.c.refuseJoin(w, req.MemberID, kerr.GroupMaxSizeReached)
	case req.MemberID == "":
		g.joinUnknown(now, from, req, protocols, w)
	default:
		g.joinKnown(now, from, req, protocols, w)
	}
}

// joinUnknown takes a member that has no id yet.
func (g *classic) joinUnknown(now time.Time, from Client, req *kmsg.JoinGroupRequest, protocols []kmsg.JoinGroupRequestProtocol, w waiter) {
	if req.InstanceID != nil {
		id := *req.InstanceID + "-" + g.c.opts.NewID()
		if old := g.static[*req.InstanceID]; old != nil {
			g.replaceStatic(now, old, id, req, protocols, w)
			return
		}
		g.joinNew(now, from, id, req, protocols, w)
		return
	}
	id := from.ID + "-" + g.c.opts.NewID()
	if req.Version < 4 {
		g.joinNew(now, from, id, req, protocols, w)
		return
	}
	// A client that never reads its answer must not leave members behind, so
	// it has to come back with the id.
	g.pending[id] = g.wake(now.Add(millis(req.SessionTimeoutMillis)))
	g.c.bytes += memberOverhead + len(id)
	g.c.refuseJoin(w, id, kerr.MemberIDRequired)
}

// joinKnown takes a member that says its id.
func (g *classic) joinKnown(now time.Time, from Client, req *kmsg.JoinGroupRequest, protocols []kmsg.JoinGroupRequestProtocol, w waiter) {
	if _, ok := g.pending[req.MemberID]; ok {
		if req.InstanceID != nil {
			// Static members are never asked to come back, so nobody was given
			// this id for an instance.
			g.c.refuseJoin(w, req.MemberID, kerr.UnknownServerError)
			return
		}
		g.joinNew(now, from, req.MemberID, req, protocols, w)
		return
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		g.c.refuseJoin(w, req.MemberID, err)
		return
	}
	m := g.byID[req.MemberID]
	switch {
	case g.state == preparing,
		!m.same(protocols),
		g.state == stable && g.leader == m.id:
		// The leader of a stable group joins again to have it assigned anew.
		g.update(m, req, protocols, w)
		g.rebalance(now)
	default:
		// A repeated request: the answer may have been lost.
		g.answerJoin(m, w, g.state == completing && g.leader == m.id, false)
	}
}

func (g *classic) joinNew(now time.Time, from Client, id string, req *kmsg.JoinGroupRequest, protocols []kmsg.JoinGroupRequestProtocol, w waiter) {
	m := &member{
		id: id, instance: req.InstanceID, clientID: from.ID, host: from.Host,
		protocols: protocols, join: w, fresh: true,
	}
	m.session, m.rebalance = timeouts(req)
	if len(g.members) == 0 {
		g.protocolType = req.ProtocolType
	}
	if g.state == preparing && g.previous == empty {
		g.joined = true
	}
	g.add(m)
	m.expires = g.wake(now.Add(g.c.opts.NewMemberTimeout))
	g.rebalance(now)
}

// update takes over what a member says that joins again.
func (g *classic) update(m *member, req *kmsg.JoinGroupRequest, protocols []kmsg.JoinGroupRequestProtocol, w waiter) {
	g.count(m.protocols, -1)
	m.protocols = protocols
	g.count(m.protocols, 1)
	m.session, m.rebalance = timeouts(req)
	g.charge(m)
	// An earlier request of the member was given up by its client, but its
	// connection may be waiting for the answer.
	g.endWait(m, kerr.RebalanceInProgress)
	m.join = w
}

// endWait answers a join that waits, with an error.
func (g *classic) endWait(m *member, err *kerr.Error) {
	if m.join.waits() {
		g.c.refuseJoin(m.join, m.id, err)
		m.join = waiter{}
	}
}

// answerJoin tells a member about the generation. A leader gets all members,
// unless it is not to assign and cannot be told so.
func (g *classic) answerJoin(m *member, w waiter, all, skip bool) {
	r := kmsg.NewPtrJoinGroupResponse()
	r.Version = w.version
	r.Generation = g.generation
	r.ProtocolType, r.Protocol = text(g.protocolType), text(g.protocolName)
	r.LeaderID, r.MemberID, r.SkipAssignment = g.leader, m.id, skip
	if all {
		for _, o := range g.members {
			jm := kmsg.NewJoinGroupResponseMember()
			jm.MemberID, jm.InstanceID, jm.ProtocolMetadata = o.id, o.instance, o.metadata(g.protocolName)
			r.Members = append(r.Members, jm)
		}
	}
	g.c.reply(w.ticket, r)
}

// hasRoom reports whether a member may join a group that may be full.
func (g *classic) hasRoom(id string) bool {
	m := g.byID[id]
	switch g.state {
	case preparing:
		return m != nil && m.join.waits() || g.awaitingJoin() < g.c.opts.MaxMembers
	case completing, stable:
		return m != nil || len(g.members) < g.c.opts.MaxMembers
	}
	return true
}

// timeouts returns the session and rebalance time-outs; version 0 has one for
// both.
func timeouts(req *kmsg.JoinGroupRequest) (session, rebalance time.Duration) {
	session = millis(req.SessionTimeoutMillis)
	if req.Version == 0 {
		return session, session
	}
	return session, max(0, millis(req.RebalanceTimeoutMillis))
}

// distinct copies protocols out of the request, which may be much larger, and
// leaves out those whose name came before.
func distinct(protocols []kmsg.JoinGroupRequestProtocol) []kmsg.JoinGroupRequestProtocol {
	seen := make(map[string]struct{}, len(protocols))
	var out []kmsg.JoinGroupRequestProtocol
	for _, p := range protocols {
		if _, ok := seen[p.Name]; !ok {
			seen[p.Name] = struct{}{}
			out = append(out, kmsg.JoinGroupRequestProtocol{Name: p.Name, Metadata: slices.Clone(p.Metadata)})
		}
	}
	return out
}

func millis(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }

// text returns nil for an empty string.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
