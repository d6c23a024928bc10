package cluster

import (
	"fmt"
	"slices"
	"testing"
)

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("node-%d", i)
	}
	return out
}

func TestRankDoesNotDependOnTheOrderOfNames(t *testing.T) {
	nodes := names(7)
	reversed := slices.Clone(nodes)
	slices.Reverse(reversed)
	for p := range int32(200) {
		a, b := Rank(nodes, p), Rank(reversed, p)
		if !slices.Equal(a, b) {
			t.Fatalf("partition %d: %v and %v", p, a, b)
		}
		if o := owner(reversed, p); o != a[0] {
			t.Fatalf("partition %d: owner %s, first in rank %s", p, o, a[0])
		}
	}
}

func TestNodeThatLeavesMovesOnlyItsOwnPartitionsToTheSecondInRank(t *testing.T) {
	nodes := names(5)
	for _, gone := range nodes {
		left := slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return n == gone })
		for p := range int32(500) {
			ranked, now := Rank(nodes, p), owner(left, p)
			want := ranked[0]
			if want == gone {
				want = ranked[1]
			}
			if now != want {
				t.Fatalf("partition %d without %s: owner %s, want %s", p, gone, now, want)
			}
		}
	}
}

func TestPartitionsSpreadEvenly(t *testing.T) {
	const partitions = 4096
	for n := 2; n <= 16; n *= 2 {
		count := map[string]int{}
		for p := range int32(partitions) {
			count[owner(names(n), p)]++
		}
		fair := partitions / n
		for node, c := range count {
			if c < fair*3/4 || c > fair*5/4 {
				t.Errorf("%d nodes: %s owns %d partitions, a fair share is %d", n, node, c, fair)
			}
		}
	}
}

func TestScoresNeverChange(t *testing.T) {
	for _, c := range []struct {
		node      string
		partition int32
		want      uint64
	}{
		{"", 0, 0xaca6d6b54be3ed05},
		{"a", 0, 0x3025e00c34f88fc7},
		{"node-1", 7, 0xf53693cbcf5f8d38},
		{"node-1", -1, 0x2654aed6631ba2e3},
	} {
		if got := score(c.node, c.partition); got != c.want {
			t.Errorf("score(%q, %d) = %#x, want %#x", c.node, c.partition, got, c.want)
		}
	}
}

func TestRankOfNoNodesAndOfRepeatedNames(t *testing.T) {
	if got := Rank(nil, 1); len(got) != 0 {
		t.Errorf("Rank(nil) = %v", got)
	}
	if got := owner(nil, 1); got != "" {
		t.Errorf("owner(nil) = %q", got)
	}
	if got := Rank([]string{"a", "b", "a"}, 1); len(got) != 2 {
		t.Errorf("Rank with a name twice = %v", got)
	}
}
