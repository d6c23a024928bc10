package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Repairs says what Repair may do.
type Repairs struct {
	// DropDamaged also gives up damaged batches that others follow, and states
	// that can't be decoded. Without it only damage at the end of a partition is.
	DropDamaged bool
	// DryRun changes nothing.
	DryRun bool
	// Now is the time (ms) of markers and of batches that stand for lost ones.
	Now int64
}

// Repaired is what Repair did, or would do.
type Repaired struct {
	Lost []Finding // records and states that were given up
	Done []string  // what was set right without loss
	Left []Finding // what is still wrong
}

// Repair sets right what Verify finds. Offsets are never used again: a batch of
// no records takes the place of damaged ones, and the high watermark stays.
// Sizes, marks and the index of aborted transactions are made anew from the
// batches; a transaction that would never end is aborted; what belongs to
// nothing is removed. Each partition is repaired in one atomic step. Damage of
// the database's own files is left: it takes a copy of the log.
func (o Offline) Repair(ctx context.Context, how Repairs) (out Repaired, err error) {
	if err := ctx.Err(); err != nil {
		return out, err
	}
	e, err := o.open(how.DryRun)
	if err != nil {
		return out, err
	}
	defer func() {
		if cerr := e.close(); err == nil {
			err = cerr
		}
	}()
	err = e.view(func(db *pebble.DB) error {
		v := &verifier{ctx: ctx, db: db, st: newState(), compacted: map[uint32]compactState{}}
		if err := v.states(); err != nil {
			return err
		}
		r := &repair{v: v, db: db, how: how, out: &out}
		if err := r.states(); err != nil {
			return err
		}
		for _, uid := range slices.Sorted(maps.Keys(v.st.byUID)) {
			if err := r.partition(v.st.byUID[uid]); err != nil {
				return err
			}
		}
		return r.strangers()
	})
	return out, err
}

type repair struct {
	v   *verifier
	db  *pebble.DB
	how Repairs
	out *Repaired
}

func (r *repair) commit(b *pebble.Batch) error {
	if r.how.DryRun || b.Empty() {
		return b.Close()
	}
	return b.Commit(pebble.Sync)
}

func (r *repair) done(format string, args ...any) {
	r.out.Done = append(r.out.Done, fmt.Sprintf(format, args...))
}

// states removes what can't be decoded, where that is allowed, and offsets for
// partitions that do not exist.
func (r *repair) states() error {
	b := r.db.NewBatch()
	probe := newState()
	var errs []error
	for _, s := range []struct {
		tag  byte
		take func(key, value []byte) error
	}{
		{tagTopic, probe.loadTopic},
		{tagPartition, probe.loadPartition},
		{tagProducer, probe.loadProducer},
		{tagTxn, probe.loadTxn},
		{tagPending, probe.loadPending},
		{tagOffset, func(k, value []byte) error { return probe.loadOffset(k, value, 0) }},
	} {
		err := scan(r.db, []byte{s.tag}, []byte{s.tag + 1}, func(key, value []byte) error {
			err := s.take(key, value)
			if err == nil && (s.tag == tagOffset || s.tag == tagPending) {
				var tp TopicPartition
				if s.tag == tagOffset {
					_, tp, err = splitOffset(key)
				} else {
					_, _, tp, err = splitPending(key)
				}
				if err == nil && probe.partition(tp) == nil {
					r.done("removed an offset for %s-%d, which does not exist", tp.Topic, tp.Partition)
					errs = append(errs, b.Delete(key, nil))
				}
			}
			if err == nil {
				return nil
			}
			f := Finding{Kind: WrongState, First: -1, Next: -1, Detail: fmt.Sprintf("key %x: %v", key, err)}
			// Without its topic or state a partition could not be told from garbage.
			if !r.how.DropDamaged || s.tag == tagTopic || s.tag == tagPartition {
				r.out.Left = append(r.out.Left, f)
				return nil
			}
			r.out.Lost = append(r.out.Lost, f)
			errs = append(errs, b.Delete(key, nil))
			return nil
		})
		if pebble.IsCorruptionError(err) {
			r.out.Left = append(r.out.Left, Finding{Kind: UnreadableFile, First: -1, Next: -1, Detail: err.Error()})
			err = nil
		}
		errs = append(errs, err)
	}
	errs = append(errs, r.commit(b))
	return errors.Join(errs...)
}

// partition repairs p if anything is wrong with it.
func (r *repair) partition(p *partition) error {
	before := len(r.v.report.Findings)
	known := slices.ContainsFunc(r.v.report.Findings, func(f Finding) bool { return f.Kind == WrongState && f.TopicPartition == p.tp })
	if err := r.v.partition(p); err != nil {
		return err
	}
	found := slices.Clone(r.v.report.Findings[before:])
	if r.v.report.Omitted > 0 {
		return fmt.Errorf("too much is wrong for a repair: more than %d findings; restore a copy of the log", maxFindings)
	}
	if len(found) == 0 && !known {
		return nil
	}
	var damaged []Finding
	for _, f := range found {
		switch f.Kind {
		case UnreadableFile:
			r.out.Left = append(r.out.Left, found...)
			return nil
		case DamagedBatch:
			damaged = append(damaged, f)
		}
	}
	// What is damaged up to the end goes in any case.
	tail := p.next
	for i := len(damaged) - 1; i >= 0 && damaged[i].Next >= tail; i-- {
		tail = damaged[i].First
	}
	for _, f := range damaged {
		if f.First < tail && !r.how.DropDamaged {
			r.out.Left = append(r.out.Left, found...)
			return nil
		}
	}
	for _, f := range found {
		if f.Kind == DamagedBatch || f.Kind == MissingBatches {
			r.out.Lost = append(r.out.Lost, f)
		}
	}
	x := &rebuilding{r: r, p: p, b: r.db.NewBatch(), damaged: map[int64]int64{}}
	for _, f := range damaged {
		x.damaged[f.First] = f.Next
	}
	if err := x.run(); err != nil {
		return errors.Join(err, x.b.Close())
	}
	r.done("%s-%d: made sizes, marks and the index of aborted transactions anew", p.tp.Topic, p.tp.Partition)
	return r.commit(x.b)
}

// strangers removes batches and the like of partitions that do not exist.
func (r *repair) strangers() error {
	b := r.db.NewBatch()
	var errs []error
	for _, tag := range []byte{tagBatch, tagMark, tagAborted} {
		it, err := r.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tag}, UpperBound: []byte{tag + 1}})
		if err != nil {
			return err
		}
		for ok := it.First(); ok; {
			uid, _, err := splitNumbered(it.Key())
			if err != nil || uid == math.MaxUint32 {
				r.out.Left = append(r.out.Left, Finding{Kind: Orphan, First: -1, Next: -1, Detail: fmt.Sprintf("key %x", it.Key())})
				ok = it.Next()
				continue
			}
			if r.v.st.byUID[uid] == nil {
				r.done("removed what was left of partition number %d, which has no topic", uid)
				errs = append(errs, b.DeleteRange(keyUID(tag, uid), keyUID(tag, uid+1), nil))
			}
			ok = it.SeekGE(keyUID(tag, uid+1))
		}
		errs = append(errs, it.Error(), it.Close())
	}
	errs = append(errs, r.commit(b))
	return errors.Join(errs...)
}
