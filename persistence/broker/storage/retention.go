package storage

import (
	"errors"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Retention deletes whole runs from the front of partitions whose policy
// includes deletion: those that are old enough, those that are too much for
// their topic, and, while there is too much in all, the oldest there are. It
// stops at Options.Floor and at the last stable offset. The run that is still
// growing is deleted for its age only, with all that is in it.

// retained is a partition under retention. Its runs are read a few at a time.
type retained struct {
	p      *partition
	state  partitionValue
	limit  int64 // nothing from there on may go
	before int64 // ms; runs of which all is older go
	most   int64 // bytes; negative: no bound

	front []run // the next runs that may go
	ended bool  // there are none after those
	start int64 // the new log start
	bytes int64 // of the runs that stay
}

// frontRuns is how many runs of a partition are read at once.
const frontRuns = 64

// peek returns the oldest run that is still there and may go.
func (r *retained) peek(db pebble.Reader) (run, bool, error) {
	if len(r.front) == 0 && !r.ended {
		err := runs(db, r.p.uid, r.state, r.start, func(m run) bool {
			if m.next > r.limit {
				r.ended = true
				return false
			}
			r.front = append(r.front, m)
			return len(r.front) < frontRuns
		})
		if err != nil {
			return run{}, false, err
		}
		r.ended = r.ended || len(r.front) < frontRuns
	}
	if len(r.front) == 0 {
		return run{}, false, nil
	}
	return r.front[0], true, nil
}

// take lets the oldest run go.
func (r *retained) take() {
	r.start = r.front[0].next
	r.bytes -= r.front[0].bytes
	r.front = r.front[1:]
}

// expire lets go what is too old or too much for the topic.
func (r *retained) expire(db pebble.Reader) error {
	for {
		m, ok, err := r.peek(db)
		if err != nil || !ok {
			return err
		}
		old := m.maxTime < r.before
		if !old && (m.open || r.most < 0 || r.bytes-m.bytes < r.most) {
			return nil
		}
		r.take()
	}
}

// shrink lets the oldest runs of all partitions go until they have at most most
// bytes together.
func shrink(db pebble.Reader, all []*retained, most int64) error {
	var sum int64
	for _, r := range all {
		sum += r.bytes
	}
	left := slices.Clone(all)
	for sum > most && len(left) > 0 {
		var oldest *retained
		var age int64
		for i := 0; i < len(left); i++ {
			m, ok, err := left[i].peek(db)
			if err != nil {
				return err
			}
			if !ok || m.open {
				left = slices.Delete(left, i, i+1)
				i--
				continue
			}
			if oldest == nil || m.maxTime < age {
				oldest, age = left[i], m.maxTime
			}
		}
		if oldest != nil {
			sum -= oldest.front[0].bytes
			oldest.take()
		}
	}
	return nil
}

// retain is one round of retention at the time now (ms).
func (l *Log) retain(now int64) error {
	var all []*retained
	err := l.snapshot(func(db pebble.Reader) error {
		for _, t := range l.directory.Load().topics {
			if !t.conf.delete {
				continue
			}
			for _, p := range t.partitions {
				state, ok, err := readPartition(db, p.uid)
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
				r := &retained{p: p, state: state, limit: l.deletable(p), start: state.start, bytes: state.bytes, most: t.conf.retentionBytes}
				age := t.conf.retention
				if age == 0 {
					age = l.opts.Retention
				}
				r.before = math.MinInt64
				if age >= 0 {
					r.before = now - age.Milliseconds()
				}
				if err := r.expire(db); err != nil {
					return err
				}
				all = append(all, r)
			}
		}
		if l.opts.RetentionBytes < 0 {
			return nil
		}
		return shrink(db, all, l.opts.RetentionBytes)
	})
	for _, r := range all {
		if err != nil || r.start <= r.state.start {
			continue
		}
		l.upkeep.Lock()
		cerr := l.cutTo(r.p.uid, r.start)
		l.upkeep.Unlock()
		if cerr == nil {
			l.opts.Logger.Debug("deleted by retention", "topic", r.p.tp.Topic, "partition", r.p.tp.Partition, "before", r.start)
		} else if !errors.Is(cerr, kerr.UnknownTopicOrPartition) {
			err = cerr
		}
	}
	return err
}

// deletable is the offset from which on nothing of the partition may be deleted
// by housekeeping.
func (l *Log) deletable(p *partition) int64 {
	limit := p.published.Load().stable
	if floor, ok := l.opts.Floor(p.tp.Topic, p.tp.Partition); ok {
		limit = min(limit, floor)
	}
	return limit
}
