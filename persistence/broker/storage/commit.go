package storage

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// result is what became of a build.
type result struct {
	err      error
	panicked bool
	failed   *build // its requests were not answered yet
	ops      int    // requests that wrote
	took     time.Duration
	end      time.Time
}

// commitLoop is the committer's goroutine.
func (l *Log) commitLoop() {
	for b := range l.commits {
		l.committed <- l.commit(b)
	}
}

// commit makes a build durable, shows its state to readers and answers its
// requests. A build that fails keeps its requests.
func (l *Log) commit(b *build) result {
	r := result{err: b.err}
	for _, o := range b.ops {
		if o.writes && o.err == nil {
			r.ops++
		}
	}
	start := time.Now()
	if b.batch != nil && r.err == nil {
		// A reader must not find a gap where records were just deleted: it is
		// told first that they are gone.
		for _, p := range b.publishes {
			if old := p.p.published.Load(); p.pos.start > old.start {
				p.p.published.Store(&positions{start: p.pos.start, stable: max(old.stable, p.pos.start), high: max(old.high, p.pos.start)})
			}
		}
		r.err, r.panicked = l.write(b.batch)
	}
	r.end = time.Now()
	r.took = r.end.Sub(start)
	if r.err != nil {
		r.failed = b
		return r
	}
	if b.batch != nil {
		l.metrics.commit(b, r.took)
	}
	b.discard()
	if b.directory != nil {
		l.directory.Store(b.directory)
	}
	for _, p := range b.publishes {
		p.p.published.Store(p.pos)
	}
	for _, p := range b.publishes {
		p.p.wake()
	}
	for _, p := range b.retired {
		p.wake()
	}
	b.finish(nil)
	return r
}

// write applies a Pebble batch and waits for the sync.
func (l *Log) write(batch *pebble.Batch) (err error, panicked bool) {
	e := l.engine
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil || e.readOnly {
		return errNoDatabase, false
	}
	defer func() {
		// Pebble panics when a log file can't be written or made.
		if r := recover(); r != nil {
			err, panicked = fmt.Errorf("commit: %v", r), true
		}
	}()
	if l.opts.NoSync {
		err = e.db.Apply(batch, pebble.NoSync)
	} else if err = e.db.ApplyNoSyncWait(batch, pebble.Sync); err == nil {
		err = batch.SyncWait()
	}
	if err == nil && e.fs.isCut.Load() {
		// It was cut off on the way, and Pebble does not return every error.
		err = errCut
	}
	if err != nil {
		return fmt.Errorf("commit: %w", err), false
	}
	return nil, false
}
