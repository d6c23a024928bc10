package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// pass looks once at every device of the job and begins what can begin. It ends
// early when the job changes.
func (r *jobRun) pass(ctx context.Context) error {
	for p := range int32(len(r.node.devices)) {
		at := jobPlace{partition: p, job: r.job.ID}
		for {
			rows, next, err := r.node.jobRows(ctx, at)
			if err != nil {
				return err
			}
			for i := range rows {
				more, err := r.device(ctx, &rows[i])
				if err != nil || !more {
					return err
				}
			}
			if next == "" {
				break
			}
			at.entity = next
		}
	}
	return nil
}

// device begins the step of one device, if it is its turn. It reports false when
// the job has changed.
func (r *jobRun) device(ctx context.Context, row *partition.JobDevice) (bool, error) {
	if row.Row.Status.Ended() || r.isFlying(row.Entity) {
		return true, nil
	}
	if row.Row.Status == device.JobRunning {
		return r.launch(ctx, row, r.orphan)
	}
	if r.closing() != "" || r.halted() {
		return false, nil
	}
	if r.job.Type == device.JobTwin {
		return r.launch(ctx, row, r.apply)
	}
	if !row.Online || !r.ready(row.Entity) {
		return true, nil
	}
	return r.launch(ctx, row, r.call)
}

func (r *jobRun) isFlying(entity string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flying[entity]
}

// ready reports whether a device that was not ready is to be tried again.
func (r *jobRun) ready(entity string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, waits := r.retry[entity]
	return !waits || !r.node.now().Before(at)
}

// launch runs a step beside others, when there is room and the rate allows.
func (r *jobRun) launch(ctx context.Context, row *partition.JobDevice, step func(context.Context, *partition.JobDevice)) (bool, error) {
	if r.job.Rate > 0 && row.Row.Status == device.JobScheduled {
		if more, err := r.throttle(ctx); err != nil || !more {
			return more, err
		}
	}
	select {
	case r.slots <- struct{}{}:
	case <-r.poke:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
	r.busy = true
	r.mu.Lock()
	r.flying[row.Entity] = true
	r.mu.Unlock()
	r.group.Go(func() {
		step(ctx, row)
		<-r.slots
		r.mu.Lock()
		delete(r.flying, row.Entity)
		last := len(r.flying) == 0
		r.mu.Unlock()
		if last {
			select {
			case r.landed <- struct{}{}:
			default:
			}
		}
	})
	return true, nil
}

// throttle waits for the next device's turn.
func (r *jobRun) throttle(ctx context.Context) (bool, error) {
	now := r.node.now()
	wait := r.next.Sub(now)
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-r.poke:
			return false, nil
		case <-t.C:
		}
		now = r.next
	}
	r.next = now.Add(time.Second / time.Duration(r.job.Rate))
	return true, nil
}

// record appends a step of a device and returns the row after it. An answer that
// does not come is asked for again: the core knows steps that it has seen.
func (r *jobRun) record(ctx context.Context, row *partition.JobDevice, action string, body []byte, h ...eventlog.Header) (partition.Reply, error) {
	id, module := row.Ref()
	job := r.snapshot()
	h = append(h, eventlog.Header{Key: device.HeaderJob, Value: []byte(job.ID)}, eventlog.Header{Key: device.HeaderAction, Value: []byte(action)})
	if module != "" {
		h = append(h, eventlog.Header{Key: device.HeaderModule, Value: []byte(module)})
	}
	for {
		reply, err := r.node.call(ctx, device.KindJobStep, id, body, h[:len(h):len(h)])
		if err == nil {
			r.count(reply)
			return reply, nil
		}
		if errors.Is(err, device.ErrJobNotFound) || errors.Is(err, device.ErrFormat) || !pause(ctx, jobRetry/4) {
			return reply, err
		}
	}
}

// count follows the outcomes between two looks, for the halt threshold.
func (r *jobRun) count(reply partition.Reply) {
	if !reply.Changed || reply.Row == nil || !reply.Row.Status.Ended() {
		return
	}
	r.node.metrics.jobSteps.WithLabelValues(string(reply.Row.Status)).Inc()
	r.mu.Lock()
	r.counts.Add(reply.Row.Status, +1)
	r.mu.Unlock()
}

func driver(life string) eventlog.Header {
	return eventlog.Header{Key: device.HeaderSession, Value: []byte(life)}
}

// apply has the core change the device's twin, which it does once.
func (r *jobRun) apply(ctx context.Context, row *partition.JobDevice) {
	job := r.snapshot()
	body, ifMatch, err := job.TwinChange()
	if err != nil {
		r.fail(ctx, row, "", device.ErrorName(err), err.Error())
		return
	}
	var h []eventlog.Header
	if _, err := r.record(ctx, row, device.StepApply, body, withIfMatch(h, ifMatch)...); err != nil && ctx.Err() == nil {
		r.node.logger.Warn("step of a job", "job", job.ID, "err", err)
	}
}

// call notes the intent, calls the method and notes the outcome. Between the two
// notes nothing is known after a crash; the call is not made again then.
func (r *jobRun) call(ctx context.Context, row *partition.JobDevice) {
	// A device that can't be called has no intent, which a crash would leave in
	// doubt.
	ready, err := r.node.callable(ctx, device.ParseRef(row.Entity))
	switch {
	case errors.Is(err, device.ErrNotFound), errors.Is(err, device.ErrModuleNotFound):
		r.fail(ctx, row, "", device.ErrorName(err), err.Error())
		return
	case err != nil, !ready:
		r.later(row.Entity)
		return
	}
	// The token tells this call from an earlier one of the same device, whose
	// records may come late.
	life := r.node.jobToken()
	job := r.snapshot()
	method, err := job.MethodCall()
	if err != nil {
		r.fail(ctx, row, "", device.ErrorName(err), err.Error())
		return
	}
	if reply, err := r.record(ctx, row, device.StepCall, nil, driver(life)); err != nil || !reply.Changed && !isMine(reply.Row, life) {
		return
	}
	result, err := r.node.invokeEntity(ctx, row.Entity, method)
	switch {
	case err == nil:
		body, err := json.Marshal(device.JobResult{Status: result.Status, Payload: result.Payload})
		if err != nil {
			r.fail(ctx, row, life, device.ErrorName(device.ErrBadAnswer), err.Error())
			return
		}
		r.record(ctx, row, device.StepDone, body, driver(life))
	case errors.Is(err, device.ErrNotOnline), errors.Is(err, ErrBusy):
		// It was not sent.
		r.later(row.Entity)
		r.record(ctx, row, device.StepRelease, nil, driver(life))
	case errors.Is(err, ErrUnavailable):
		r.fail(ctx, row, life, device.JobCodeUnknown, err.Error())
	case ctx.Err() != nil:
		// The node stops: its successor finds the intent.
	default:
		r.fail(ctx, row, life, device.ErrorName(err), err.Error())
	}
}

// later has a device that is not ready tried again after a while.
func (r *jobRun) later(entity string) {
	r.mu.Lock()
	r.retry[entity] = r.node.now().Add(jobRetry)
	r.mu.Unlock()
}

func isMine(row *device.JobRow, life string) bool {
	return row != nil && row.Status == device.JobRunning && row.Driver == life
}

// orphan ends what was begun and is not under way. What this process has begun
// and did not send is free again; what an earlier one has may have been sent.
func (r *jobRun) orphan(ctx context.Context, row *partition.JobDevice) {
	if strings.HasPrefix(row.Row.Driver, r.node.life+"/") {
		r.record(ctx, row, device.StepRelease, nil, driver(row.Row.Driver))
		return
	}
	r.fail(ctx, row, row.Row.Driver, device.JobCodeUnknown,
		fmt.Sprintf("the node stopped while the method was being called, at %s; whether the device has run it is not known, and it was not called again", device.FormatTime(row.Row.Started)))
}

func (r *jobRun) fail(ctx context.Context, row *partition.JobDevice, life, code, description string) {
	body, err := json.Marshal(device.JobRowFailure{Code: code, Description: description})
	if err != nil {
		return
	}
	r.record(ctx, row, device.StepFail, body, driver(life))
}

// invokeEntity calls a method of a device or module.
func (n *Node) invokeEntity(ctx context.Context, entity string, c device.MethodCall) (device.MethodResult, error) {
	return n.InvokeMethod(ctx, device.ParseRef(entity), c)
}

// jobToken names one call: this process, and a number.
func (n *Node) jobToken() string { return fmt.Sprintf("%s/%d", n.life, n.methodSeq.Add(1)) }
