package actors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
)

// Bounds of the work on jobs.
const (
	jobsAtOnce     = 10          // run beside each other; more wait in the order they were made
	jobLook        = time.Second // how often jobs that are due are looked for
	jobStepWindow  = 1024        // twin steps under way, a job
	jobCallWindow  = 512         // method calls under way, a job: those that a crash leaves in doubt
	jobPartsAtOnce = 16
	jobRetry       = 2 * time.Second
	jobPatience    = 5 * time.Second
)

// jobDriver runs the jobs of the partitions that this node owns. All that it
// knows can be found again in the cores.
type jobDriver struct {
	node *Node

	mu      sync.Mutex // guards the following
	running map[string]*jobRun
	group   sync.WaitGroup
}

// wakeJobs makes the driver look at once.
func (n *Node) wakeJobs() {
	select {
	case n.jobsWake <- struct{}{}:
	default:
	}
}

// driveJobs looks for work until ctx ends.
func (n *Node) driveJobs(ctx context.Context) error {
	d := &jobDriver{node: n, running: map[string]*jobRun{}}
	defer d.group.Wait()
	tick := time.NewTicker(jobLook)
	defer tick.Stop()
	for {
		if err := d.look(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
			n.logger.Warn("look for jobs", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.jobsWake:
		case <-tick.C:
		}
	}
}

// look starts what is due and tells what runs that its job may have changed.
func (d *jobDriver) look(ctx context.Context) error {
	all, err := d.node.allJobs(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b device.Job) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	now := d.node.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range all {
		j := &all[i]
		if r := d.running[j.ID]; r != nil {
			if j.Status == device.JobCancelled {
				r.interrupt()
			}
			continue
		}
		over := j.Over(now, d.node.options.JobHistory)
		due := !j.Settled && (j.Status.Ended() || !now.Before(j.Start))
		if !over && !due || len(d.running) >= jobsAtOnce {
			continue
		}
		r := newJobRun(d.node, j)
		d.running[j.ID] = r
		d.group.Go(func() { d.run(ctx, r, over) })
	}
	return nil
}

func (d *jobDriver) run(ctx context.Context, r *jobRun, over bool) {
	work := r.run
	if over {
		work = r.forget
	}
	err := work(ctx)
	r.group.Wait()
	if err != nil && ctx.Err() == nil {
		d.node.logger.Warn("job stopped for now", "job", r.job.ID, "err", err)
	}
	d.mu.Lock()
	delete(d.running, r.job.ID)
	d.mu.Unlock()
	if err == nil {
		d.node.wakeJobs() // one that waited may begin
	}
}

// jobRun is the work on one job.
type jobRun struct {
	node  *Node
	job   device.Job
	poke  chan struct{} // holds one token after interrupt
	slots chan struct{}
	group sync.WaitGroup

	next  time.Time     // when the rate lets the next device begin
	quiet time.Duration // how long to wait when nothing can begin
	busy  bool          // something was begun since the last wait

	mu     sync.Mutex // guards the following
	flying map[string]bool
	retry  map[string]time.Time // when a device that was not ready is tried again
	counts device.JobCounts     // as of the last look, with the outcomes since
	landed chan struct{}        // holds one token when nothing is under way
}

func newJobRun(n *Node, j *device.Job) *jobRun {
	window := jobStepWindow
	if j.Type == device.JobMethod {
		window = jobCallWindow
	}
	return &jobRun{
		node: n, job: *j, poke: make(chan struct{}, 1), slots: make(chan struct{}, window),
		flying: map[string]bool{}, retry: map[string]time.Time{}, landed: make(chan struct{}, 1),
	}
}

func (r *jobRun) interrupt() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// step appends a record of the job itself.
func (r *jobRun) step(ctx context.Context, action, reason string) error {
	reply, err := r.node.jobCall(ctx, device.KindJob, jobKey(r.job.ID), r.job.ID, action, []byte(reason))
	if err == nil {
		r.see(reply.Job)
	}
	return err
}

// part appends a record for all devices of a partition.
func (r *jobRun) part(ctx context.Context, p int32, action string, body []byte) (*partition.JobPart, error) {
	reply, err := r.node.jobCall(ctx, device.KindJobPart, r.node.partKey(r.job.ID, p), r.job.ID, action, body)
	return reply.Part, err
}

// see takes a newer state of the job, which only run's goroutine does.
func (r *jobRun) see(j *device.Job) {
	r.mu.Lock()
	r.job = *j
	r.mu.Unlock()
}

// snapshot is the job as steps under way may read it.
func (r *jobRun) snapshot() device.Job {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.job
}

// run brings a job to its end, from wherever it stands.
func (r *jobRun) run(ctx context.Context) error {
	if !r.job.Status.Ended() {
		if err := r.begin(ctx); err != nil {
			return err
		}
	}
	for {
		j, err := r.node.readJob(ctx, r.job.ID)
		if err != nil {
			return err
		}
		r.see(j)
		if how := r.closing(); how != "" {
			if err := r.close(ctx, how); err != nil {
				return err
			}
		}
		if err := r.pass(ctx); err != nil {
			return err
		}
		if err := r.settle(ctx); err != nil {
			return err
		}
		parts, err := r.node.jobParts(ctx, r.job.ID)
		if err != nil {
			return err
		}
		sum := sumParts(parts)
		r.mu.Lock()
		r.counts = sum
		r.mu.Unlock()
		if r.halted() && r.job.Reason == "" && !r.job.Status.Ended() {
			reason := fmt.Sprintf("halted: %d of %d devices failed, more than %d %%", sum.Failed, sum.Failed+sum.Succeeded, r.job.Halt)
			if err := r.step(ctx, device.JobActionHalt, reason); err != nil {
				return err
			}
			continue
		}
		if sum.Open() > 0 {
			continue
		}
		if r.job.Status.Ended() {
			return r.step(ctx, device.JobActionSettled, "")
		}
		return r.step(ctx, device.JobActionEnd, "")
	}
}

// begin starts the job and has every partition pick its devices.
func (r *jobRun) begin(ctx context.Context) error {
	if r.job.Status != device.JobRunning {
		if err := r.step(ctx, device.JobActionStart, ""); err != nil {
			return err
		}
	}
	body, err := json.Marshal(&r.job)
	if err != nil {
		return err
	}
	err = r.eachPart(ctx, func(ctx context.Context, p int32) error {
		for {
			part, err := r.part(ctx, p, partition.PartPick, body)
			if err != nil {
				return err
			}
			if part.Picked || part.Closed != "" {
				return nil
			}
		}
	})
	if errors.Is(err, device.ErrArgument) || errors.Is(err, device.ErrFormat) {
		return r.step(ctx, device.JobActionHalt, err.Error())
	}
	return err
}

// eachPart works on all partitions beside each other: what it appends is answered
// a round trip to the log later.
func (r *jobRun) eachPart(ctx context.Context, work func(ctx context.Context, p int32) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobPartsAtOnce)
	for p := range int32(len(r.node.devices)) {
		g.Go(func() error { return work(ctx, p) })
	}
	return g.Wait()
}

// closing says how devices that have not been begun must end, "" while they may
// begin.
func (r *jobRun) closing() string {
	switch {
	case r.job.Status.Ended(), r.job.Reason != "":
		return partition.PartCancel
	case !r.node.now().Before(r.job.Deadline()):
		return partition.PartExpire
	}
	return ""
}

func (r *jobRun) close(ctx context.Context, how string) error {
	return r.eachPart(ctx, func(ctx context.Context, p int32) error {
		for {
			part, err := r.part(ctx, p, how, nil)
			if err != nil || part.Counts.Pending == 0 {
				return err
			}
		}
	})
}

// halted reports whether too many devices have failed: of those done, once ten
// or all are.
func (r *jobRun) halted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.counts.Failed + r.counts.Succeeded
	return r.job.Halt > 0 && done >= min(10, r.counts.Total) && r.counts.Failed*100 > int64(r.job.Halt)*done
}

// settle waits until nothing is under way, for a change of the job, or for a
// moment, after which devices may have come online.
func (r *jobRun) settle(ctx context.Context) error {
	r.mu.Lock()
	idle := len(r.flying) == 0
	r.mu.Unlock()
	// A job whose devices are offline looks less and less often.
	r.quiet = min(2*max(r.quiet, jobLook/2), jobPatience)
	if r.busy {
		r.quiet = jobLook
	}
	r.busy = false
	wait := r.quiet
	if idle {
		// Nothing is under way: only look again soon when something may be left.
		parts, err := r.node.jobParts(ctx, r.job.ID)
		if err != nil {
			return err
		}
		if sum := sumParts(parts); sum.Open() == 0 {
			return nil
		}
	}
	if until := r.job.Deadline().Sub(r.node.now()); until > 0 {
		wait = min(wait, until)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.poke:
	case <-r.landed:
	case <-t.C:
	}
	return nil
}

// forget drops the rows of a job, then the job.
func (r *jobRun) forget(ctx context.Context) error {
	err := r.eachPart(ctx, func(ctx context.Context, p int32) error {
		for {
			before, err := r.node.jobPart(ctx, p, r.job.ID)
			if err != nil || before == (partition.JobPart{}) {
				return err
			}
			if _, err := r.part(ctx, p, partition.PartForget, nil); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	return r.step(ctx, device.JobActionForget, "")
}
