package group

import (
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxPattern and maxProgram bound a regular expression that topics are
// subscribed to by, in bytes and in what it is compiled to: a{1000} is short.
const (
	maxPattern = 1024
	maxProgram = 2000
)

// ConsumerHeartbeat takes a ConsumerGroupHeartbeat request of version 0 or 1.
func (c *Coordinator) ConsumerHeartbeat(now time.Time, from Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	r := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	r.Version = req.Version
	err, why := c.consumerHeartbeat(now, from, req, r)
	if err != nil {
		*r = kmsg.NewConsumerGroupHeartbeatResponse()
		r.Version, r.ErrorCode = req.Version, err.Code
		if why == "" {
			why = err.Description
		}
		r.ErrorMessage = &why
	}
	if e := c.groups[req.Group]; e != nil {
		c.schedule(e)
	}
	return r
}

func (c *Coordinator) consumerHeartbeat(now time.Time, from Client, req *kmsg.ConsumerGroupHeartbeatRequest, r *kmsg.ConsumerGroupHeartbeatResponse) (*kerr.Error, string) {
	regex, err, why := checkConsumerHeartbeat(req)
	if err != nil {
		return err, why
	}
	joins := req.MemberEpoch == 0
	e := c.groups[req.Group]
	g, ok := (*consumer)(nil), false
	if e != nil {
		g, ok = e.group.(*consumer)
	}
	switch {
	case ok:
	case e != nil && e.size() > 0:
		return kerr.GroupIDNotFound, "Group " + req.Group + " is not a consumer group."
	case !joins:
		// In Apache Kafka this would be GROUP_ID_NOT_FOUND, which members take
		// for their end; but there a coordinator does not forget its members.
		return kerr.UnknownMemberID, ""
	default:
		if e != nil {
			c.drop(e)
		}
		g = newConsumer(c, req.Group, now)
		if e = c.put(req.Group, g); e == nil {
			return kerr.CoordinatorNotAvailable, ""
		}
	}
	if req.MemberEpoch < 0 {
		return g.leaveGroup(now, req, r)
	}
	return g.heartbeat(now, from, req, regex, r)
}

// checkConsumerHeartbeat reports what is wrong with a request by itself.
func checkConsumerHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) (regex *regexp.Regexp, err *kerr.Error, why string) {
	isEmpty := func(s *string) bool { return s != nil && *s == "" }
	switch {
	case req.Group == "":
		why = "GroupId can't be empty."
	case isEmpty(req.InstanceID):
		why = "InstanceId can't be empty."
	case isEmpty(req.RackID):
		why = "RackId can't be empty."
	case req.MemberID == "" && (req.Version >= 1 || req.MemberEpoch != 0):
		why = "MemberId can't be empty."
	case req.MemberEpoch < leaveStaticEpoch:
		why = "MemberEpoch is invalid."
	case req.MemberEpoch == leaveStaticEpoch && req.InstanceID == nil:
		why = "InstanceId can't be null."
	case req.MemberEpoch == 0 && req.RebalanceTimeoutMillis == -1:
		why = "RebalanceTimeoutMs must be provided in first request."
	case req.MemberEpoch == 0 && (req.Topics == nil || len(req.Topics) > 0):
		why = "TopicPartitions must be empty when (re-)joining."
	case req.MemberEpoch == 0 && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		why = "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
	}
	if why != "" {
		return nil, kerr.InvalidRequest, why
	}
	if a := req.ServerAssignor; a != nil && assignorOf(*a) == nil {
		return nil, kerr.UnsupportedAssignor, "ServerAssignor " + *a + " is not supported. Supported assignors: " + strings.Join(assignorNames, ", ") + "."
	}
	if p := req.SubscribedTopicRegex; p != nil && *p != "" {
		re := compile(*p)
		if re == nil {
			return nil, kerr.InvalidRegularExpression, "SubscribedTopicRegex is not a regular expression of RE2, or too large."
		}
		regex = re
	}
	return regex, nil, ""
}

// compile returns nil for what is no expression or too large a one. Names have
// to match as a whole.
func compile(pattern string) *regexp.Regexp {
	if len(pattern) > maxPattern {
		return nil
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	if prog, err := syntax.Compile(tree.Simplify()); err != nil || len(prog.Inst) > maxProgram {
		return nil
	}
	re, _ := regexp.Compile("^(?:" + pattern + ")$")
	return re
}

func (g *consumer) heartbeat(now time.Time, from Client, req *kmsg.ConsumerGroupHeartbeatRequest, regex *regexp.Regexp, r *kmsg.ConsumerGroupHeartbeatResponse) (*kerr.Error, string) {
	owned := ownedBy(req)
	m, err := g.memberOf(req, owned)
	if err != nil {
		return err, ""
	}
	isNew := m == nil
	if isNew {
		if len(g.members) >= g.c.opts.MaxMembers {
			return kerr.GroupMaxSizeReached, ""
		}
		id := req.MemberID
		if id == "" {
			id = g.c.opts.NewID()
		}
		m = &consumerMember{id: id}
	}
	changed, err := g.subscribe(m, from, req, regex)
	if err != nil {
		return err, ""
	}
	if isNew {
		g.members[m.id] = m
		if m.instance != nil {
			g.static[*m.instance] = m
		}
		changed = true
	}
	if changed {
		g.epoch++
	}
	if changed || !now.Before(g.refreshAt) {
		before := g.epoch
		g.refresh(now)
		if changed {
			g.epoch = before // one epoch for both
		}
	}
	if g.epoch > g.targetEpoch {
		g.assignTarget()
	}
	before := maps.Clone(m.assigned)
	g.reconcile(m, owned, now)
	m.expires = g.wake(now.Add(g.c.opts.ConsumerSessionTimeout))

	r.MemberID, r.MemberEpoch = &m.id, m.epoch
	r.HeartbeatIntervalMillis = int32(g.c.opts.ConsumerHeartbeatInterval.Milliseconds())
	full := req.MemberEpoch == 0 || req.RebalanceTimeoutMillis != -1 &&
		(req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil) && req.Topics != nil
	if full || !maps.Equal(before, m.assigned) {
		a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
		a.Topics = topicsOf(m.assigned)
		r.Assignment = &a
	}
	return nil, ""
}

// memberOf finds the member that a request speaks for; nil is a new one.
func (g *consumer) memberOf(req *kmsg.ConsumerGroupHeartbeatRequest, owned []partition) (*consumerMember, *kerr.Error) {
	joins := req.MemberEpoch == 0
	m := g.members[req.MemberID]
	if req.InstanceID != nil {
		old := g.static[*req.InstanceID]
		switch {
		case joins && old == nil && m == nil:
			return nil, nil
		case joins && old == nil:
			return nil, kerr.InvalidRequest // the id is another's
		case joins && old.epoch != leaveStaticEpoch && old.id != req.MemberID:
			return nil, kerr.UnreleasedInstanceID
		case joins && m != nil && m != old:
			return nil, kerr.InvalidRequest
		case joins:
			g.rename(old, req.MemberID)
			old.epoch, old.previous = 0, 0
			return old, nil
		case old == nil:
			return nil, kerr.UnknownMemberID
		case old.id != req.MemberID:
			return nil, kerr.FencedInstanceID
		}
		m = old
	}
	switch {
	case m == nil && joins:
		return nil, nil
	case m == nil:
		return nil, kerr.UnknownMemberID
	case joins || req.MemberEpoch == m.epoch:
		return m, nil
	case req.MemberEpoch == m.previous && owned != nil && !slices.ContainsFunc(owned, func(p partition) bool { return !m.assigned.has(p) }):
		return m, nil // it has not heard of its new epoch
	}
	return nil, kerr.FencedMemberEpoch
}

// rename gives a static member that is back its new id.
func (g *consumer) rename(m *consumerMember, id string) {
	if id == "" {
		id = g.c.opts.NewID()
	}
	if id == m.id {
		return
	}
	delete(g.members, m.id)
	g.target[id] = g.target[m.id]
	delete(g.target, m.id)
	m.id = id
	g.members[id] = m
}

// subscribe takes over what the request says of the member, and reports
// whether it wants other topics than before.
func (g *consumer) subscribe(m *consumerMember, from Client, req *kmsg.ConsumerGroupHeartbeatRequest, regex *regexp.Regexp) (changed bool, err *kerr.Error) {
	topics, pattern := m.topics, m.pattern
	if req.SubscribedTopicNames != nil {
		topics = slices.Compact(slices.Sorted(slices.Values(req.SubscribedTopicNames)))
	}
	if req.SubscribedTopicRegex != nil {
		pattern = *req.SubscribedTopicRegex
	}
	cost := memberOverhead + len(m.id) + len(pattern)
	if pattern != "" {
		cost += maxProgram * 16
	}
	for _, t := range topics {
		cost += 16 + len(t)
	}
	if g.c.bytes-m.cost+cost > g.c.opts.MaxBytes {
		return false, kerr.GroupMaxSizeReached
	}
	g.c.bytes += cost - m.cost
	m.cost = cost
	changed = !slices.Equal(topics, m.topics) || pattern != m.pattern
	if pattern != m.pattern {
		m.regex = regex
	}
	m.topics, m.pattern = topics, pattern
	m.clientID, m.host = from.ID, from.Host
	if req.InstanceID != nil {
		m.instance = req.InstanceID
	}
	if req.RackID != nil {
		m.rack = req.RackID
	}
	if req.RebalanceTimeoutMillis != -1 {
		m.rebalance = max(0, millis(req.RebalanceTimeoutMillis))
	}
	if req.ServerAssignor != nil {
		m.assignor = *req.ServerAssignor
	}
	return changed, nil
}

// ownedBy returns what the member says it has; nil is that it does not say.
func ownedBy(req *kmsg.ConsumerGroupHeartbeatRequest) []partition {
	if req.Topics == nil {
		return nil
	}
	owned := []partition{}
	for _, t := range req.Topics {
		for _, i := range t.Partitions {
			owned = append(owned, partition{t.TopicID, i})
		}
	}
	return owned
}

// leaveGroup takes a member out for good, or a static one until it is back or
// its session ends.
func (g *consumer) leaveGroup(now time.Time, req *kmsg.ConsumerGroupHeartbeatRequest, r *kmsg.ConsumerGroupHeartbeatResponse) (*kerr.Error, string) {
	m := g.members[req.MemberID]
	if req.InstanceID != nil {
		m = g.static[*req.InstanceID]
		if m != nil && m.id != req.MemberID {
			return kerr.FencedInstanceID, ""
		}
	}
	if m == nil {
		return kerr.UnknownMemberID, ""
	}
	r.MemberID, r.MemberEpoch = &req.MemberID, req.MemberEpoch
	if req.MemberEpoch == leaveEpoch {
		g.fence(m, now)
		return nil, ""
	}
	revoking := m.revoking
	m.epoch, m.revoking, m.revokeBy = leaveStaticEpoch, nil, time.Time{}
	if m.progress == unrevoked {
		m.progress = unreleased
	}
	g.own(m, revoking)
	return nil, ""
}
