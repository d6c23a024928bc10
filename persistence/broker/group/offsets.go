package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Commit is who wants to commit offsets, with OffsetCommit or, if
// Transactional, TxnOffsetCommit of the version.
type Commit struct {
	Group, Member string
	Instance      *string
	// Generation of a classic group or epoch of a member of a consumer group;
	// negative is neither.
	Generation    int32
	Version       int16
	Transactional bool
	// Stored is whether the host has offsets of the group; it matters only of
	// a group that is not Known, and with a Generation.
	Stored bool
}

// CheckCommit reports whether offsets may be committed; a nil error is yes.
// A member that commits is alive.
func (c *Coordinator) CheckCommit(now time.Time, m Commit) *kerr.Error {
	if m.Group == "" && m.Transactional {
		// Others may commit for the group without a name, as they could before
		// there were members.
		return kerr.InvalidGroupID
	}
	if e := c.groups[m.Group]; e != nil {
		err := e.checkCommit(now, m)
		c.schedule(e)
		return err
	}
	switch {
	case m.Generation < 0:
		return nil
	case m.Stored || given(m.Member):
		// The group is one whose members went with an earlier coordinator.
		return kerr.UnknownMemberID
	case m.Transactional || m.Version < 9:
		return kerr.IllegalGeneration
	}
	return kerr.GroupIDNotFound
}

func (g *classic) checkCommit(now time.Time, c Commit) *kerr.Error {
	if c.Generation < 0 && g.state == empty {
		return nil
	}
	switch {
	case c.Generation >= 0 || c.Member != "" || c.Instance != nil:
		if err := g.check(c.Member, c.Instance); err != nil {
			return err
		}
		if c.Generation != g.generation {
			return kerr.IllegalGeneration
		}
	case !c.Transactional && g.state != empty:
		return kerr.UnknownMemberID
	}
	if c.Transactional {
		return nil
	}
	if g.state == completing {
		return kerr.RebalanceInProgress
	}
	if m := g.byID[c.Member]; m != nil {
		g.touch(m, now)
	}
	return nil
}

// CheckFetch reports whether a client may see the group's offsets; a nil error
// is yes. Members of consumer groups say who they are (OffsetFetch version 9);
// others leave member nil or epoch negative.
func (c *Coordinator) CheckFetch(name string, member *string, epoch int32) *kerr.Error {
	if e := c.groups[name]; e != nil {
		return e.checkFetch(member, epoch)
	}
	return nil
}

func (g *classic) checkFetch(*string, int32) *kerr.Error { return nil }

// CheckDelete reports whether offsets of the group may be deleted, and of
// which topics not; a nil error is yes. Stored is whether the host has offsets
// of the group.
func (c *Coordinator) CheckDelete(name string, stored bool) (subscribed func(topic string) bool, err *kerr.Error) {
	e := c.groups[name]
	switch {
	case e == nil && !stored:
		return nil, kerr.GroupIDNotFound
	case e == nil:
		return func(string) bool { return false }, nil
	case e.size() > 0 && e.protocol() != consumerProtocol:
		return nil, kerr.NonEmptyGroup
	}
	return e.subscribed, nil
}

func (g *classic) subscribed(topic string) bool {
	if g.topics == nil {
		return g.protocolType == consumerProtocol
	}
	_, ok := g.topics[topic]
	return ok
}
