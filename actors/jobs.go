package actors

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
	"github.com/gemello/gemello/persistence/eventlog"
)

// jobKey is the key of a job's own records. No device id holds a slash.
func jobKey(id string) string { return "/jobs/" + id }

// partKey is a key of the job that lies in partition p: what concerns the
// devices of a partition must be in its log.
func (n *Node) partKey(id string, p int32) string { return n.keyIn(jobKey(id), p) }

// keyIn is a key that begins with a prefix and lies in partition p.
func (n *Node) keyIn(prefix string, p int32) string {
	for i := 0; ; i++ {
		if k := fmt.Sprintf("%s/%d", prefix, i); n.partitionOf(k) == p {
			return k
		}
	}
}

// jobCall appends a record of a job and returns the core's answer.
func (n *Node) jobCall(ctx context.Context, kind, key, id, action string, body []byte, h ...eventlog.Header) (partition.Reply, error) {
	h = append(h, eventlog.Header{Key: device.HeaderJob, Value: []byte(id)}, eventlog.Header{Key: device.HeaderAction, Value: []byte(action)})
	return n.call(ctx, kind, key, body, h)
}

// CreateJob schedules a job. The error wraps device.ErrArgument when its
// condition can't be read, ErrJobExists or ErrJobQuota.
func (n *Node) CreateJob(ctx context.Context, j device.Job, a device.Audit) (device.JobView, error) {
	if _, err := query.ParseCondition(j.Condition); err != nil {
		return device.JobView{}, fmt.Errorf("%w: queryCondition: %w", device.ErrArgument, err)
	}
	active := 0
	all, err := n.allJobs(ctx)
	if err != nil {
		return device.JobView{}, err
	}
	for i := range all {
		if !all[i].Status.Ended() {
			active++
		}
	}
	if active >= device.MaxActiveJobs {
		return device.JobView{}, fmt.Errorf("%w: %d have not ended; wait for one or cancel it", device.ErrJobQuota, active)
	}
	body, err := json.Marshal(&j)
	if err != nil {
		return device.JobView{}, err
	}
	r, err := n.jobCall(ctx, device.KindJob, jobKey(j.ID), j.ID, device.JobActionCreate, body, auditHeaders(a)...)
	if err != nil {
		return device.JobView{}, err
	}
	n.wakeJobs()
	return device.JobView{Job: *r.Job, Fresh: true}, nil
}

// CancelJob ends a job: devices that it has not begun with stay as they are. The
// error wraps device.ErrJobNotFound or ErrJobEnded.
func (n *Node) CancelJob(ctx context.Context, id string, a device.Audit) (device.JobView, error) {
	if _, err := n.jobCall(ctx, device.KindJob, jobKey(id), id, device.JobActionCancel, nil, auditHeaders(a)...); err != nil {
		return device.JobView{}, err
	}
	n.wakeJobs()
	return n.Job(ctx, id)
}

// Job returns a job with its figures, or device.ErrJobNotFound.
func (n *Node) Job(ctx context.Context, id string) (device.JobView, error) {
	j, err := n.readJob(ctx, id)
	if err != nil {
		return device.JobView{}, err
	}
	parts, err := n.jobParts(ctx, id)
	if err != nil {
		return device.JobView{}, err
	}
	return device.JobView{Job: *j, Counts: sumParts(parts)}, nil
}

func (n *Node) readJob(ctx context.Context, id string) (*device.Job, error) {
	var j *device.Job
	var err error
	if e := n.devicesDo(ctx, jobKey(id), func(d *partition.Devices) { j, err = d.Job(id) }); e != nil {
		return nil, e
	}
	if err == nil && j == nil {
		err = fmt.Errorf("%w: %s", device.ErrJobNotFound, id)
	}
	return j, err
}

// jobParts returns what each partition knows of a job.
func (n *Node) jobParts(ctx context.Context, id string) ([]partition.JobPart, error) {
	parts := make([]partition.JobPart, len(n.devices))
	for p := range parts {
		var err error
		if parts[p], err = n.jobPart(ctx, int32(p), id); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func (n *Node) jobPart(ctx context.Context, p int32, id string) (part partition.JobPart, err error) {
	if e := n.devices[p].do(ctx, func(c core) { part, err = c.(*devicesCore).JobPart(id) }); e != nil {
		return part, e
	}
	return part, err
}

func sumParts(parts []partition.JobPart) (sum device.JobCounts) {
	for i := range parts {
		sum.Sum(parts[i].Counts)
	}
	return sum
}

// JobFilter picks jobs; empty members pick all.
type JobFilter struct {
	Type   device.JobType
	Status device.JobStatus
}

// Jobs returns up to limit jobs with ids above after, in order of id.
func (n *Node) Jobs(ctx context.Context, f JobFilter, after string, limit int) ([]device.JobView, error) {
	all, err := n.allJobs(ctx)
	if err != nil {
		return nil, err
	}
	var out []device.JobView
	for i := range all {
		j := &all[i]
		if j.ID <= after || f.Type != "" && j.Type != f.Type || f.Status != "" && j.Status != f.Status {
			continue
		}
		if len(out) == limit {
			break
		}
		parts, err := n.jobParts(ctx, j.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, device.JobView{Job: *j, Counts: sumParts(parts)})
	}
	return out, nil
}

// jobPage bounds how many jobs a core hands out at once.
const jobPage = 200

// allJobs returns the jobs of all partitions in order of id.
func (n *Node) allJobs(ctx context.Context) ([]device.Job, error) {
	var all []device.Job
	for _, h := range n.devices {
		after := ""
		for {
			var page []device.Job
			var err error
			if e := h.do(ctx, func(c core) { page, err = c.(*devicesCore).Jobs(after, jobPage) }); e != nil {
				return nil, e
			}
			if err != nil {
				return nil, err
			}
			all = append(all, page...)
			if len(page) < jobPage {
				break
			}
			after = page[len(page)-1].ID
		}
	}
	slices.SortFunc(all, func(a, b device.Job) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}
