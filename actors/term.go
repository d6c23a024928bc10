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

// term is one life of a core between two InitProducerIds. All its fields belong
// to the host's goroutine; the committing goroutine gets a commit and answers
// on committed.
type term struct {
	*host
	producer *eventlog.Term
	store    *store.Store
	core     core
	queue    *queue

	journalSeq  uint64
	journalNext int64         // journal offset above which no entry of this core lies yet
	marks       []journalMark // where to read the journal from, by input position
	inflight    *commit
	committed   chan commit
	lastCommit  time.Time
	lastFlush   time.Time
	dirty       bool  // something was applied since the last commit
	uncommitted int   // records applied since the last commit
	behind      int64 // where the log ended when the term began
	soon        *time.Timer
	arrival     arrivalClock
	record      partition.Record // that is applied; a local one would be allocated for each
	keys        [][]byte         // scratch of touch
}

// commit is one transaction: what was applied up to checkpoint.Offset.
type commit struct {
	effects    *partition.Effects
	checkpoint eventlog.Checkpoint
	journaled  bool
	started    time.Time
	err        error
	journalAt  int64
}

type journalMark struct{ position, journal int64 }

// term recovers the core in the order of design 3.4 and semantics 10.7 and runs
// it until an error or the end of ctx; then it commits, flushes and releases.
func (h *host) term(ctx context.Context) (err error) {
	h.setStatus("recovering", "")
	h.node.metrics.terms.WithLabelValues(h.kind).Inc()
	t := &term{host: h, committed: make(chan commit, 1)}
	// Fence first: nothing that an earlier owner left open can commit after this.
	if t.producer, err = h.newTerm(ctx); err != nil {
		return err
	}
	defer t.producer.Close()
	defer t.boundEnd(ctx)()
	if t.store, err = h.openStore(); err != nil {
		return err
	}
	defer func() {
		if t.core != nil {
			t.core.Close()
		}
		if e := t.store.Close(); err == nil {
			err = e
		}
	}()
	if err := t.recover(ctx); err != nil {
		return err
	}
	asked := h.node.now()
	offsets, err := h.node.log.Offsets(ctx, h.source)
	if err != nil {
		return err
	}
	next := t.core.Position()
	if r := offsets[h.partition]; next < r.Start {
		return fmt.Errorf("%s: input from offset %d was deleted, the log of %s/%d starts at %d: raise the topic's retention, then delete and apply the pipeline again: %w",
			h.name, next, h.source, h.partition, r.Start, eventlog.ErrOffsetOutOfRange)
	}
	h.checkRetention(offsets[h.partition].Start)
	t.queue = h.feed.open(h.source, h.partition, next, offsets[h.partition].Stable, asked)
	defer h.feed.close(h.source, h.partition, t.queue)
	t.behind = offsets[h.partition].Stable
	if err := t.change(ctx); err != nil {
		return err
	}
	if t.began != nil {
		t.began(t.core)
	}
	h.setStatus("running", "")
	h.logger.Debug("running", "position", next)
	err = t.loop(ctx)
	if ctx.Err() == nil || err != nil && !errors.Is(err, context.Canceled) {
		t.settle()
		return err
	}
	if h.gone.Load() {
		if err := t.change(context.WithoutCancel(ctx)); err != nil {
			t.settle()
			return err
		}
	}
	return t.release()
}

// openStore opens the core's store. A damaged one is set aside, as the log holds
// all that is needed to build it again; a disk that can't be read is an error.
func (h *host) openStore() (*store.Store, error) {
	o := h.node.storeOptions(h)
	s, err := store.Open(o)
	if errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrFormat) {
		moved, e := store.Quarantine(o.FS, o.Dir)
		if e != nil {
			return nil, errors.Join(err, e)
		}
		h.logger.Error("store is damaged; it is set aside and rebuilt from the log", "moved_to", moved, "err", err)
		s, err = store.Open(o)
	}
	if err != nil {
		return nil, fmt.Errorf("open store of %s: %w", h.name, err)
	}
	return s, nil
}

// boundEnd gives the term ReleaseTimeout from the end of ctx on, wherever it is:
// a log that does not answer by then is left alone, and recovery covers it. The
// returned function ends the watch.
func (t *term) boundEnd(ctx context.Context) (stop func()) {
	over := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(t.node.options.ReleaseTimeout)
		defer timer.Stop()
		select {
		case <-over:
		case <-timer.C:
			t.producer.Close()
		}
	})
	return func() {
		unwatch()
		close(over)
	}
}

// recover brings the core to the newest checkpoint.
func (t *term) recover(ctx context.Context) error {
	n := t.node
	rec, found, err := n.log.LastByKey(ctx, n.topics.checkpoints, n.bookPartition(t.partition), []byte(t.name))
	if err != nil {
		return fmt.Errorf("read checkpoint of %s: %w", t.name, err)
	}
	r := restoring{store: t.store}
	t.rewind.Store(-1)
	if found {
		c, err := eventlog.DecodeCheckpoint(rec.Value)
		if err != nil {
			return fmt.Errorf("checkpoint of %s at offset %d: %w", t.name, rec.Offset, err)
		}
		r.checkpoint = c
		t.rewind.Store(c.RewindOffset)
		t.journalSeq = c.JournalSeq
	}
	var has bool
	r.applied, has = t.store.Applied()
	r.usable = has && found && r.applied.Offset <= r.checkpoint.Offset
	if has && !r.usable {
		// A store beyond the newest commit belongs to another log.
		n.logger.Warn("store is not of this log; it is set aside and rebuilt", "core", t.name)
		if err := t.store.Quarantine(); err != nil {
			return err
		}
		if t.store, err = t.openStore(); err != nil {
			return err
		}
		r.store, r.applied = t.store, store.Applied{}
	}
	journal, err := n.log.Offsets(ctx, n.topics.journal)
	if err != nil {
		return err
	}
	t.journalNext = journal[n.bookPartition(t.partition)].High
	t.marks = []journalMark{{-1, t.journalNext}}
	if found {
		t.marks[0].journal = r.checkpoint.JournalOffset
	}
	c, from, err := t.restore(ctx, r)
	if err != nil {
		return fmt.Errorf("restore %s: %w", t.name, err)
	}
	t.core = c
	t.lastFlush, t.lastCommit = n.now(), n.now().Add(t.phase()-n.options.CommitEvery)
	t.host.flushed.Store(from)
	if r.checkpoint == nil {
		return nil
	}
	t.arrival.resume(windows.Tick(r.checkpoint.Arrival), n.now(), time.UnixMilli(r.checkpoint.WrittenAt))
	return t.replay(ctx, r, from)
}

// replay feeds committed input from the restored point to the checkpoint with
// effects suppressed, each journal entry before the record that it belongs to.
func (t *term) replay(ctx context.Context, r restoring, from int64) error {
	c := r.checkpoint
	journalFrom := c.JournalOffset
	if r.usable {
		journalFrom = r.applied.JournalOffset
	}
	var entries []partition.Entry
	err := t.node.log.ReadRange(ctx, t.node.topics.journal, t.node.bookPartition(t.partition), journalFrom, t.journalNext, func(rec *eventlog.Record) error {
		if string(rec.Key) != t.name {
			return nil
		}
		err := eventlog.DecodeJournal(rec.Value, func(e eventlog.JournalEntry) error {
			if e.Seq <= c.JournalSeq && e.Position >= from && !(r.usable && e.Seq <= r.applied.JournalSeq) {
				entries = append(entries, partition.Entry{Position: e.Position, Kind: partition.EntryKind(e.Kind), Time: windows.Tick(e.Time), Payload: e.Payload})
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("journal of %s at offset %d: %w", t.name, rec.Offset, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.core.Suppress(true)
	replayed := 0
	upTo := func(position int64) error {
		for len(entries) > 0 && entries[0].Position <= position {
			if err := t.core.Replay(entries[0]); err != nil {
				return err
			}
			entries = entries[1:]
		}
		return nil
	}
	if from < c.Offset {
		err = t.node.log.ReadRange(ctx, t.source, t.partition, from, c.Offset, func(rec *eventlog.Record) error {
			if err := upTo(rec.Offset); err != nil {
				return err
			}
			replayed++
			return t.apply(rec)
		})
		if err != nil {
			return fmt.Errorf("replay %s/%d from %d to %d: %w", t.source, t.partition, from, c.Offset, err)
		}
	}
	t.core.Skip(c.Offset)
	if err := upTo(c.Offset); err != nil {
		return err
	}
	t.core.Effects().Reset()
	t.core.Suppress(false)
	t.node.metrics.replayed.WithLabelValues(t.kind).Add(float64(replayed))
	t.logger.Debug("recovered", "position", c.Offset, "from", from, "replayed", replayed)
	if err := t.core.Check(c); err != nil {
		return fmt.Errorf("%s does not match its checkpoint at %d (move %s aside to rebuild it from the log): %w", t.name, c.Offset, t.node.storeOptions(t.host).Dir, err)
	}
	return nil
}

// apply converts one log record and hands it to the core.
func (t *term) apply(rec *eventlog.Record) error {
	r := &t.record
	r.Offset, r.Arrival, r.Key, r.Value = rec.Offset, windows.TickOf(rec.Timestamp), rec.Key, rec.Value
	r.Headers = r.Headers[:0]
	for _, h := range rec.Headers {
		r.Headers = append(r.Headers, partition.Header{Key: h.Key, Value: h.Value})
	}
	return t.core.Apply(r)
}
