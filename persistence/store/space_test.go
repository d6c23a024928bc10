package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// flushSlices writes the state of a hopping window as a core does: each flush adds
// the slices that have closed, rewrites the open one and range-deletes what has
// expired.
func flushSlices(t testing.TB, s *Store, from, to, keep int64, keys, valueBytes int) {
	t.Helper()
	value := make([]byte, valueBytes)
	prefix := AppendPrefix(nil, 1, KindSlice)
	at := func(end int64) []byte { return AppendInt64(append([]byte(nil), prefix...), end) }
	for end := from; end < to; end++ {
		b := s.NewBatch()
		b.DeleteRange(prefix, at(end-keep))
		for _, e := range []int64{end, end + 1} {
			for i := range keys {
				value[0], value[1] = byte(i), byte(e) // not all alike
				b.Set(append(at(e), fmt.Sprintf("device-%06d", i)...), value)
			}
		}
		if err := s.Flush(b, Applied{Offset: end}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRangeDeletedSpaceComesBack(t *testing.T) {
	s := open(t, vfs.NewMem())
	const keep, keys = 4, 400
	flushSlices(t, s, 0, 2*keep, keep, keys, 100)
	waitFor(t, "compactions of the first windows", func() bool { return s.db.Metrics().Compact.NumInProgress == 0 })
	baseline := s.Bytes()
	flushSlices(t, s, 2*keep, 60, keep, keys, 100)
	waitFor(t, fmt.Sprintf("60 hops to take at most twice the %d bytes of the first %d", baseline, 2*keep),
		func() bool { return s.Bytes() <= 2*baseline })

	// Nothing is open any more: what remains is the store's own record.
	b := s.NewBatch()
	b.DeleteRange(AppendPrefix(nil, 1, 0), AppendPrefix(nil, 2, 0))
	if err := s.Flush(b, Applied{Offset: 61}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "an emptied store to be small", func() bool { return s.tableBytes() <= 4<<10 })
	if got := contents(t, s); len(got) != 0 {
		t.Fatalf("%d entries remain", len(got))
	}
}

func (s *Store) tableBytes() uint64 {
	m := s.db.Metrics()
	return m.Table.Local.LiveSize + m.Table.Local.ObsoleteSize + m.Table.Local.ZombieSize
}

func TestReadersSeeWholeFlushes(t *testing.T) {
	s := open(t, vfs.NewMem())
	stop, done := make(chan struct{}), make(chan error, 2)
	for range 2 {
		go func() {
			var err error
			for err == nil {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				seen := map[string]int{}
				err = s.Scan(nil, nil, func(_, v []byte) error { seen[string(v)]++; return nil })
				if err == nil && len(seen) > 1 {
					err = fmt.Errorf("one scan saw %v", seen)
				}
			}
			done <- err
		}()
	}
	for i := range 100 {
		b := s.NewBatch()
		for k := range 20 {
			b.Set([]byte{1, 1, byte(k)}, fmt.Append(nil, i))
		}
		if err := s.Flush(b, Applied{Offset: int64(i)}); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
