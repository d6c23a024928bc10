package cluster

import (
	"cmp"
	"slices"
)

// Rank orders nodes by their claim on a partition, the owner first and the one
// that would follow it second (rendezvous hashing: each node's score depends on
// its name and the partition alone). When a node leaves, only the partitions it
// owned move; when one joins, only those move that it wins. Names that occur
// twice count once. Scores are part of the placement contract between nodes of
// different versions: they never change.
func Rank(nodes []string, partition int32) []string {
	type claim struct {
		node  string
		score uint64
	}
	claims := make([]claim, len(nodes))
	for i, n := range nodes {
		claims[i] = claim{n, score(n, partition)}
	}
	slices.SortFunc(claims, func(a, b claim) int {
		// A tie of scores goes to the smaller name, so that all nodes agree.
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.node, b.node))
	})
	ranked := make([]string, 0, len(claims))
	for _, c := range claims {
		ranked = append(ranked, c.node)
	}
	return slices.Compact(ranked)
}

// owner is Rank's first without the sorting; "" when there are no nodes.
func owner(nodes []string, partition int32) string {
	var best string
	var top uint64
	for i, n := range nodes {
		s := score(n, partition)
		if i == 0 || s > top || s == top && n < best {
			best, top = n, s
		}
	}
	return best
}

// score is FNV-1a over the name and the partition's four bytes, big end first,
// then the finalizer of splitmix64: FNV alone leaves the scores of neighbouring
// partitions correlated, and the placement uneven.
func score(node string, partition int32) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(node) {
		h = (h ^ uint64(node[i])) * prime
	}
	for shift := 24; shift >= 0; shift -= 8 {
		h = (h ^ uint64(byte(uint32(partition)>>shift))) * prime
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
