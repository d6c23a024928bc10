package group

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
)

// partition is one of a topic.
type partition struct {
	topic [16]byte
	index int32
}

func comparePartitions(a, b partition) int {
	return cmp.Or(bytes.Compare(a.topic[:], b.topic[:]), cmp.Compare(a.index, b.index))
}

// partitions is a set of them.
type partitions map[partition]struct{}

func (p partitions) has(x partition) bool { _, ok := p[x]; return ok }

func (p partitions) sorted() []partition {
	return slices.SortedFunc(maps.Keys(p), comparePartitions)
}

// topicInfo is what a consumer group knows of a topic.
type topicInfo struct {
	id         [16]byte
	partitions int32
}

// subscriber is a member as an assignor sees it.
type subscriber struct {
	id, instance string
	topics       map[string]struct{}
	had          partitions // the target so far
}

// assignor gives every partition of every topic to one subscriber of it.
type assignor func(topics map[string]topicInfo, members []subscriber) map[string]partitions

// assignors by the names that Kafka gives them; the first is used unless
// members ask for another.
var assignorNames = []string{"uniform", "range"}

func assignorOf(name string) assignor {
	switch name {
	case "uniform":
		return assignUniform
	case "range":
		return assignRange
	}
	return nil
}

// assignRange gives each subscriber of a topic a range of its partitions, the
// same one of all topics if they have the same number and subscribers. Static
// members come first, by instance, so that they keep their place.
func assignRange(topics map[string]topicInfo, members []subscriber) map[string]partitions {
	target := make(map[string]partitions, len(members))
	ordered := slices.Clone(members)
	slices.SortFunc(ordered, func(a, b subscriber) int {
		if (a.instance == "") != (b.instance == "") {
			return -cmp.Compare(a.instance, b.instance) // "" last
		}
		return cmp.Or(cmp.Compare(a.instance, b.instance), cmp.Compare(a.id, b.id))
	})
	for _, m := range ordered {
		target[m.id] = make(partitions)
	}
	for name, info := range topics {
		var takers []string
		for _, m := range ordered {
			if _, ok := m.topics[name]; ok {
				takers = append(takers, m.id)
			}
		}
		if len(takers) == 0 {
			continue
		}
		n := int32(len(takers))
		each, extra := info.partitions/n, info.partitions%n
		next := int32(0)
		for i, id := range takers {
			end := next + each
			if int32(i) < extra {
				end++
			}
			for ; next < end; next++ {
				target[id][partition{info.id, next}] = struct{}{}
			}
		}
	}
	return target
}

// assignUniform gives all subscribers as nearly as many partitions as their
// subscriptions allow, and moves no more than that takes.
func assignUniform(topics map[string]topicInfo, members []subscriber) map[string]partitions {
	target := make(map[string]partitions, len(members))
	wants := make(map[string]map[[16]byte]struct{}, len(members)) // by member: ids of its topics
	ids := make([]string, 0, len(members))
	taken := make(partitions)
	for _, m := range members {
		ids = append(ids, m.id)
		target[m.id] = make(partitions)
		want := make(map[[16]byte]struct{})
		counts := make(map[[16]byte]int32)
		for name := range m.topics {
			if info, ok := topics[name]; ok {
				want[info.id] = struct{}{}
				counts[info.id] = info.partitions
			}
		}
		wants[m.id] = want
		for p := range m.had {
			if p.index < counts[p.topic] && !taken.has(p) {
				target[m.id][p] = struct{}{}
				taken[p] = struct{}{}
			}
		}
	}
	slices.Sort(ids)
	load := func(a, b string) int { return cmp.Compare(len(target[a]), len(target[b])) }
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		info := topics[name]
		var takers []string
		for _, id := range ids {
			if _, ok := wants[id][info.id]; ok {
				takers = append(takers, id)
			}
		}
		if len(takers) == 0 {
			continue
		}
		for i := range info.partitions {
			if p := (partition{info.id, i}); !taken.has(p) {
				target[slices.MinFunc(takers, load)][p] = struct{}{}
			}
		}
	}
	// Even out what members had. Each move makes the sum of squares of the
	// loads smaller, so this ends.
	for moved := true; moved; {
		moved = false
		slices.SortStableFunc(ids, load)
		for _, to := range ids {
			for _, from := range slices.Backward(ids) {
				if len(target[from]) < len(target[to])+2 {
					continue
				}
				for _, p := range target[from].sorted() {
					if len(target[from]) < len(target[to])+2 {
						break
					}
					if _, ok := wants[to][p.topic]; ok {
						delete(target[from], p)
						target[to][p] = struct{}{}
						moved = true
					}
				}
			}
		}
	}
	return target
}
