package actors

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

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

// part is what was found in a partition.
type part struct {
	partition int32
	rows      [][]byte
	keys      []string // of the entities that the rows are of
	after     string   // the last entity that was looked at
	looked    int
	full      bool // there is a row that the limits leave no room for
	more      bool // not all of the partition was looked at
}

// collect finds rows from a place on in up to wide partitions at a time, in each at
// most so many, and looks at no more than look entities of each.
func (s *search) collect(ctx context.Context, from query.Cursor, wide, look, limit, bytes int) ([]part, error) {
	var parts []part
	for p := from.Partition; int(p) < len(s.node.devices) && len(parts) < wide; p++ {
		if s.only == nil || s.only[p] || len(parts) == 0 {
			parts = append(parts, part{partition: p})
		}
	}
	parts[0].after = from.After
	if len(parts) == 1 {
		return parts, s.fill(ctx, &parts[0], look, limit, bytes)
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range parts {
		g.Go(func() error { return s.fill(ctx, &parts[i], look, limit, bytes) })
	}
	return parts, g.Wait()
}

func (s *search) fill(ctx context.Context, p *part, look, limit, bytes int) error {
	for p.more = true; p.more && p.looked < look; {
		err := s.slice(ctx, p.partition, &p.after, &p.more, func(r *partition.Row) error {
			p.looked++
			if !s.query.Match(r.Source()) {
				return nil
			}
			if len(p.rows) >= limit || bytes < 0 {
				p.full = true
				return errPage
			}
			row, err := rowOf(s.query, r)
			if err != nil {
				return err
			}
			bytes -= len(row)
			p.rows, p.keys = append(p.rows, row), append(p.keys, r.Ref.Key())
			return nil
		})
		if p.full {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
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
