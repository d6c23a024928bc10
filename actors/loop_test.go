package actors

import (
	"testing"
	"time"
)

func TestCoresCommitInTurn(t *testing.T) {
	const partitions, every = 8, 500 * time.Millisecond
	n := &Node{options: Options{Partitions: partitions, CommitEvery: every}}
	seen := map[time.Duration]int32{}
	for p := range int32(partitions) {
		phase := (&term{host: &host{hostOptions: hostOptions{node: n, partition: p}}}).phase()
		if phase <= 0 || phase > every {
			t.Errorf("partition %d: first commit after %v, want within %v", p, phase, every)
		}
		if other, taken := seen[phase]; taken {
			t.Errorf("partitions %d and %d commit at once", other, p)
		}
		seen[phase] = p
	}
}
