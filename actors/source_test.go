package actors

import (
	"errors"
	"testing"
)

// A core that began after Stop has waited for all cores would write on while
// its stores are closed.
func TestANodeThatStopsBeginsNoCore(t *testing.T) {
	n := &Node{sources: map[string]*source{}, stopped: true}
	s := &source{topic: "t", hosts: []*host{running()}}
	if err := n.begin(s); !errors.Is(err, ErrUnavailable) {
		t.Errorf("begun after the stop: %v", err)
	}
	if len(n.sources) > 0 || n.cores.Load() > 0 {
		t.Errorf("%d sources, %d cores", len(n.sources), n.cores.Load())
	}
}
