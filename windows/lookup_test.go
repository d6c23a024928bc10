package windows

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// 2.5: with a timeline a key each group's rows are those of the definition,
// in order of its own time, whatever the skew between keys.
func TestTimelinePerKeyRowsEqualBruteForce(t *testing.T) {
	for seed := range uint64(120) {
		rn := randomLateRun(rand.New(rand.NewPCG(seed, 21)), true, false)
		rows, taken := rn.play(t, how{})
		rn.verify(t, seed, rows, taken)
		last := map[string]Tick{}
		for _, r := range rows.rows {
			if end, ok := last[r.key]; ok && r.end <= end {
				t.Fatalf("seed %d: key %x has %d after %d", seed, r.key, r.end, end)
			}
			last[r.key] = r.end
		}
	}
}

func TestTimelinePerKeyDoesNotDependOnMemorySavesOrRestarts(t *testing.T) {
	for seed := range uint64(120) {
		rn := randomLateRun(rand.New(rand.NewPCG(seed, 22)), true, false)
		want, _ := rn.play(t, how{})
		for name, h := range map[string]how{
			"restarted": {restarts: 6}, "no memory": {budget: 1}, "both": {restarts: 9, saves: 4, budget: 1}, "little memory": {saves: 10, budget: 6000},
		} {
			h.seed = seed
			if got, _ := rn.play(t, h); !slices.Equal(got.lines, want.lines) {
				t.Fatalf("seed %d, %s: %s", seed, name, firstDifference(got.lines, want.lines))
			}
		}
	}
}

// One timeline ahead of a floor far back closes its windows and gives their
// memory back.
func TestTimelineAheadOfTheFloorKeepsLittle(t *testing.T) {
	o, err := New(Options{Window: Window{Size: 60, Hop: 5}, Aggregates: allAggregates(), PerKey: true})
	if err != nil {
		t.Fatal(err)
	}
	line, rows := testKey(1), 0
	o.Fire(-1000000, nil)
	for i := range Tick(20000) {
		o.AddFor(line, int64(i), i, line, []Value{StringOf(strings.Repeat("v", 50))})
		o.FireKey(line, i, func(*Result) error { rows++; return nil })
		if n := len(o.slices); n > 14 {
			t.Fatalf("%d slices at %d", n, i)
		}
	}
	if rows < 3990 || o.OpenKeys() != 1 || o.StateBytes() > 100000 {
		t.Errorf("%d rows, %d keys, %d bytes", rows, o.OpenKeys(), o.StateBytes())
	}
}
