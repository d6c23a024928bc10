package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/persistence/store"
	"github.com/gemello/gemello/windows"
)

// flushEvery bounds the age of saved state on a quiet partition, so that the
// input that it depends on can expire.
const flushEvery = 10 * time.Minute

// burst is how many records a core that has caught up does not hold back until
// the next regular commit: the end of a backlog or a burst is committed at once,
// a trickle pays for no further transactions.
const burst = 4096

// loop feeds the core until an error or the end of ctx.
func (t *term) loop(ctx context.Context) error {
	o := t.node.options
	commit := time.NewTicker(t.phase())
	defer commit.Stop()
	idle := time.NewTicker(o.IdleTick)
	defer idle.Stop()
	t.soon = time.NewTimer(time.Hour)
	defer t.soon.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.queue.ready:
			if err := t.drain(ctx); err != nil {
				return err
			}
		case <-t.wake:
			if err := t.change(ctx); err != nil {
				return err
			}
		case r := <-t.answerable():
			t.answer(r)
		case c := <-t.committed:
			if err := t.finish(c); err != nil {
				return err
			}
			t.hurry()
		case <-idle.C:
			if err := t.tick(ctx); err != nil {
				return err
			}
		case <-t.soon.C:
			if err := t.maybeCommit(ctx); err != nil {
				return err
			}
		case <-commit.C:
			commit.Reset(o.CommitEvery)
			if err := t.maybeCommit(ctx); err != nil {
				return err
			}
			t.report()
			if t.look != nil && t.queue.lag(t.core.Position()) == 0 {
				t.look(t.core)
			}
		}
	}
}

// phase is when in the period of commits this core's turn comes: if all committed
// at the same moment, devices would wait for their answers meanwhile.
func (t *term) phase() time.Duration {
	n := time.Duration(t.node.options.Partitions)
	return t.node.options.CommitEvery * (time.Duration(t.partition)%n + 1) / n
}

// answerable are the requests that wait, nil while there are none that may be
// answered: whoever was told before the term that a change is in the log must not
// be shown what was there before it.
func (t *term) answerable() <-chan *request {
	if t.current && t.core.Position() < t.behind {
		return nil
	}
	return t.requests
}

// answer serves a request and those that have come meanwhile: each turn of the
// loop looks at everything that it waits for, which costs more than an answer.
func (t *term) answer(r *request) {
	for range requestTurn {
		r.serve(t.core)
		select {
		case r = <-t.requests:
		default:
			return
		}
	}
	r.serve(t.core)
}

// requestTurn is how many further requests are served in one turn.
const requestTurn = 64

// drain applies one batch. A batch is applied in pieces, so that requests and
// commits are not kept waiting behind a large fetch.
func (t *term) drain(ctx context.Context) error {
	b, ok, resume := t.queue.pop()
	if resume {
		t.feed.resume(t.source, t.partition, t.queue)
	}
	if !ok {
		return nil
	}
	if b.Err != nil {
		if errors.Is(b.Err, eventlog.ErrOffsetOutOfRange) {
			return fmt.Errorf("%s/%d at offset %d: the log no longer holds it: %w", t.source, t.partition, t.core.Position(), b.Err)
		}
		return b.Err
	}
	if b.First > t.core.Position() {
		return nil // fetched for an earlier assignment
	}
	recs := b.Records
	// What an earlier assignment fetched may have been applied: the two overlap.
	for len(recs) > 0 && recs[0].Offset < t.core.Position() {
		recs = recs[1:]
	}
	share := t.node.commitShare()
	for len(recs) > 0 {
		piece := recs[:min(len(recs), 1024)]
		recs = recs[len(piece):]
		bytes := 0
		t.core.Stamp(windows.TickOf(t.node.now()))
		for i, rec := range piece {
			if i%windows.TouchKeys == 0 {
				t.touch(piece[i:min(i+windows.TouchKeys, len(piece))])
			}
			if err := t.apply(rec); err != nil {
				return err
			}
			bytes += len(rec.Key) + len(rec.Value)
			// One record can close a window of many groups.
			if t.core.Effects().Bytes() >= share {
				t.dirty = true
				if err := t.afterApply(ctx); err != nil {
					return err
				}
			}
		}
		last := piece[len(piece)-1]
		t.arrival.observe(tickOf(last), t.node.now())
		t.node.metrics.recordsIn.WithLabelValues(t.kind).Add(float64(len(piece)))
		t.node.metrics.bytesIn.WithLabelValues(t.kind).Add(float64(bytes))
		t.dirty = true
		t.uncommitted += len(piece)
		if err := t.afterApply(ctx); err != nil {
			return err
		}
	}
	if b.Next > t.core.Position() {
		t.core.Skip(b.Next)
		t.note()
	}
	t.hurry()
	return nil
}

// hurry has a burst committed soon when there is no more of it.
func (t *term) hurry() {
	if t.uncommitted >= burst && t.queue.lag(t.core.Position()) == 0 {
		t.soon.Reset(t.node.options.CommitEvery/10 - t.node.now().Sub(t.lastCommit))
	}
}

// touch tells the core which keys come next.
func (t *term) touch(recs []*eventlog.Record) {
	t.keys = t.keys[:0]
	for _, r := range recs {
		t.keys = append(t.keys, r.Key)
	}
	t.core.Touch(t.keys)
}

// afterApply sends what may leave at once and commits when the effects are
// large or due; it waits for the commit before last when both buffers are full.
func (t *term) afterApply(ctx context.Context) error {
	e := t.core.Effects()
	if t.applied != nil {
		t.applied(e)
	}
	t.note()
	full := e.Bytes() >= t.node.commitShare()
	if !full && t.node.now().Sub(t.lastCommit) < t.node.options.CommitEvery {
		return nil
	}
	if t.inflight != nil {
		if !full {
			return nil
		}
		if err := t.wait(ctx); err != nil {
			return err
		}
	}
	return t.maybeCommit(ctx)
}

func (t *term) note() {
	if t.noted != nil {
		t.noted(t.core)
	}
}

// tick advances an idle partition's clock; a partition that has not caught up
// never consults the wall clock.
func (t *term) tick(ctx context.Context) error {
	at, idle := t.queue.idleSince(t.core.Position())
	if !idle {
		return nil
	}
	if err := t.core.Tick(t.arrival.estimate(at), windows.TickOf(at)); err != nil {
		return err
	}
	if e := t.core.Effects(); !e.Empty() {
		t.dirty = true
		if t.applied != nil {
			t.applied(e)
		}
	}
	return t.maybeFlush(ctx)
}

// maybeCommit begins a commit when there is something to commit and none is
// under way; a heartbeat commits an unchanged checkpoint so that others see a
// live owner.
func (t *term) maybeCommit(ctx context.Context) error {
	beat := t.node.options.Heartbeat
	due := t.dirty || !t.core.Effects().Empty() || beat > 0 && t.node.now().Sub(t.lastCommit) >= beat
	if t.inflight != nil || !due {
		return nil
	}
	t.begin(ctx, false)
	return t.maybeFlush(ctx)
}

// begin hands the effects so far to a committing goroutine; the core applies on
// meanwhile (design 3.5).
func (t *term) begin(ctx context.Context, released bool) {
	c := &commit{effects: t.core.Take(t.node.buffers.effects()), started: t.node.now()}
	t.checkpoint(c, released)
	t.inflight, t.dirty, t.uncommitted, t.lastCommit = c, false, 0, c.started
	// A stop does not cut a commit short: it would leave its outcome unknown.
	ctx = context.WithoutCancel(ctx)
	go func() {
		c.err = t.produce(ctx, c)
		t.committed <- *c
	}()
}

// checkpoint fills in the commit's checkpoint as of now.
func (t *term) checkpoint(c *commit, released bool) {
	cp := &c.checkpoint
	cp.Core = t.name
	cp.Offset = t.core.Position()
	cp.JournalSeq = t.journalSeq + uint64(len(c.effects.Journal))
	cp.WrittenAt = c.started.UnixMilli()
	cp.Node = t.node.life
	cp.Released = released
	t.core.Checkpoint(cp)
	cp.JournalOffset = t.journalFor(cp.RewindOffset)
}

// journalFor returns where a replay from the given input position must begin
// to read the journal, and forgets what no replay needs any more.
func (t *term) journalFor(position int64) int64 {
	keep := 0
	for i, m := range t.marks {
		if m.position <= position {
			keep = i
		}
	}
	t.marks = append(t.marks[:0], t.marks[keep:]...)
	return t.marks[0].journal
}

// mark notes where the journal stood at a commit. Old marks are thinned out: an
// earlier one is always a safe place to read from.
func (t *term) mark(m journalMark) {
	const limit = 4096
	if len(t.marks) >= limit {
		kept := t.marks[:1]
		for i := 2; i < len(t.marks); i += 2 {
			kept = append(kept, t.marks[i])
		}
		t.marks = kept
	}
	t.marks = append(t.marks, m)
}

// produce runs on the committing goroutine: outputs, journal and checkpoint in
// one transaction.
func (t *term) produce(ctx context.Context, c *commit) error {
	e := c.effects
	rows := e.Len()
	slab, headers := t.node.buffers.slab(rows+2), t.node.buffers.headers()
	defer func() { t.node.buffers.giveSlab(slab, headers) }()
	for i := range rows {
		o := e.Output(i)
		r := &slab[i]
		r.Topic, r.Partition, r.Key, r.Value, r.Timestamp, r.Headers = o.Topic, -1, o.Key, o.Value, c.started, nil
		if o.Alongside || o.Topic == t.node.topics.state {
			r.Partition = t.partition // also what has more in its key than the device id
		}
		from := len(headers)
		for h := range e.Headers(i) {
			headers = append(headers, eventlog.Header(h))
		}
		if n := len(headers); n > from {
			r.Headers = headers[from:n:n]
		}
	}
	slab = slab[:rows]
	journal := -1
	if len(e.Journal) > 0 {
		entries := make([]eventlog.JournalEntry, len(e.Journal))
		seq := c.checkpoint.JournalSeq - uint64(len(entries))
		for i, j := range e.Journal {
			seq++
			entries[i] = eventlog.JournalEntry{Seq: seq, Position: j.Position, Kind: eventlog.JournalKind(j.Kind), Time: int64(j.Time), Payload: j.Payload}
		}
		journal = len(slab)
		slab = append(slab, eventlog.Record{Topic: t.node.topics.journal, Partition: t.node.bookPartition(t.partition), Key: []byte(t.name), Value: eventlog.AppendJournal(nil, entries)})
	}
	slab = append(slab, eventlog.Record{Topic: t.node.topics.checkpoints, Partition: t.node.bookPartition(t.partition), Key: []byte(t.name), Value: eventlog.AppendCheckpoint(nil, &c.checkpoint)})
	if err := t.commitRecords(ctx, slab, rows); err != nil {
		slab, headers = nil, nil // the client may still hold on to them
		return err
	}
	if journal >= 0 {
		c.journaled, c.journalAt = true, slab[journal].Offset+1
	}
	return nil
}

// wait blocks for the commit under way.
func (t *term) wait(ctx context.Context) error {
	if t.inflight == nil {
		return nil
	}
	return t.finish(<-t.committed)
}

// finish takes a commit's outcome; any error ends the term (design 3.4).
func (t *term) finish(c commit) error {
	t.inflight = nil
	if c.err != nil {
		return c.err
	}
	t.owned = true
	t.rewind.Store(c.checkpoint.RewindOffset)
	t.journalSeq = c.checkpoint.JournalSeq
	if c.journaled {
		t.journalNext = c.journalAt
		t.mark(journalMark{c.checkpoint.Offset, c.journalAt})
	}
	t.node.metrics.commitSeconds.WithLabelValues(t.kind).Observe(t.node.now().Sub(c.started).Seconds())
	t.node.metrics.rowsOut.WithLabelValues(t.kind).Add(float64(c.effects.Len()))
	t.node.buffers.giveEffects(c.effects)
	if t.host.committed != nil {
		t.host.committed(&c.checkpoint)
	}
	st := *t.status.Load()
	st.Committed, st.Position, st.Lag = c.checkpoint.Offset, t.core.Position(), t.queue.lag(t.core.Position())
	t.status.Store(&st)
	return nil
}

// change lets the host's owner change the core. It is a barrier: commit, flush,
// journal, switch; then the switch is committed, too, before anything is
// applied under the new plans (design 3.2).
func (t *term) change(ctx context.Context) error {
	if t.changed == nil || t.differs != nil && !t.differs(t.core) {
		return nil
	}
	if err := t.flush(ctx, false); err != nil {
		return err
	}
	switched, err := t.changed(t.core)
	if err != nil || !switched {
		return err
	}
	t.begin(ctx, false)
	return t.wait(ctx)
}

// maybeFlush flushes when a restart would have to replay too much.
func (t *term) maybeFlush(ctx context.Context) error {
	unsaved := t.core.Unsaved()
	if unsaved == 0 || unsaved < t.node.options.FlushRecords && t.node.now().Sub(t.lastFlush) < flushEvery {
		return nil
	}
	return t.flush(ctx, false)
}

// flush is a barrier: commit, then save with nothing applied beyond the
// committed point, in one atomic step with the applied offset (design 3.3). A
// store that can't be written lags on; replay covers it.
func (t *term) flush(ctx context.Context, release bool) error {
	if err := t.wait(ctx); err != nil {
		return err
	}
	t.begin(ctx, release)
	checkpoint := t.inflight.checkpoint
	if err := t.wait(ctx); err != nil {
		return err
	}
	t.lastFlush = t.node.now()
	b := t.store.NewBatch()
	if err := t.core.Save(b); err != nil {
		return fmt.Errorf("save %s at %d: %w", t.name, checkpoint.Offset, err)
	}
	applied := store.Applied{
		Offset:          checkpoint.Offset,
		JournalSeq:      checkpoint.JournalSeq,
		JournalOffset:   t.journalNext,
		SettingsVersion: checkpoint.SettingsVersion,
		Extra:           eventlog.AppendCheckpoint(nil, &checkpoint),
	}
	if err := t.store.Flush(b, applied); err != nil {
		return fmt.Errorf("flush %s at %d: %w", t.name, checkpoint.Offset, err)
	}
	t.host.flushed.Store(applied.Offset)
	t.node.metrics.stateBytes.WithLabelValues(t.kind, fmt.Sprint(t.partition)).Set(float64(t.store.Bytes()))
	return nil
}

// settle ends a commit under way so that no goroutine outlives the term; its
// outcome does not matter, the next term reads the checkpoint.
func (t *term) settle() {
	if t.inflight != nil {
		t.producer.Close()
		<-t.committed
		t.inflight = nil
	}
}

// release ends a term politely: commit, flush, mark the checkpoint released.
func (t *term) release() error {
	err := t.flush(context.Background(), true)
	t.settle()
	return err
}

// report updates the figures that need the core.
func (t *term) report() {
	st := *t.status.Load()
	st.Position, st.Lag = t.core.Position(), t.queue.lag(t.core.Position())
	t.status.Store(&st)
	var f partition.Figures
	t.core.Report(&f)
	t.node.metrics.observe(t.kind, t.partition, &f)
}
