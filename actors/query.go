package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// Bounds of a query's work. A core is held for a slice at a time, so that
// devices wait for no more than that.
const (
	querySlice     = 256
	queryLook      = 1 << 20 // devices looked at for one page; a page may be short
	queryFew       = 1 << 10 // devices looked at before several partitions are worked on
	queryPageBytes = 8 << 20
	queryParallel  = 4 // partitions worked on at a time
)

// How long Await goes between two looks at a core.
const (
	firstLook = time.Millisecond
	lastLook  = 50 * time.Millisecond
)

// errPage ends a slice because the page is full.
var errPage = errors.New("page is full")

// Query answers up to limit rows of a query from a cursor on. Rows come by
// partition and id, groups by their key. The errors are ErrUnavailable, ErrBusy,
// query.ErrCursor and query.ErrGroups.
func (n *Node) Query(ctx context.Context, q *query.Query, from query.Cursor, limit int) (query.Page, error) {
	if from.Partition < 0 || int(from.Partition) >= len(n.devices) || limit < 1 {
		return query.Page{}, fmt.Errorf("partition %d, limit %d: %w", from.Partition, limit, query.ErrCursor)
	}
	if q.Top > 0 {
		limit = min(limit, q.Top-from.Rows)
		if limit <= 0 {
			return query.Page{}, nil
		}
	}
	if q.From == query.Jobs {
		return n.queryJobs(ctx, q, from, limit)
	}
	if q.Aggregates() {
		return n.queryGroups(ctx, q, from, limit)
	}
	return n.queryRows(ctx, q, from, limit)
}

// rowsOf says whether the collection has rows that are devices or modules.
func rowsOf(q *query.Query) bool { return q.From == query.Devices || q.From == query.Modules }

// queryRows goes from partition to partition. Once it has looked at many rows, it
// works on several partitions at a time, whose rows it still takes in order.
func (n *Node) queryRows(ctx context.Context, q *query.Query, from query.Cursor, limit int) (page query.Page, err error) {
	if !rowsOf(q) {
		return page, nil
	}
	s := n.newSearch(q)
	end := from // behind the last row of the page
	bytes, looked := 0, 0
	for page.Next == nil && int(from.Partition) < len(n.devices) {
		wide, look := 1, queryFew-looked
		if looked >= queryFew {
			wide, look = queryParallel, max(queryLook-looked, 1)
		}
		parts, err := s.collect(ctx, from, wide, look, limit-len(page.Rows), queryPageBytes-bytes)
		if err != nil {
			return query.Page{}, err
		}
		for i := range parts {
			part := &parts[i]
			looked += part.looked
			for j, row := range part.rows {
				if len(page.Rows) == limit || bytes > queryPageBytes {
					part.full = true
					break
				}
				bytes += len(row)
				page.Rows = append(page.Rows, row)
				end.Partition, end.After = part.partition, part.keys[j]
			}
			from.Partition, from.After = part.partition, part.after
			if part.full {
				page.Next = &end
				break
			}
			if part.more {
				if wide > 1 { // it is much that was looked at
					page.Next = &from
				}
				break
			}
			from.Partition, from.After = part.partition+1, ""
		}
	}
	if page.Next != nil {
		next := *page.Next
		next.Rows = from.Rows + len(page.Rows)
		page.Next = &next
		if q.Top > 0 && next.Rows >= q.Top {
			page.Next = nil
		}
	}
	s.finish(&page)
	return page, nil
}

func rowOf(q *query.Query, r *partition.Row) ([]byte, error) {
	if q.Items != nil {
		return q.Row(nil, r.Source()), nil
	}
	d, err := r.Device()
	if err != nil {
		return nil, err
	}
	return d.AppendServiceView(nil), nil
}

// queryGroups sums up all partitions anew for every page: groups change with
// each device, so none are kept between pages.
func (n *Node) queryGroups(ctx context.Context, q *query.Query, from query.Cursor, limit int) (query.Page, error) {
	parts := make([]*query.Groups, len(n.devices))
	s := n.newSearch(q)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(queryParallel)
	for p := range parts {
		parts[p] = q.NewGroups()
		if !rowsOf(q) {
			continue
		}
		g.Go(func() error {
			after, more := "", true
			for more {
				if err := s.slice(ctx, int32(p), &after, &more, func(r *partition.Row) error {
					if !q.Match(r.Source()) {
						return nil
					}
					return parts[p].Add(r.Source())
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return query.Page{}, err
	}
	all := parts[0]
	for _, p := range parts[1:] {
		if err := all.Merge(p); err != nil {
			return query.Page{}, err
		}
	}
	page := query.Page{}
	last, more := all.Rows(from.After, from.Started, limit, func(row []byte) { page.Rows = append(page.Rows, row) })
	next := query.Cursor{After: last, Started: true, Rows: from.Rows + len(page.Rows)}
	if more && (q.Top == 0 || next.Rows < q.Top) {
		page.Next = &next
	}
	s.finish(&page)
	return page, nil
}

// reflects notes where a core stands that an answer is read from.
func (n *Node) reflects(ctx context.Context, p int32, c core) {
	device.NotePosition(ctx, device.LogPosition{Partition: p, Next: c.Position()})
}

// Await returns when the cores have applied the log up to the positions, or with
// ErrUnavailable when ctx ends first.
func (n *Node) Await(ctx context.Context, positions []device.LogPosition) error {
	for _, want := range positions {
		if want.Partition < 0 || int(want.Partition) >= len(n.devices) {
			return fmt.Errorf("%w: partition %d of %d", device.ErrArgument, want.Partition, len(n.devices))
		}
		for wait := firstLook; ; wait = min(2*wait, lastLook) {
			var at int64
			err := n.devices[want.Partition].do(ctx, func(c core) { at = c.Position() })
			if err == nil && at >= want.Next {
				break
			}
			if !pause(ctx, wait) {
				return fmt.Errorf("partition %d is at %d, not yet at %d: %w", want.Partition, at, want.Next, ErrUnavailable)
			}
		}
	}
	return nil
}
