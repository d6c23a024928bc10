package store

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// apply is the plain meaning of a batch: one change after the other.
func (m state) set(k, v string) { m[k] = v }

func (m state) deleteRange(lo, hi string) {
	for k := range m {
		if lo <= k && k < hi {
			delete(m, k)
		}
	}
}

func TestLaterChangesOfABatchWin(t *testing.T) {
	k := func(s string) []byte { return []byte(s) }
	for _, c := range []struct {
		name   string
		change func(*Batch)
		want   state
	}{
		{"set twice", func(b *Batch) { b.Set(k("a"), k("1")); b.Set(k("a"), k("2")) }, state{"a": "2", "m": "old", "n": "old"}},
		{"set then delete", func(b *Batch) { b.Set(k("a"), k("1")); b.Delete(k("a")) }, state{"m": "old", "n": "old"}},
		{"delete then set", func(b *Batch) { b.Delete(k("m")); b.Set(k("m"), k("1")) }, state{"m": "1", "n": "old"}},
		{"range delete hits what was there", func(b *Batch) { b.DeleteRange(k("m"), k("n")) }, state{"n": "old"}},
		{"range delete hits what the batch set before", func(b *Batch) { b.Set(k("m"), k("1")); b.DeleteRange(k("a"), k("z")) }, state{}},
		{"range delete spares what the batch sets after", func(b *Batch) { b.DeleteRange(k("a"), k("z")); b.Set(k("m"), k("1")) }, state{"m": "1"}},
		{"overlapping range deletes", func(b *Batch) {
			b.DeleteRange(k("a"), k("n"))
			b.Set(k("m"), k("1"))
			b.Set(k("n"), k("1"))
			b.DeleteRange(k("m1"), k("z"))
		}, state{"m": "1"}},
		{"empty and inverted ranges", func(b *Batch) { b.DeleteRange(k("m"), k("m")); b.DeleteRange(k("z"), k("a")) }, state{"m": "old", "n": "old"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, vfs.NewMem())
			b := s.NewBatch()
			b.Set(k("m"), k("old"))
			b.Set(k("n"), k("old"))
			if err := s.Flush(b, Applied{}); err != nil {
				t.Fatal(err)
			}
			b.Reset()
			c.change(b)
			if err := s.Flush(b, Applied{}); err != nil {
				t.Fatal(err)
			}
			if got := contents(t, s); !maps.Equal(got, c.want) {
				t.Fatalf("contents = %q, want %q", got, c.want)
			}
		})
	}
}

func TestRandomBatchesMatchPlainMap(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, seed))
	s := open(t, vfs.NewMem())
	model := state{}
	for i := range 60 {
		b := s.NewBatch()
		randomChanges(rng, b, model, rng.IntN(60))
		if err := s.Flush(b, Applied{Offset: int64(i)}); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, s); !maps.Equal(got, model) {
			t.Fatalf("seed %d, flush %d: contents = %q, want %q", seed, i, got, model)
		}
	}
}

// randomChanges makes n changes to b and the same to m.
func randomChanges(rng *rand.Rand, b *Batch, m state, n int) {
	key := func() string {
		k := make([]byte, 1+rng.IntN(2))
		for i := range k {
			k[i] = byte('a' + rng.IntN(8))
		}
		return string(k)
	}
	for range n {
		switch k := key(); rng.IntN(8) {
		case 0:
			hi := key()
			b.DeleteRange([]byte(k), []byte(hi))
			m.deleteRange(k, hi)
		case 1:
			b.Delete([]byte(k))
			delete(m, k)
		default:
			v := key()
			b.Set([]byte(k), []byte(v))
			m.set(k, v)
		}
	}
}

func TestBatchCopiesWhatItIsGiven(t *testing.T) {
	s := open(t, vfs.NewMem())
	b := s.NewBatch()
	p := []byte("kv")
	for i := range 100 {
		p[0], p[1] = byte('A'+i%50), byte(i)
		b.Set(p[:1], p[1:])
	}
	if b.Len() != 100 || b.Bytes() != 200 {
		t.Fatalf("len %d, bytes %d", b.Len(), b.Bytes())
	}
	if err := s.Flush(b, Applied{}); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if v, err := s.Get([]byte{byte('A' + i)}); err != nil || len(v) != 1 || v[0] != byte(i+50) {
			t.Fatalf("key %d = %v, %v", i, v, err)
		}
	}
}
