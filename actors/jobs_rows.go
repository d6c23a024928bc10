package actors

import (
	"context"
	"fmt"
	"strings"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device/query"
)

// rowsAtOnce bounds the rows of jobs that a core looks at in one request.
const rowsAtOnce = 500

// jobPlace is where a walk over the rows of jobs stands: behind a device of a
// job in a partition.
type jobPlace struct {
	partition   int32
	job, entity string
}

// queryJobs answers up to limit rows of devices.jobs, by partition, job and
// device.
func (n *Node) queryJobs(ctx context.Context, q *query.Query, from query.Cursor, limit int) (query.Page, error) {
	page := query.Page{}
	at := jobPlace{partition: from.Partition}
	at.job, at.entity, _ = strings.Cut(from.After, "/")
	end := from // behind the last row of the page
	only, bytes, looked := q.JobID(), 0, 0
	for at.partition < int32(len(n.devices)) {
		if at.job == "" {
			next, err := n.nextJob(ctx, at.partition, "", only)
			if err != nil {
				return query.Page{}, err
			}
			if next == "" {
				at = jobPlace{partition: at.partition + 1}
				continue
			}
			at.job = next
		}
		rows, next, err := n.jobRows(ctx, at)
		if err != nil {
			return query.Page{}, err
		}
		for i := range rows {
			looked++
			did, mid := rows[i].Ref()
			text, err := rows[i].Job.AppendRow(nil, did, mid, &rows[i].Row)
			if err != nil {
				return query.Page{}, fmt.Errorf("row of job %s: %w", at.job, err)
			}
			if !q.Match(query.JobRow{Text: string(text)}) {
				continue
			}
			if len(page.Rows) == limit || bytes > queryPageBytes {
				page.Next = &end
				break
			}
			bytes += len(text)
			page.Rows = append(page.Rows, text)
			end.Partition, end.After = at.partition, at.job+"/"+rows[i].Entity
		}
		if page.Next == nil && next != "" && looked >= queryLook {
			end.Partition, end.After = at.partition, at.job+"/"+next
			page.Next = &end
		}
		if page.Next != nil {
			break
		}
		if at.entity = next; next != "" {
			continue
		}
		job, err := n.nextJob(ctx, at.partition, at.job, only)
		if err != nil {
			return query.Page{}, err
		}
		if at.job = job; job == "" {
			at = jobPlace{partition: at.partition + 1}
		}
	}
	if page.Next != nil {
		page.Next.Rows += len(page.Rows)
		if q.Top > 0 && page.Next.Rows >= q.Top {
			page.Next = nil
		}
	}
	return page, nil
}

// nextJob returns the next job that has rows in a partition, "" for none.
func (n *Node) nextJob(ctx context.Context, p int32, after, only string) (string, error) {
	if only != "" {
		if after != "" {
			return "", nil
		}
		return only, nil
	}
	var ids []string
	var err error
	if e := n.devices[p].do(ctx, func(c core) {
		n.reflects(ctx, p, c)
		ids, err = c.(*devicesCore).JobIDs(after, 1)
	}); e != nil {
		return "", e
	}
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return ids[0], nil
}

// jobRows returns some devices of a job and where to go on, "" at the end.
func (n *Node) jobRows(ctx context.Context, at jobPlace) (rows []partition.JobDevice, next string, err error) {
	e := n.devices[at.partition].do(ctx, func(c core) {
		n.reflects(ctx, at.partition, c)
		next, err = c.(*devicesCore).JobRows(at.job, at.entity, rowsAtOnce, func(r *partition.JobDevice) bool {
			rows = append(rows, *r)
			return true
		})
	})
	if e != nil {
		return nil, "", e
	}
	return rows, next, err
}
