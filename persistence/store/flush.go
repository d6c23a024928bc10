package store

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Flush makes b and a durable in one atomic step and then visible to readers.
// A nil or empty batch moves Applied alone. b stays the caller's and may be
// flushed again after an error.
//
// The batch is written as one finished table, synced, and then entered into
// Pebble's table of contents; there is no write-ahead log and nothing passes
// through a memtable. So a flush that runs into a full disk fails before
// anything has changed, large batches need no second copy, and each byte is
// written once.
func (s *Store) Flush(b *Batch, a Applied) error {
	start := time.Now()
	if b == nil {
		b = &Batch{}
	}
	err := s.flush(b, a)
	s.opts.Metrics.flushed(b.Bytes(), time.Since(start), err)
	if err != nil {
		return fmt.Errorf("flush store %s at offset %d: %w", s.opts.Dir, a.Offset, err)
	}
	a.Extra = append([]byte(nil), a.Extra...)
	s.applied.Store(&a)
	return nil
}

func (s *Store) flush(b *Batch, a Applied) error {
	if s.fs.isCut.Load() {
		return ErrFailed
	}
	meta := appendApplied(nil, a)
	if len(meta) > maxAppliedBytes {
		return fmt.Errorf("applied record has %d bytes, at most %d are allowed", len(meta), maxAppliedBytes)
	}
	points, ranges := b.settle()
	if len(points) > 0 && less(points[0].key, userFloor) {
		return fmt.Errorf("%w: %x", ErrReservedKey, points[0].key)
	}
	if len(ranges) > 0 && less(ranges[0].lo, userFloor) {
		return fmt.Errorf("%w: %x", ErrReservedKey, ranges[0].lo)
	}
	if err := s.fs.room(s.opts.Dir, 2*b.Bytes()+s.opts.ReserveBytes); err != nil {
		return err
	}
	head := []point{{key: appliedKey, value: meta}}
	if !s.stamped {
		head = append(head, point{key: stampKey, value: []byte(formatStamp)})
	}
	s.flushes++
	path := s.path(incomingDir, fmt.Sprintf("%d.sst", s.flushes))
	err := s.writeTable(path, head, points, ranges)
	if err == nil {
		err = s.db.Ingest(context.Background(), []string{path})
	}
	if err != nil {
		if s.fs.isCut.Load() {
			return fmt.Errorf("%w: %w", ErrFailed, err)
		}
		// A table that was not taken and can't be removed now goes with the next
		// Open.
		_ = s.fs.Remove(path)
		return classify(err)
	}
	s.stamped = true
	return nil
}

// writeTable writes head, ranges and points as one table and syncs it. All
// entries of a table get one sequence number from Pebble, and a range delete
// never hides a point of its own number: it acts on what was there before.
func (s *Store) writeTable(path string, head, points []point, ranges []span) error {
	f, err := s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f),
		s.engine.MakeWriterOptions(0, engineFormat.MaxTableFormat()))
	err = func() error {
		for _, r := range ranges {
			if err := w.DeleteRange(r.lo, r.hi); err != nil {
				return err
			}
		}
		for _, part := range [][]point{head, points} {
			for _, p := range part {
				var err error
				if p.value == nil {
					err = w.Delete(p.key)
				} else {
					err = w.Set(p.key, p.value)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	}()
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	return err
}

func less(a, b []byte) bool { return string(a) < string(b) }
