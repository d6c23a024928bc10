package windows

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Touch changes nothing: an operator that is told keys, known, unknown and
// malformed ones, gives the rows of one that is not, also while keys and slices
// come and go.
func TestTouchChangesNothing(t *testing.T) {
	for _, w := range []Window{{Size: 10, Hop: 10}, {Size: 60, Hop: 10}, {Size: 10, Hop: 7}} {
		rng := rand.New(rand.NewPCG(7, 1))
		aggs := []Aggregate{{Kind: CountAll}, {Kind: Sum}, {Kind: Max}}
		plain, err := New(Options{Window: w, Aggregates: aggs})
		if err != nil {
			t.Fatal(err)
		}
		touched, err := New(Options{Window: w, Aggregates: aggs})
		if err != nil {
			t.Fatal(err)
		}
		var rows [2][]string
		emit := func(i int) func(*Result) error {
			return func(r *Result) error {
				rows[i] = append(rows[i], fmt.Sprintf("%d %x %v", r.End, r.Key, r.Values))
				return nil
			}
		}
		for i := range 20_000 {
			now := Tick(i / 50)
			if i%TouchKeys == 0 {
				keys := [][]byte{nil, {0}, []byte("no tuple")}
				for range rng.IntN(2 * TouchKeys) {
					keys = append(keys, testKey(rng.IntN(500)))
				}
				rng.Shuffle(len(keys), func(a, b int) { keys[a], keys[b] = keys[b], keys[a] })
				touched.Touch(keys)
			}
			key, v := testKey(rng.IntN(300)+i/100), FloatOf(rng.Float64())
			for j, o := range []*Operator{plain, touched} {
				o.Add(int64(i), now, key, []Value{v})
				if err := o.Fire(now, emit(j)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(rows[0]) == 0 || !slices.Equal(rows[0], rows[1]) {
			t.Fatalf("size %d, hop %d: %d rows with Touch, %d without", w.Size, w.Hop, len(rows[1]), len(rows[0]))
		}
	}
}
