package partition

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/windows"
)

const base = 1_700_000_000 * windows.Second

// step is one thing that happens to a partition: a record, a tick of the idle
// clock or a change of plans.
type step struct {
	record  *Record
	tick    windows.Tick
	defs    []Definition // when there is neither
	refused map[string]string
}

func (r *rig) step(s step) {
	switch {
	case s.record != nil:
		r.apply(*s.record)
	case s.tick != 0:
		r.tick(s.tick)
	default:
		r.plans(s.defs, s.refused)
	}
}

const aggregates = "SELECT deviceId, COUNT(*) AS n, SUM(v) AS s, AVG(f) AS a, MIN(v) AS lo, MAX(x) AS hi, STDEV(f) AS sd, System.Timestamp() AS windowEnd INTO "

// shapes are the pipelines that the properties run over, by what is particular.
func shapes() map[string]Definition {
	def := func(query string, late, disorder windows.Tick) Definition {
		return Definition{Query: aggregates + query, Late: late * windows.Second, OutOfOrder: disorder * windows.Second, Early: 20 * windows.Second}
	}
	all := map[string]Definition{
		"tumbling":  def("o FROM s TIMESTAMP BY t GROUP BY deviceId, TumblingWindow(second, 10)", 5, 2),
		"hopping":   def("o FROM s TIMESTAMP BY t GROUP BY deviceId, HoppingWindow(second, 20, 5)", 8, 4),
		"paired":    def("o FROM s TIMESTAMP BY t GROUP BY deviceId, HoppingWindow(second, 10, 7)", 5, 3),
		"sampling":  def("o FROM s TIMESTAMP BY t GROUP BY deviceId, HoppingWindow(second, 3, 10)", 5, 0),
		"arrival":   def("o FROM s GROUP BY deviceId, HoppingWindow(second, 15, 5)", 5, 0),
		"keyed":     def("o FROM s TIMESTAMP BY t OVER deviceId GROUP BY deviceId, HoppingWindow(second, 20, 5)", 30, 1),
		"keyedOnly": def("o FROM s TIMESTAMP BY t OVER deviceId WHERE v > 90 GROUP BY deviceId, TumblingWindow(second, 4)", 20, 0),
		"grace":     def("o FROM s TIMESTAMP BY t GROUP BY deviceId, HoppingWindow(second, 10, 5) GRACE Duration(second, 15)", 5, 0),
		"graceKeyed": def(
			"o FROM s TIMESTAMP BY t OVER deviceId GROUP BY deviceId, TumblingWindow(second, 5) GRACE Duration(second, 10)", 20, 1),
		"filtered": def("o FROM s TIMESTAMP BY t WHERE v <> 50 GROUP BY deviceId, TumblingWindow(second, 10) HAVING COUNT(*) > 1", 0, 5),
	}
	for _, name := range []string{"grace", "graceKeyed"} {
		d := all[name]
		d.OnLate, d.OnOutOfOrder = "accept", "accept"
		all[name] = d
	}
	d := all["paired"]
	d.OnLate, d.OnOutOfOrder, d.OnEarly = "side_output", "drop", "clamp"
	all["paired"] = d
	all["projection"] = Definition{Query: "SELECT deviceId, v * 2 AS w, System.Timestamp() AS at INTO o FROM s TIMESTAMP BY t WHERE v > 40", Late: 5 * windows.Second, Early: windows.Second}
	for name, d := range all {
		d.Name = name
		d.Query = strings.Replace(d.Query, "INTO o ", "INTO "+name+" ", 1)
		all[name] = d
	}
	return all
}

// payload is a reading whose columns are of several kinds now and then.
func payload(r *rand.Rand, id string, event windows.Tick) string {
	switch r.IntN(60) {
	case 0:
		return "{"
	case 1:
		return ""
	case 2:
		return fmt.Sprintf(`{"deviceId":%q,"t":"yesterday","v":1}`, id)
	case 3:
		return fmt.Sprintf(`{"deviceId":%q,"t":%q,"v":"many","f":1,"x":[1]}`, id, event)
	}
	x := []string{"null", "7", "7.5", `"seven"`, `"a longer text"`, "true"}[r.IntN(6)]
	return fmt.Sprintf(`{"deviceId":%q,"t":%q,"v":%d,"f":%g,"x":%s}`, id, event, r.IntN(100), 20+10*r.Float64(), x)
}

// stream is a random run of records and ticks with changes of plans between.
// Some devices trail, lead or disorder; arrival stands still and jumps.
func stream(r *rand.Rand, n int, plans [][]Definition) []step {
	steps := []step{{defs: plans[0]}}
	arrival, offset := base, int64(0)
	pace := []int{60, 700, 2500}[r.IntN(3)]
	skew := make([]windows.Tick, 6)
	for i := range skew {
		skew[i] = windows.Tick(r.IntN(12)-8) * windows.Second
	}
	skew[0] = windows.Tick(r.IntN(18)) * windows.Second
	for range n {
		switch x := r.IntN(100); {
		case x < 70:
			arrival += windows.Tick(r.IntN(pace)) * windows.Millisecond
		case x < 73:
			arrival += windows.Tick(r.IntN(60)) * windows.Second
		case x < 75:
			arrival -= windows.Tick(r.IntN(3)) * windows.Second
		}
		switch x := r.IntN(100); {
		case x < 5:
			arrival += windows.Tick(r.IntN([]int{8, 60}[r.IntN(2)])) * windows.Second
			steps = append(steps, step{tick: arrival})
			if r.IntN(2) == 0 { // a record that is behind the estimate
				arrival -= windows.Tick(r.IntN(2000)) * windows.Millisecond
			}
			continue
		case x < 7 && len(plans) > 1:
			steps = append(steps, step{defs: plans[r.IntN(len(plans))]})
			continue
		case x < 8 && len(plans) > 1:
			defs := plans[r.IntN(len(plans))]
			steps = append(steps, step{defs: defs, refused: map[string]string{defs[r.IntN(len(defs))].Name: "no such topic"}})
			continue
		}
		d := r.IntN(len(skew))
		event := arrival + skew[d] + windows.Tick(r.IntN(4000)-3000)*windows.Millisecond
		if r.IntN(12) == 0 {
			event += windows.Tick(r.IntN(80)-50) * windows.Second
		}
		event -= event % windows.Millisecond
		id := fmt.Sprintf("d%d", d)
		steps = append(steps, step{record: &Record{Offset: offset, Arrival: arrival - arrival%windows.Millisecond, Key: []byte(id), Value: []byte(payload(r, id, event))}})
		offset++
	}
	return steps
}

// uncrashed runs steps from end to end and returns what came out.
func uncrashed(t testing.TB, o PipelinesOptions, steps []step) *rig {
	r := newRig(t, o, 0)
	for _, s := range steps {
		r.step(s)
	}
	r.commit()
	return r
}

// faults are what a run goes through besides its steps.
type faults struct {
	budget int64
	ending ending
	every  int // crash once in so many steps; 1: after each
	commit int // commit once in so many steps
	flush  int
}

// crashed runs steps with crashes at random places; what was not committed is
// done again.
func crashed(t testing.TB, o PipelinesOptions, r *rand.Rand, steps []step, f faults) *rig {
	g := newRig(t, o, f.budget)
	reached := 0 // steps that the newest commit holds
	for i := 0; i < len(steps); i++ {
		g.step(steps[i])
		if steps[i].record == nil && steps[i].tick == 0 {
			reached = i + 1
		}
		if f.commit > 0 && r.IntN(f.commit) == 0 {
			g.commit()
			reached = i + 1
		}
		if f.flush > 0 && r.IntN(f.flush) == 0 {
			g.flush()
			reached = i + 1
		}
		if r.IntN(f.every) == 0 {
			g.crash(f.ending)
			i = reached - 1
			if f.every == 1 { // go on, with the next step committed
				if i+1 < len(steps) {
					g.step(steps[i+1])
					g.commit()
					reached, i = i+2, i+1
				}
			}
		}
	}
	g.commit()
	return g
}

func compare(t *testing.T, want, got []string) {
	t.Helper()
	if slices.Equal(want, got) {
		return
	}
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			at := func(s []string) string { return strings.Join(s[min(i, len(s)):min(i+3, len(s))], "\n  ") }
			t.Fatalf("%d rows, want %d; from row %d on\n  %s\nwant\n  %s", len(got), len(want), i, at(got), at(want))
		}
	}
}

// noRowTwice looks for a second row of a pipeline with the same key, window and
// revision.
func noRowTwice(t *testing.T, rows []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, row := range rows {
		at := strings.Index(row, `"windowEnd"`)
		brace := strings.Index(row, "{")
		if at < 0 || strings.HasPrefix(row, "dead") || strings.HasPrefix(row, "late") {
			continue
		}
		id := row[:brace] + row[at:]
		if seen[id] {
			t.Fatalf("emitted twice: %s", row)
		}
		seen[id] = true
	}
}

// A run that crashes anywhere, recovers from its store or from the log alone,
// and does again what was not committed, commits the same bytes as one that
// never crashed (semantics 18 v, iv, vii).
func TestCrashesLeaveTheRowsAsTheyAre(t *testing.T) {
	list := shapes()
	names := make([]string, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	seeds := 10
	if testing.Short() {
		seeds = 3
	}
	for _, name := range names {
		for _, f := range []struct {
			name string
			faults
		}{
			{"store", faults{every: 15, commit: 5, flush: 20}},
			{"lost", faults{every: 15, commit: 5, flush: 20, ending: lost}},
			{"moved", faults{every: 15, commit: 5, flush: 20, ending: moved}},
			{"spilled", faults{every: 20, commit: 5, flush: 10, budget: 1}},
			{"spilledLost", faults{every: 20, commit: 5, ending: lost, budget: 1}},
			{"eachRecord", faults{every: 1, flush: 9}},
			{"eachRecordLost", faults{every: 1, ending: lost}},
		} {
			t.Run(name+"/"+f.name, func(t *testing.T) {
				for seed := range uint64(seeds) {
					r := rand.New(rand.NewPCG(seed, 7))
					n := 250
					if f.every == 1 {
						n = 120
					}
					steps := stream(r, n, [][]Definition{{list[name]}})
					o := PipelinesOptions{Source: "s", SinglePartition: true, ProducerTime: seed%3 == 0}
					want := uncrashed(t, o, steps)
					if len(want.rows) < 5 {
						t.Fatalf("seed %d: only %d rows: the test tests nothing", seed, len(want.rows))
					}
					noRowTwice(t, want.rows)
					got := crashed(t, o, r, steps, f.faults)
					if t.Failed() {
						return
					}
					compare(t, want.rows, got.rows)
					if t.Failed() {
						t.Fatalf("seed %d", seed)
					}
				}
			})
		}
	}
}

// The same with several pipelines whose set changes on the way: some come and
// go, are suspended and start anew.
func TestCrashesWithChangesOfPlans(t *testing.T) {
	list := shapes()
	pick := func(names ...string) (defs []Definition) {
		for _, n := range names {
			defs = append(defs, list[n])
		}
		return defs
	}
	plans := [][]Definition{
		pick("tumbling", "keyed", "projection"), pick("tumbling", "grace", "hopping"),
		pick("keyed", "graceKeyed", "arrival"), pick("sampling", "paired", "tumbling", "keyedOnly"),
	}
	seeds := 25
	if testing.Short() {
		seeds = 5
	}
	for _, f := range []struct {
		name string
		faults
	}{
		{"store", faults{every: 15, commit: 5, flush: 20}},
		{"lost", faults{every: 15, commit: 5, flush: 20, ending: lost}},
		{"moved", faults{every: 15, commit: 5, flush: 20, ending: moved}},
		{"spilled", faults{every: 15, commit: 5, flush: 10, budget: 1}},
		{"eachRecord", faults{every: 1, flush: 9}},
		{"eachRecordLost", faults{every: 1, ending: lost}},
	} {
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				r := rand.New(rand.NewPCG(seed, 8))
				n := 400
				if f.every == 1 {
					n = 150
				}
				steps := stream(r, n, plans)
				o := PipelinesOptions{Source: "s", SinglePartition: true}
				want := uncrashed(t, o, steps)
				got := crashed(t, o, r, steps, f.faults)
				compare(t, want.rows, got.rows)
			}
		})
	}
}
