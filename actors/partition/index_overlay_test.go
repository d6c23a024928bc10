package partition

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestOverlayIsAnOrderedSet(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	o := newOverlay()
	model := map[string][]string{}
	for range 6000 {
		key := fmt.Sprintf("k%d", r.IntN(2000))
		var entries []string
		for range r.IntN(3) {
			entries = append(entries, fmt.Sprintf("%03d%s", r.IntN(300), key))
		}
		slices.Sort(entries)
		entries = slices.Compact(entries)
		o.put(key, entries)
		model[key] = entries
	}
	for range 200 {
		lo, hi := fmt.Sprintf("%03d", r.IntN(301)), fmt.Sprintf("%03d", r.IntN(301))
		var want, got []string
		for _, list := range model {
			for _, e := range list {
				if lo <= e && e < hi {
					want = append(want, e)
				}
			}
		}
		slices.Sort(want)
		o.scan(lo, hi, func(e string) bool {
			got = append(got, e)
			return true
		})
		if !slices.Equal(got, want) {
			t.Fatalf("from %s to %s: %d entries, want %d", lo, hi, len(got), len(want))
		}
	}
	if len(o.blocks) < 3 {
		t.Errorf("%d blocks: the test says little", len(o.blocks))
	}
}
