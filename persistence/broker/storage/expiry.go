package storage

import (
	"context"
	"errors"
	"time"
)

// txnInterval is how often time-outs of transactions are looked at.
const txnInterval = time.Second

// housekeepingLoop runs what has to be done by the clock.
func (l *Log) housekeepingLoop() {
	if l.opts.Housekeeping < 0 {
		return
	}
	ctx := context.Background()
	txns := time.NewTicker(txnInterval)
	defer txns.Stop()
	rounds := time.NewTicker(l.opts.Housekeeping)
	defer rounds.Stop()
	for {
		var err error
		select {
		case <-l.stop:
			return
		case <-txns.C:
			err = l.expireTxns(ctx)
		case <-rounds.C:
			err = l.housekeep(ctx)
		}
		if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, errStorage) {
			l.opts.Logger.Error("housekeeping of the log", "err", err.Error())
		}
	}
}

// housekeep is one round of everything that is done by the clock, apart from
// time-outs of transactions.
func (l *Log) housekeep(ctx context.Context) error {
	return errors.Join(
		l.expireProducers(ctx),
		l.expireOffsets(ctx),
	)
}

// expiryStep bounds how much one request to the sequencer removes, so that
// appends do not wait for it.
const expiryStep = 1000

// expireProducers forgets producers that have not appended for long.
func (l *Log) expireProducers(ctx context.Context) error {
	if l.opts.ProducerIDExpiry < 0 {
		return nil
	}
	limit := l.now() - l.opts.ProducerIDExpiry.Milliseconds()
	type entry struct {
		uid uint32
		id  int64
	}
	for {
		var due []entry
		err := l.look(ctx, func(b *build) {
			due = due[:0]
			for _, p := range b.st.byUID {
				for id, pr := range p.producers {
					if pr.txnStart < 0 && pr.seen < limit && len(due) < expiryStep {
						due = append(due, entry{p.uid, id})
					}
				}
			}
		})
		if err != nil || len(due) == 0 {
			return err
		}
		if err := l.change(ctx, func(b *build) error {
			for _, e := range due {
				p := b.st.byUID[e.uid]
				if p == nil {
					continue
				}
				if pr := p.producers[e.id]; pr != nil && pr.txnStart < 0 && pr.seen < limit {
					delete(p.producers, e.id)
					b.delete(keyProducer(p.uid, e.id))
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
}

// expireOffsets removes offsets of groups that have had no members for long.
func (l *Log) expireOffsets(ctx context.Context) error {
	if l.opts.OffsetsRetention < 0 {
		return nil
	}
	now := l.now()
	limit := now - l.opts.OffsetsRetention.Milliseconds()
	var names []string
	if err := l.look(ctx, func(b *build) {
		names = names[:0]
		for name := range b.st.groups {
			names = append(names, name)
		}
	}); err != nil {
		return err
	}
	active := map[string]bool{}
	for _, name := range names {
		// The caller's function may take locks, so it is not called by the
		// sequencer.
		active[name] = l.opts.GroupActive(name)
	}
	var due map[string][]TopicPartition
	if err := l.look(ctx, func(b *build) {
		due = map[string][]TopicPartition{}
		for name, g := range b.st.groups {
			if active[name] {
				g.active = now
			}
			for tp, v := range g.committed {
				if max(v.time, g.active) < limit && g.pending[tp] == 0 {
					due[name] = append(due[name], tp)
				}
			}
		}
	}); err != nil || len(due) == 0 {
		return err
	}
	return l.change(ctx, func(b *build) error {
		for name, tps := range due {
			g := b.st.groups[name]
			if g == nil {
				continue
			}
			for _, tp := range tps {
				if v, ok := g.committed[tp]; ok && max(v.time, g.active) < limit && g.pending[tp] == 0 {
					b.removeOffset(name, g, tp)
				}
			}
			b.st.tidy(name)
		}
		return nil
	})
}
