package broker

import (
	"context"
	"reflect"
	"time"
)

// firstPause and lastPause bound how long a fetch that found too little lets
// more arrive before it looks again; it would read the same bytes again.
const (
	firstPause = time.Millisecond
	lastPause  = 50 * time.Millisecond
)

// wait looks again whenever a partition has moved, until there is an answer,
// the client's time is up, or the connection has ended.
func (f *fetching) wait() {
	timer := time.NewTimer(time.Until(f.deadline))
	defer timer.Stop()
	ctx := f.request.ctx
	for pause := firstPause; ; {
		if f.starved {
			f.awaitRoom()
		}
		// Watched before it is looked at, lest what comes between is missed.
		cases := f.watch(timer.C)
		if time.Until(f.deadline) <= 0 {
			f.deadline = time.Time{}
		}
		if f.look() || ctx.Err() != nil {
			return
		}
		if f.starved {
			continue
		}
		if f.total > 0 {
			f.forget()
			if !sleep(ctx, min(pause, time.Until(f.deadline))) {
				return
			}
			pause = min(2*pause, lastPause)
		}
		reflect.Select(cases)
	}
}

// awaitRoom waits for room in memory for a look. When that takes too long the
// fetch is answered with what needs none.
func (f *fetching) awaitRoom() {
	ctx, cancel := context.WithTimeout(f.request.ctx, max(time.Until(f.deadline), roomTimeout))
	defer cancel()
	if f.server.awaitRoom(ctx, &f.memory, 2*min(f.want, oneBatch)) != nil {
		f.want = 0
	}
	f.starved = false
}

// watch returns what a waiting fetch wakes for.
func (f *fetching) watch(timer <-chan time.Time) []reflect.SelectCase {
	cases := make([]reflect.SelectCase, 0, 2+len(f.plan.partitions))
	add := func(c any) {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	add(timer)
	add(f.request.ctx.Done())
	for _, p := range f.plan.partitions {
		add(f.server.log.Watch(p.storage()))
	}
	return cases
}
