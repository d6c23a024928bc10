package group

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Describe answers for one classic group of DescribeGroups, version 0 to 6.
// Stored is whether the host has offsets of the group.
func (c *Coordinator) Describe(name string, version int16, stored bool) kmsg.DescribeGroupsResponseGroup {
	r := kmsg.NewDescribeGroupsResponseGroup()
	r.Group = name
	g := c.classic(name)
	switch {
	case g != nil:
		g.describe(&r)
	case c.groups[name] == nil && stored:
		r.State = empty.String()
	default:
		r.State = "Dead"
		if version >= 6 {
			r.ErrorCode = kerr.GroupIDNotFound.Code
			message := "Group " + name + " not found."
			if c.groups[name] != nil {
				message = "Group " + name + " is not a classic group."
			}
			r.ErrorMessage = &message
		}
	}
	return r
}

func (g *classic) describe(r *kmsg.DescribeGroupsResponseGroup) {
	r.State, r.ProtocolType = g.state.String(), g.protocolType
	if g.state == stable {
		r.Protocol = g.protocolName
	}
	for _, m := range g.members {
		d := kmsg.NewDescribeGroupsResponseGroupMember()
		d.MemberID, d.InstanceID, d.ClientID, d.ClientHost = m.id, m.instance, m.clientID, m.host
		d.MemberAssignment = m.assignment
		if g.state == stable {
			d.ProtocolMetadata = m.metadata(g.protocolName)
		}
		r.Members = append(r.Members, d)
	}
}

// List answers for all groups of ListGroups: those in memory and those that
// are stored only. Filters are states and types in any case; empty is all.
func (c *Coordinator) List(states, types, stored []string) []kmsg.ListGroupsResponseGroup {
	match := func(filter []string, s string) bool {
		return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, s) })
	}
	var out []kmsg.ListGroupsResponseGroup
	list := func(name, state, kind, protocol string) {
		if match(states, state) && match(types, kind) {
			l := kmsg.NewListGroupsResponseGroup()
			l.Group, l.GroupState, l.GroupType, l.ProtocolType = name, state, kind, protocol
			out = append(out, l)
		}
	}
	for _, name := range c.names() {
		e := c.groups[name]
		list(name, e.stateName(), e.kind(), e.protocol())
	}
	for _, name := range stored {
		if c.groups[name] == nil {
			list(name, empty.String(), "classic", "")
		}
	}
	return out
}

// CheckDeleteGroup reports whether the group may be deleted; a nil error is
// yes. Stored is whether the host has offsets of it. The host deletes the offsets and calls [Coordinator.Forget].
func (c *Coordinator) CheckDeleteGroup(name string, stored bool) *kerr.Error {
	switch e := c.groups[name]; {
	case e == nil && !stored:
		return kerr.GroupIDNotFound
	case e != nil && e.size() > 0:
		return kerr.NonEmptyGroup
	}
	return nil
}
