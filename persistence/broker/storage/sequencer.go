package storage

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// reopenPause is the time between attempts to open a failed database again.
const reopenPause = 250 * time.Millisecond

// sequencer owns the state: it runs requests one after the other and hands what
// they wrote to the committer, one build at a time. While a build is committed
// the next one is filled.
type sequencer struct {
	l    *Log
	st   *state
	cur  *build
	busy bool // the committer has a build

	// down is why nothing can be written now; nil: it can.
	down   error
	retry  *time.Timer
	due    bool // it is time to try again
	window window
}

// run is the goroutine. It ends when the queue is closed and empty.
func (s *sequencer) run() {
	defer close(s.l.commits)
	s.retry = time.NewTimer(time.Hour)
	defer s.retry.Stop()
	gather := time.NewTimer(time.Hour)
	defer gather.Stop()
	var ops []*op
	for {
		if s.due && !s.busy {
			s.due = false
			if s.down != nil {
				s.reopen()
			}
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
			if !s.busy && s.down == nil {
				s.recover(result{err: errCut})
			}
		case <-s.retry.C:
			s.due = true
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
	s.reopen()
	for _, o := range again {
		s.admit(o)
	}
}

// reopen opens the database again and loads the state from it; for reading only
// when that is all that can be done.
func (s *sequencer) reopen() {
	e := s.l.engine
	cause := s.down
	if e.db != nil { // open for reading only
		if err := e.shut(false); err != nil {
			s.l.opts.Logger.Warn("closing the log before it is opened again", "err", err.Error())
		}
	}
	err := e.open(false)
	if err != nil {
		cause = err
		err = e.open(true)
	}
	if err == nil {
		err = s.reload()
	}
	if err == nil && !e.readOnly {
		s.down = nil
		s.l.opts.Logger.Info("the log can be written again")
		return
	}
	if !errors.Is(s.down, cause) {
		s.l.opts.Logger.Warn("the log can't be written yet", "err", cause.Error())
	}
	s.down = cause
	s.retry.Reset(reopenPause)
}

// reload replaces the state by what is on the disk and shows it to readers.
func (s *sequencer) reload() error {
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
	old := s.l.directory.Swap(st.directory())
	for _, t := range old.topics {
		for _, p := range t.partitions {
			p.wake()
		}
	}
	return nil
}
