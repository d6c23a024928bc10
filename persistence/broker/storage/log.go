package storage

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// Log is an open log. It is safe for concurrent use.
type Log struct {
	opts    Options
	engine  *engine
	queue   *queue
	space   *space
	metrics *metrics
	undo    func() // of the registration of metrics
	cluster string

	directory atomic.Pointer[directory]

	// upkeep is held from planning a cut or a step of compaction until it is
	// durable: each changes what the plan of another is made from.
	upkeep upkeep

	commits   chan *build // sequencer to committer
	committed chan result // and back
	stop      chan struct{}
	stopOnce  sync.Once
	wg        sync.WaitGroup
	closeErr  error
}

// Open opens the log in o.Dir or makes an empty one. A directory that another
// process has open is an error. ctx bounds the opening alone.
func Open(ctx context.Context, o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := &Log{
		opts: o, queue: newQueue(),
		commits: make(chan *build), committed: make(chan result, 1), stop: make(chan struct{}),
	}
	if l.engine, err = newEngine(o); err != nil {
		return nil, err
	}
	st, a, err := l.begin(ctx)
	if err != nil {
		return nil, errors.Join(err, l.engine.close())
	}
	if l.metrics, l.undo, err = newMetrics(o.Registerer, l); err != nil {
		return nil, errors.Join(err, a.giveUp(0), l.engine.close())
	}
	l.directory.Store(st.directory())
	l.cluster = base64.RawURLEncoding.EncodeToString(st.cluster[:])
	l.space = &space{fs: o.FS, dir: o.Dir, reserve: o.ReserveBytes, flushes: func() bool { return l.engine.fs.flushes() }}
	s := &sequencer{l: l, st: st}
	s.cur = s.newBuild()
	if a != nil {
		s.down, s.attempt = errNoDatabase, a
	}
	l.wg.Go(s.run)
	l.wg.Go(l.commitLoop)
	l.wg.Go(l.housekeepingLoop)
	l.wg.Go(l.upkeepLoop)
	return l, nil
}

// openings is how often Open tries while the disk fails: as with a commit, one
// failed sync is no reason to be gone.
const openings = 3

// begin opens the database and loads the state.
func (l *Log) begin(ctx context.Context) (*state, *attempt, error) {
	for n := 1; ; n++ {
		st, a, err := l.beginOnce(ctx)
		if err == nil || n == openings || !errors.Is(err, errCut) {
			return st, a, err
		}
		l.opts.Logger.Warn("opening the log again", "dir", l.opts.Dir, "err", err.Error())
		_ = l.engine.shut(false) // it was cut off, which is known
	}
}

// beginOnce makes the database anew where nothing was ever in it. While the
// disk is full it opens for reading only and leaves the attempt to do more.
func (l *Log) beginOnce(ctx context.Context) (*state, *attempt, error) {
	e := l.engine
	a := e.try()
	var o opened
	select {
	case o = <-a.done:
	case <-a.fs.troubled:
		if st, err := l.beginReading(); err == nil {
			return st, a, nil
		}
		// It may have been opened for writing meanwhile.
		select {
		case o = <-a.done:
		case <-ctx.Done():
			return nil, nil, errors.Join(ctx.Err(), a.giveUp(0))
		}
	case <-ctx.Done():
		return nil, nil, errors.Join(ctx.Err(), a.giveUp(closePatience))
	}
	fs := a.fs
	if o.err != nil {
		if !e.isUnborn() {
			return nil, nil, o.err
		}
		l.opts.Logger.Warn("making a log anew whose making was cut short", "dir", l.opts.Dir, "err", o.err.Error())
		if err := e.clear(); err != nil {
			return nil, nil, fmt.Errorf("clear %s: %w", e.dir(), err)
		}
		fs = newGuardedFS(l.opts.FS, e.failed)
		if o.db, o.err = e.openWith(fs, false); o.err != nil {
			return nil, nil, o.err
		}
	}
	if err := e.install(o.db, fs, false); err != nil {
		return nil, nil, err
	}
	var st *state
	err := e.view(func(db *pebble.DB) error {
		if err := stamp(db); err != nil {
			return err
		}
		if fs.isCut.Load() {
			return errCut
		}
		var err error
		st, err = load(db, l.now())
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("open the log in %s: %w", l.opts.Dir, err)
	}
	return st, nil, nil
}

// beginReading is begin for a disk that can't be written.
func (l *Log) beginReading() (*state, error) {
	if err := l.engine.open(true); err != nil {
		return nil, err
	}
	var st *state
	err := l.engine.view(func(db *pebble.DB) error {
		v, err := get(db, keyStamp)
		if err != nil {
			return err
		}
		if string(v) != formatStamp {
			return fmt.Errorf("%w: stamp %q", errFormat, v)
		}
		st, err = load(db, l.now())
		return err
	})
	if err != nil {
		return nil, errors.Join(err, l.engine.shut(false))
	}
	l.opts.Logger.Error("the disk can't be written: the log is open for reading only", "dir", l.opts.Dir)
	return st, nil
}

// stamp checks that the database is a log, or makes it one if it is empty.
func stamp(db *pebble.DB) error {
	v, err := get(db, keyStamp)
	if err != nil {
		return err
	}
	switch {
	case string(v) == formatStamp:
		return nil
	case v != nil:
		return fmt.Errorf("%w: stamp %q, this version writes %q", errFormat, v, formatStamp)
	}
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	empty := !it.First()
	if err := it.Close(); err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("%w: no stamp", errFormat)
	}
	c := counters{uid: 1, producer: 1}
	// Read never fails.
	_, _ = rand.Read(c.cluster[:])
	b := db.NewBatch()
	if err := errors.Join(b.Set(keyStamp, []byte(formatStamp), nil), b.Set(keyCounters, c.encode(), nil)); err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

// ClusterID is a random name that was given when the log was made.
func (l *Log) ClusterID() string { return l.cluster }

// Bytes is the size of the log on disk.
func (l *Log) Bytes() int64 {
	var n int64
	// A database that is not open has no size.
	_ = l.engine.view(func(db *pebble.DB) error {
		n = int64(db.Metrics().DiskSpaceUsage())
		return nil
	})
	return n
}

func (l *Log) now() int64 { return l.opts.Now().UnixMilli() }

// Close answers the requests that were taken, refuses others with ErrClosed,
// and releases the directory.
func (l *Log) Close() error {
	l.stopOnce.Do(func() {
		close(l.stop)
		l.queue.close()
		l.wg.Wait()
		for _, t := range l.directory.Load().topics {
			for _, p := range t.partitions {
				p.wake()
			}
		}
		l.undo()
		if err := l.engine.close(); err != nil && !l.engine.fs.isCut.Load() {
			l.closeErr = fmt.Errorf("close the log in %s: %w", l.opts.Dir, err)
		}
	})
	return l.closeErr
}

// request runs f on the sequencer and waits until what it did, and all that it
// saw, is durable. When ctx ends first, f may still take effect.
func (l *Log) request(ctx context.Context, writes, grows bool, f func(*build) error) error {
	answer := make(chan error, 1)
	o := &op{run: f, writes: writes, grows: grows, done: func(err error) { answer <- err }}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !l.queue.put(o) {
		return ErrClosed
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// change is request for what changes the state.
func (l *Log) change(ctx context.Context, f func(*build) error) error {
	return l.request(ctx, true, false, f)
}

// grow is change for what is refused while the disk is nearly full.
func (l *Log) grow(ctx context.Context, f func(*build) error) error {
	return l.request(ctx, true, true, f)
}

// look is request for what only looks at the state.
func (l *Log) look(ctx context.Context, f func(*build)) error {
	return l.request(ctx, false, false, func(b *build) error {
		f(b)
		return nil
	})
}
