package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// refresh looks up the topics that members subscribe to, and begins an epoch
// if they have changed.
func (g *consumer) refresh(now time.Time) {
	g.refreshAt = now.Add(metadataRefresh)
	topics := make(map[string]topicInfo)
	look := func(name string) {
		if _, ok := topics[name]; ok {
			return
		}
		if id, n, ok := g.c.opts.Topics.TopicByName(name); ok {
			topics[name] = topicInfo{id, n}
		}
	}
	var patterns []*consumerMember
	for _, m := range g.members {
		for _, name := range m.topics {
			look(name)
		}
		if m.regex != nil {
			patterns = append(patterns, m)
		}
	}
	if len(patterns) > 0 {
		for _, name := range g.c.opts.Topics.TopicNames() {
			if slices.ContainsFunc(patterns, func(m *consumerMember) bool { return m.regex.MatchString(name) }) {
				look(name)
			}
		}
	}
	if !maps.Equal(topics, g.topics) {
		g.topics = topics
		g.epoch++
	}
}

// assignTarget makes the assignment of the group's epoch.
func (g *consumer) assignTarget() {
	subs := make([]subscriber, 0, len(g.members))
	for _, id := range sortedKeys(g.members) {
		m := g.members[id]
		s := subscriber{id: id, topics: make(map[string]struct{}), had: g.target[id]}
		if m.instance != nil {
			s.instance = *m.instance
		}
		for name := range g.topics {
			if m.subscribes(name) {
				s.topics[name] = struct{}{}
			}
		}
		subs = append(subs, s)
	}
	g.assignor = g.preferred()
	g.target = assignorOf(g.assignor)(g.topics, subs)
	g.targetEpoch = g.epoch
}

// preferred is the assignor that most members ask for.
func (g *consumer) preferred() string {
	votes := make(map[string]int)
	for _, m := range g.members {
		votes[m.assignor]++
	}
	best := assignorNames[0]
	for _, name := range assignorNames {
		if votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// reconcile takes the member as far towards its target as others let it. owned
// is what it says it has; nil is that it does not say.
func (g *consumer) reconcile(m *consumerMember, owned []partition, now time.Time) {
	epoch := m.epoch
	switch m.progress {
	case reconciled:
		if m.epoch == g.targetEpoch {
			return
		}
	case unrevoked:
		if owns(owned, m.revoking) {
			return
		}
		epoch++
	}
	target := g.target[m.id]
	keep, revoke, add := make(partitions), make(partitions), make(partitions)
	for p := range m.assigned {
		if target.has(p) {
			keep[p] = struct{}{}
		} else {
			revoke[p] = struct{}{}
		}
	}
	missing := false
	for p := range target {
		switch owner := g.owners[p]; {
		case keep.has(p):
		case owner != nil && owner != m:
			missing = true
		default:
			// Nobody has it, or the member itself had it revoked and gave it up.
			add[p] = struct{}{}
		}
	}
	assigned, revoking := m.assigned, m.revoking
	if len(revoke) > 0 && owns(owned, revoke) {
		m.progress, m.assigned, m.revoking = unrevoked, keep, revoke
		m.advance(epoch)
		m.revokeBy = g.wake(now.Add(m.rebalance))
	} else {
		m.progress = reconciled
		if missing {
			m.progress = unreleased
		}
		maps.Copy(keep, add)
		m.assigned, m.revoking = keep, nil
		m.advance(g.targetEpoch)
		m.revokeBy = time.Time{}
	}
	g.own(m, assigned, revoking)
}

// advance takes the member to an epoch.
func (m *consumerMember) advance(epoch int32) {
	if epoch != m.epoch {
		m.previous, m.epoch = m.epoch, epoch
	}
}

// owns reports whether a member may still have one of the partitions.
func owns(owned []partition, set partitions) bool {
	return owned == nil || slices.ContainsFunc(owned, set.has)
}

// topicsOf puts partitions in a response.
func topicsOf(set partitions) []kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic {
	out := []kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{}
	for _, p := range set.sorted() {
		if n := len(out); n == 0 || out[n-1].TopicID != p.topic {
			t := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
			t.TopicID = p.topic
			out = append(out, t)
		}
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, p.index)
	}
	return out
}
