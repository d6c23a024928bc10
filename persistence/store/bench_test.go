package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// BenchmarkFlush compares, on a real disk, one flush of a core's state written
// as a finished table with the same batch through a write-ahead log and through
// a memtable that is flushed at once (docs/design, "one store a core").
func BenchmarkFlush(b *testing.B) {
	for _, keys := range []int{10, 1_000, 50_000} {
		value := make([]byte, 64)
		key := func(i int) []byte { return fmt.Appendf(AppendPrefix(nil, 1, KindSlice), "device-%06d", i) }
		b.Run(fmt.Sprintf("table/keys=%d", keys), func(b *testing.B) {
			s, err := Open(Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				t := s.NewBatch()
				for i := range keys {
					t.Set(key(i), value)
				}
				if err := s.Flush(t, Applied{Offset: int64(n)}); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, wal := range []bool{true, false} {
			name := map[bool]string{true: "wal", false: "memtable"}[wal]
			b.Run(fmt.Sprintf("%s/keys=%d", name, keys), func(b *testing.B) {
				o := Options{Dir: b.TempDir()}
				o, err := o.withDefaults()
				if err != nil {
					b.Fatal(err)
				}
				e := engineOptions(o, newGuardedFS(o.FS))
				e.DisableWAL, e.MemTableSize = !wal, 4<<20
				db, err := pebble.Open(o.Dir, e)
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close()
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					t := db.NewBatch()
					for i := range keys {
						_ = t.Set(key(i), value, nil)
					}
					_ = t.Set(appliedKey, appendApplied(nil, Applied{Offset: int64(n)}), nil)
					if wal {
						err = t.Commit(pebble.Sync)
					} else if err = t.Commit(pebble.NoSync); err == nil {
						err = db.Flush()
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkOpenStores reports what an idle store costs in memory.
func BenchmarkOpenStores(b *testing.B) {
	cache := NewCache(0)
	defer cache.Close()
	b.ReportAllocs()
	dir := b.TempDir()
	for n := 0; b.Loop(); n++ {
		s, err := Open(Options{Dir: fmt.Sprintf("%s/%d", dir, n), Cache: cache})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
