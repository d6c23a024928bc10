package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat takes a Heartbeat request of version 0 to 4.
func (c *Coordinator) Heartbeat(now time.Time, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	r := kmsg.NewPtrHeartbeatResponse()
	r.Version = req.Version
	err := kerr.UnknownMemberID
	switch g := c.classic(req.Group); {
	case req.Group == "":
		err = kerr.InvalidGroupID
	case g != nil:
		err = g.heartbeat(now, req)
		c.schedule(c.groups[req.Group])
	}
	if err != nil {
		r.ErrorCode = err.Code
	}
	return r
}

func (g *classic) heartbeat(now time.Time, req *kmsg.HeartbeatRequest) *kerr.Error {
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		return err
	}
	if req.Generation != g.generation {
		return kerr.IllegalGeneration
	}
	g.touch(g.byID[req.MemberID], now)
	if g.state == preparing {
		return kerr.RebalanceInProgress
	}
	return nil
}

// Leave takes a LeaveGroup request of version 0 to 5.
func (c *Coordinator) Leave(now time.Time, req *kmsg.LeaveGroupRequest, t Ticket) []Reply {
	r := kmsg.NewPtrLeaveGroupResponse()
	r.Version = req.Version
	leaving := req.Members
	if req.Version < 3 {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = req.MemberID
		leaving = []kmsg.LeaveGroupRequestMember{m}
	}
	g := c.classic(req.Group)
	if req.Group == "" {
		r.ErrorCode = kerr.InvalidGroupID.Code
		leaving = nil
	}
	left := false
	for _, m := range leaving {
		rm := kmsg.NewLeaveGroupResponseMember()
		rm.MemberID, rm.InstanceID = m.MemberID, m.InstanceID
		err := kerr.UnknownMemberID
		if g != nil {
			err = g.leave(m.MemberID, m.InstanceID)
		}
		if err != nil {
			rm.ErrorCode = err.Code
		} else {
			left = true
		}
		r.Members = append(r.Members, rm)
	}
	if req.Version < 3 && len(r.Members) == 1 {
		r.ErrorCode, r.Members = r.Members[0].ErrorCode, nil
	}
	c.reply(t, r)
	if left {
		switch g.state {
		case stable, completing:
			g.prepare(now)
		case preparing:
			g.completeIfAllJoined(now)
		}
	}
	return c.done(req.Group)
}

// leave takes one member out. An administrator names a static member by its
// instance alone.
func (g *classic) leave(id string, instance *string) *kerr.Error {
	if id == "" {
		if instance == nil || g.static[*instance] == nil {
			return kerr.UnknownMemberID
		}
		id = g.static[*instance].id
	} else if _, ok := g.pending[id]; ok {
		g.remove(id)
		return nil
	} else if err := g.check(id, instance); err != nil {
		return err
	}
	m := g.byID[id]
	g.endWait(m, kerr.UnknownMemberID)
	g.endSyncWait(m, kerr.UnknownMemberID)
	g.remove(id)
	return nil
}
