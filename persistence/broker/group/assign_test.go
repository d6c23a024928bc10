package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func topicID(name string) (id [16]byte) { copy(id[:], name); return id }

// show prints a target as member:topic/partition,...
func show(target map[string]partitions) string {
	var out []string
	for _, id := range sortedKeys(target) {
		var parts []string
		for _, p := range target[id].sorted() {
			parts = append(parts, fmt.Sprintf("%s%d", strings.TrimRight(string(p.topic[:]), "\x00"), p.index))
		}
		out = append(out, id+":"+strings.Join(parts, ","))
	}
	return strings.Join(out, " ")
}

func subscriberOf(id, topics string, had ...string) subscriber {
	s := subscriber{id: id, topics: make(map[string]struct{}), had: make(partitions)}
	for _, t := range strings.Fields(topics) {
		s.topics[t] = struct{}{}
	}
	for _, h := range had {
		s.had[partition{topicID(h[:1]), int32(h[1] - '0')}] = struct{}{}
	}
	return s
}

func TestAssign(t *testing.T) {
	topics := map[string]topicInfo{"a": {topicID("a"), 3}, "b": {topicID("b"), 3}}
	for _, tc := range []struct {
		rule    string
		name    string
		members []subscriber
		want    string
	}{
		{"range gives the same range of all topics", "range",
			[]subscriber{subscriberOf("x", "a b"), subscriberOf("y", "a b")}, "x:a0,a1,b0,b1 y:a2,b2"},
		{"range by subscription", "range",
			[]subscriber{subscriberOf("x", "a"), subscriberOf("y", "a b")}, "x:a0,a1 y:a2,b0,b1,b2"},
		{"range puts static members first, by instance", "range",
			[]subscriber{subscriberOf("x", "a"), {id: "z", instance: "i", topics: subscriberOf("", "a").topics}}, "x:a2 z:a0,a1"},
		{"range leaves some without", "range",
			[]subscriber{subscriberOf("v", "a"), subscriberOf("w", "a"), subscriberOf("x", "a"), subscriberOf("y", "a")}, "v:a0 w:a1 x:a2 y:"},
		{"uniform is even over all topics", "uniform",
			[]subscriber{subscriberOf("x", "a b"), subscriberOf("y", "a b")}, "x:a0,a2,b1 y:a1,b0,b2"},
		{"uniform keeps what members had", "uniform",
			[]subscriber{subscriberOf("x", "a b", "b0", "b1", "b2"), subscriberOf("y", "a b")}, "x:b0,b1,b2 y:a0,a1,a2"},
		{"uniform moves no more than it must", "uniform",
			[]subscriber{subscriberOf("x", "a b", "a0", "a1", "a2", "b0", "b1", "b2"), subscriberOf("y", "a b")}, "x:b0,b1,b2 y:a0,a1,a2"},
		{"uniform by subscription", "uniform",
			[]subscriber{subscriberOf("x", "a"), subscriberOf("y", "a b")}, "x:a0,a1,a2 y:b0,b1,b2"},
		{"uniform takes what is no longer subscribed", "uniform",
			[]subscriber{subscriberOf("x", "a", "b0"), subscriberOf("y", "b")}, "x:a0,a1,a2 y:b0,b1,b2"},
		{"uniform forgets partitions that are gone", "uniform",
			[]subscriber{subscriberOf("x", "a b", "a7", "c0")}, "x:a0,a1,a2,b0,b1,b2"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if got := show(assignorOf(tc.name)(topics, tc.members)); got != tc.want {
				t.Fatalf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestAssignRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		topics := make(map[string]topicInfo)
		var names []string
		for i := range 1 + r.IntN(4) {
			name := fmt.Sprint("t", i)
			names = append(names, name)
			topics[name] = topicInfo{topicID(name), int32(r.IntN(20))}
		}
		same := r.IntN(2) == 0
		var members []subscriber
		for i := range 1 + r.IntN(7) {
			s := subscriber{id: fmt.Sprint("m", i), topics: make(map[string]struct{})}
			for _, n := range names {
				if same || r.IntN(2) == 0 {
					s.topics[n] = struct{}{}
				}
			}
			members = append(members, s)
		}
		for _, name := range assignorNames {
			target := assignorOf(name)(topics, members)
			checkAssignment(t, topics, members, target)
			if same && name == "uniform" {
				lo, hi := 1<<30, 0
				for _, set := range target {
					lo, hi = min(lo, len(set)), max(hi, len(set))
				}
				if hi-lo > 1 {
					t.Fatalf("seed %d: from %d to %d partitions", seed, lo, hi)
				}
			}
			if name == "uniform" {
				for i := range members {
					members[i].had = target[members[i].id]
				}
				if again := assignUniform(topics, members); show(again) != show(target) {
					t.Fatalf("seed %d: moved without a cause:\n%s\n%s", seed, show(target), show(again))
				}
				slices.Reverse(members)
			}
		}
	}
}

// checkAssignment checks that each partition with subscribers is one's of them.
func checkAssignment(t *testing.T, topics map[string]topicInfo, members []subscriber, target map[string]partitions) {
	t.Helper()
	for name, info := range topics {
		for i := range info.partitions {
			owners, takers := 0, 0
			for _, m := range members {
				_, takes := m.topics[name]
				has := target[m.id].has(partition{info.id, i})
				if takes {
					takers++
				}
				if has {
					owners++
				}
				if has && !takes {
					t.Fatalf("%s has %s/%d, which it does not want", m.id, name, i)
				}
			}
			if owners != min(1, takers) {
				t.Fatalf("%s/%d has %d owners of %d subscribers", name, i, owners, takers)
			}
		}
	}
}
