package broker

import (
	"context"
	"testing"
	"time"

	"github.com/gemello/gemello/persistence/broker/group"
)

// TestCommitsKeepTheOrderOfGenerations has a commit hang on its way to the
// disk while another generation commits and somebody asks for the offsets.
func TestCommitsKeepTheOrderOfGenerations(t *testing.T) {
	s := start(t, Options{})
	g := s.groups
	ctx := bounded(t)
	// The group is not known and these come from nobody in particular, whom it
	// lets commit.
	begin := func(generation int32) chan func() {
		began := make(chan func(), 1)
		go func() {
			end, err := g.begin(ctx, group.Commit{Group: "g", Generation: generation})
			if err != nil {
				t.Error(err)
			}
			began <- end
		}()
		return began
	}
	slow := <-begin(-1)
	same := <-begin(-1)
	later := begin(-2)
	settled := make(chan error, 1)
	go func() { settled <- g.settle(ctx, "g") }()
	select {
	case <-later:
		t.Fatal("another generation did not wait")
	case <-settled:
		t.Fatal("offsets were given before the commit")
	case <-time.After(20 * time.Millisecond):
	}
	slow()
	same()
	(<-later)()
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	if len(g.commits) != 0 {
		t.Fatalf("%d groups with commits under way", len(g.commits))
	}
	t.Run("nobody waits for a connection that ended", func(t *testing.T) {
		slow := <-begin(-1)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := g.begin(gone, group.Commit{Group: "g", Generation: -2}); err != context.Canceled {
			t.Fatal(err)
		}
		slow()
		if err := g.settle(ctx, "g"); err != nil {
			t.Fatal(err)
		}
	})
}
