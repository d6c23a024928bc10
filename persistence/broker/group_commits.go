package broker

import (
	"context"
	"slices"
	"time"

	"github.com/gemello/gemello/persistence/broker/group"
)

// commit is offsets that are on their way to the disk.
type commit struct {
	generation int32
	done       chan struct{}
}

// begin checks that a member may commit. Until end is called, members of other
// generations wait before they commit, and everybody before he sees offsets:
// otherwise a commit that was slow could undo that of the member that took
// over the partition, or be missed by it.
func (g *groups) begin(ctx context.Context, who group.Commit) (end func(), err error) {
	if who.Generation >= 0 {
		who.Stored = g.stored(who.Group)
	}
	g.mu.Lock()
	if err := g.c.CheckCommit(time.Now(), who); err != nil {
		g.mu.Unlock()
		return nil, err
	}
	g.arm()
	var before []*commit
	for _, c := range g.commits[who.Group] {
		if c.generation != who.Generation {
			before = append(before, c)
		}
	}
	own := &commit{generation: who.Generation, done: make(chan struct{})}
	g.commits[who.Group] = append(g.commits[who.Group], own)
	g.mu.Unlock()

	end = func() {
		g.mu.Lock()
		left := slices.DeleteFunc(g.commits[who.Group], func(c *commit) bool { return c == own })
		if len(left) == 0 {
			delete(g.commits, who.Group)
		} else {
			g.commits[who.Group] = left
		}
		g.mu.Unlock()
		close(own.done)
	}
	if err := await(ctx, before); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// settle waits for the commits of a group that were under way before.
func (g *groups) settle(ctx context.Context, name string) error {
	g.mu.Lock()
	before := slices.Clone(g.commits[name])
	g.mu.Unlock()
	return await(ctx, before)
}

func await(ctx context.Context, commits []*commit) error {
	for _, c := range commits {
		select {
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
