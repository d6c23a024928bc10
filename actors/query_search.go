package actors

import (
	"context"
	"fmt"
	"sync"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device/query"
)

// search walks the rows that one page of a query may have, whatever way each
// partition takes to them.
type search struct {
	node  *Node
	query *query.Query
	reach *query.Reach
	only  []bool // partitions that rows can be in; nil: all

	mu  sync.Mutex // guards all
	all query.Plan
}

func (n *Node) newSearch(q *query.Query) *search {
	s := &search{node: n, query: q, reach: q.Reach()}
	if ids, ok := s.reach.Devices(); ok {
		s.only = make([]bool, len(n.devices))
		for _, id := range ids {
			if p := n.partitionOf(id); p >= 0 {
				s.only[p] = true
			}
		}
	}
	return s
}

// slice visits the next rows of a partition on its core's goroutine and moves
// after behind them.
func (s *search) slice(ctx context.Context, p int32, after *string, more *bool, visit func(*partition.Row) error) error {
	*more = false
	if s.only != nil && !s.only[p] {
		return nil
	}
	var last string
	var err error
	var used query.Access
	if e := s.node.devices[p].do(ctx, func(c core) {
		s.node.reflects(ctx, p, c)
		last, *more, used, err = c.(*devicesCore).Find(s.reach, *after, s.query.From == query.Modules, querySlice, visit)
	}); e != nil {
		return fmt.Errorf("query partition %d: %w", p, e)
	}
	s.count(p, used)
	*after = last
	return err
}

// count adds what a slice cost.
func (s *search) count(p int32, used query.Access) {
	used.Partitions = []int32{p}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.Add(used)
}

// finish gives a page its plan.
func (s *search) finish(page *query.Page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page.Plan = s.all
	page.Plan.Returned = len(page.Rows)
	s.node.noteScan(s.reach, &page.Plan)
}
