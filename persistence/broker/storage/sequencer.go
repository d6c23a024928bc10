package storage

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// reopenPause is the time between attempts to open a failed database again.
const reopenPause = 100 * time.Millisecond

// sequencer owns the state: it runs requests one after the other and hands what
// they wrote to the committer, one build at a time. While a build is committed
// the next one is filled.
type sequencer struct {
	l    *Log
	st   *state
	cur  *build
	busy bool // the committer has a build

	// down is why nothing can be written now; nil: it can.
	down    error
	retry   *time.Timer
	attempt *attempt // to open the database for writing; nil: none is under way
	opened  *opened  // how it ended
	left    int      // databases that were left behind
	window  window
}

// run is the goroutine. It ends when the queue is closed and empty.
func (s *sequencer) run() {
	defer close(s.l.commits)
	defer func() {
		if err := s.attempt.giveUp(closePatience); err != nil {
			s.l.opts.Logger.Error("closing the log", "err", err.Error())
		}
	}()
	s.retry = time.NewTimer(time.Hour)
	defer s.retry.Stop()
	gather := time.NewTimer(time.Hour)
	defer gather.Stop()
	var ops []*op
	for {
		if s.opened != nil && !s.busy {
			s.replace()
		}
		var done bool
		if s.cur.room() > 0 {
			ops, done = s.l.queue.take(ops[:0], s.cur.room())
			for i, o := range ops {
				s.admit(o)
				ops[i] = nil
			}
		}
		var wait time.Duration
		if !s.busy && len(s.cur.ops) > 0 {
			wait = s.window.wait(len(s.cur.ops), time.Now())
			if wait <= 0 || done || s.cur.room() <= 0 {
				s.hand()
				continue
			}
		}
		if done && !s.busy && len(s.cur.ops) == 0 {
			return
		}
		ready := s.l.queue.ready
		if s.cur.room() <= 0 {
			ready = nil
		}
		var late <-chan time.Time
		if wait > 0 {
			gather.Reset(wait)
			late = gather.C
		}
		select {
		case <-ready:
		case <-late:
		case r := <-s.l.committed:
			s.busy = false
			s.window.committed(r, len(s.cur.ops))
			if r.err == nil && s.l.engine.fs.isCut.Load() {
				r.err = errCut
			}
			if r.err != nil {
				s.recover(r)
			}
		case <-s.l.engine.failed:
			// A commit under way will notice, or the look after it.
			switch {
			case s.down != nil:
				s.retry.Reset(reopenPause)
			case !s.busy && s.l.engine.fs.isCut.Load():
				s.recover(result{err: errCut})
			}
		case <-s.retry.C:
			s.again()
		case o := <-s.attempted():
			s.opened = &o
		}
	}
}

// admit runs a request.
func (s *sequencer) admit(o *op) {
	b := s.cur
	b.ops = append(b.ops, o)
	switch {
	case o.writes && s.down != nil:
		o.err = errStorage
		return
	case o.grows && !s.l.space.enough():
		o.err = errStorage
		return
	}
	b.now = s.l.now()
	o.err = o.run(b)
}

// hand gives the current build to the committer.
func (s *sequencer) hand() {
	s.cur.seal()
	s.busy = true
	s.l.commits <- s.cur
	s.cur = s.newBuild()
}

func (s *sequencer) newBuild() *build { return &build{st: s.st, db: s.l.engine} }

// recover fails what was built on a commit that failed, and loads the state
// again.
func (s *sequencer) recover(r result) {
	s.l.opts.Logger.Error("writing the log failed; loading what is on the disk", "err", r.err.Error())
	s.l.metrics.failures.Inc()
	s.down = r.err
	var again []*op
	for _, b := range []*build{r.failed, s.cur} {
		if b == nil {
			continue
		}
		b.discard()
		for _, o := range b.ops {
			if !o.writes {
				again = append(again, o)
				continue
			}
			o.done(errStorage)
		}
	}
	s.cur = s.newBuild()
	if err := s.l.engine.shut(r.panicked); err != nil {
		s.l.opts.Logger.Warn("closing the failed database", "err", err.Error())
	}
	err := s.l.engine.open(true)
	if err == nil {
		err = s.reload(true)
	}
	if err != nil {
		s.l.opts.Logger.Error("the log can't even be read now", "err", err.Error())
	}
	s.attempt = s.l.engine.try()
	for _, o := range again {
		s.admit(o)
	}
}

// attempted is where the end of the attempt under way is told.
func (s *sequencer) attempted() chan opened {
	if s.attempt == nil {
		return nil
	}
	return s.attempt.done
}

// maxLeft bounds how many databases are left behind, each of which keeps some
// memory. After them only a restart helps.
const maxLeft = 8

// again begins another attempt. One that was cut off from the disk while it was
// under way does not end, and is left behind.
func (s *sequencer) again() {
	if s.down == nil || s.opened != nil {
		return
	}
	if s.attempt != nil {
		if !s.attempt.fs.isCut.Load() {
			return
		}
		select {
		case o := <-s.attempt.done:
			s.opened = &o
			return
		default:
		}
		s.attempt.fs.leave()
		s.attempt = nil
		s.left++
	}
	if s.left >= maxLeft {
		s.l.opts.Logger.Error("the disk failed too often: the log stays open for reading only until the next start")
		return
	}
	s.attempt = s.l.engine.try()
}

// replace goes on with a database that was opened for writing, or arranges for
// another attempt.
func (s *sequencer) replace() {
	o, a := *s.opened, s.attempt
	s.opened, s.attempt = nil, nil
	err := o.err
	if err == nil {
		if err := s.l.engine.install(o.db, a.fs, false); err != nil {
			s.l.opts.Logger.Warn("closing what was open for reading", "err", err.Error())
		}
		if err = s.reload(false); err == nil {
			s.down = nil
			s.l.opts.Logger.Info("the log can be written again")
			return
		}
	}
	s.l.opts.Logger.Warn("the log can't be written yet", "err", err.Error())
	if o.err == nil {
		// It is open for writing: nothing else may be before it is closed.
		if err := s.l.engine.shut(false); err != nil {
			s.l.opts.Logger.Warn("closing the log before it is opened again", "err", err.Error())
		}
	}
	s.down = err
	s.retry.Reset(reopenPause)
}

// reload replaces the state by what is on the disk and shows it to readers. What
// is open for reading only may hold a commit whose sync has failed: readers, who
// did not see it before, must not see it until it is written anew, since a crash
// could take it away again.
func (s *sequencer) reload(readOnly bool) error {
	var st *state
	err := s.l.engine.view(func(db *pebble.DB) (err error) {
		st, err = load(db, s.l.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("load the log again: %w", err)
	}
	s.st = st
	s.cur.st = st
	d := st.directory()
	if readOnly {
		d.show(s.l.directory.Load())
	}
	old := s.l.directory.Swap(d)
	for _, t := range old.topics {
		for _, p := range t.partitions {
			p.wake()
		}
	}
	return nil
}

// show leaves out what is not in an older directory.
func (d *directory) show(old *directory) {
	for name, t := range d.topics {
		seen := old.topics[name]
		if seen == nil || seen.ID != t.ID {
			delete(d.topics, name)
			delete(d.byID, t.ID)
			continue
		}
		for i, p := range t.partitions {
			now, was := p.published.Load(), positions{}
			if i < len(seen.partitions) {
				was = *seen.partitions[i].published.Load()
			}
			p.published.Store(&positions{
				start:  now.start,
				stable: max(now.start, min(now.stable, was.stable)),
				high:   max(now.start, min(now.high, was.high)),
			})
		}
	}
}
