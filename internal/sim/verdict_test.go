package sim

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var zero = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return zero.Add(time.Duration(seconds * float64(time.Second))) }

func TestWindowsHoldTheirEndAndNotTheirStart(t *testing.T) {
	tumbling := query{size: 10 * time.Second, hop: 10 * time.Second}
	hopping := query{size: 10 * time.Second, hop: 5 * time.Second}
	for _, c := range []struct {
		name string
		q    query
		t    float64
		ends []float64
	}{
		{"inside", tumbling, 3, []float64{10}},
		{"at an end", tumbling, 10, []float64{10}},
		{"just after it", tumbling, 10.001, []float64{20}},
		{"in two", hopping, 3, []float64{5, 10}},
		{"at a hop", hopping, 5, []float64{5, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := c.q.expect([]fact{{device: "d", seq: 1, v: 7, t: at(c.t)}}, at(100))
			if len(rows) != len(c.ends) {
				t.Fatalf("rows %v", rows)
			}
			for _, e := range c.ends {
				if rows[group{at(e), "d"}] != (row{1, 7, 1, 1}) {
					t.Errorf("rows %v lack the window to %v", rows, e)
				}
			}
		})
	}
}

func TestWindowsThatMayBeOpenAreNotExpected(t *testing.T) {
	q := query{size: 10 * time.Second, hop: 10 * time.Second}
	if rows := q.expect([]fact{{t: at(15)}}, at(19)); len(rows) != 0 {
		t.Errorf("rows %v", rows)
	}
}

// good is an account in order: one device, two messages of which one was sent
// twice and arrived twice, one patch, all rows.
func good() (*ledger, *account) {
	l := newLedger()
	a := &account{patches: map[string][]patchRecord{}, twins: map[string]json.RawMessage{}, rows: map[string][]result{}}
	for _, seq := range []int64{1, 2, 2} {
		m := message{"d", seq}
		l.sent(m)
		l.acked(m)
		a.facts = append(a.facts, fact{"d", seq, 10 * seq, at(float64(seq))})
	}
	l.patchSent(message{"d", 1})
	l.patchAcked(message{"d", 1}, 2)
	a.patches["d"] = []patchRecord{{1, []byte(`{"n":1}`)}}
	a.twins["d"] = json.RawMessage(`{"properties":{"reported":{"n":1,"$version":2,"$metadata":{}}}}`)
	for i := range queries {
		q := &queries[i]
		if q.topic {
			continue
		}
		if q.arrival {
			a.rows[q.name] = []result{{group{at(1), "d"}, row{1, 10, 1, 1}, "x/0@0"}, {group{at(2), "d"}, row{2, 40, 2, 2}, "x/0@1"}}
			continue
		}
		for g, r := range q.expect(a.facts, at(1000)) {
			a.rows[q.name] = append(a.rows[q.name], result{g, r, "x/0@" + g.end.String()})
		}
	}
	return l, a
}

func judged(l *ledger, a *account) *Verdict {
	v := &Verdict{}
	v.judgeMessages(l, a)
	v.judgeRows(a, at(1000))
	v.judgeTwins(l, a, a.twins)
	return v
}

func TestVerdictFindsWhatIsWrong(t *testing.T) {
	if v := judged(good()); !v.Passed() {
		t.Fatalf("an account in order fails: %v", v.Findings)
	}
	for _, c := range []struct {
		name  string
		spoil func(*ledger, *account)
		count func(*Verdict) int
	}{
		{"an acknowledged message that is not in the log", func(l *ledger, _ *account) { l.sent(message{"d", 3}); l.acked(message{"d", 3}) }, func(v *Verdict) int { return v.LostMessages }},
		{"a message in the log more often than it was sent", func(l *ledger, _ *account) { l.entries[message{"d", 2}].sent = 1 }, func(v *Verdict) int { return v.DoubledMessages }},
		{"a message that nobody sent", func(l *ledger, _ *account) { delete(l.entries, message{"d", 1}) }, func(v *Verdict) int { return v.Wrong }},
		{"a row twice", func(_ *ledger, a *account) {
			r := a.rows["tumbling"][0]
			r.at = "x/0@9"
			a.rows["tumbling"] = append(a.rows["tumbling"], r)
		}, func(v *Verdict) int { return v.Doubled }},
		{"a row that is missing", func(_ *ledger, a *account) { a.rows["hopping"] = a.rows["hopping"][1:] }, func(v *Verdict) int { return v.Lost }},
		{"a row with a wrong sum", func(_ *ledger, a *account) { a.rows["hopping"][0].s++ }, func(v *Verdict) int { return v.Wrong }},
		{"a row of no window", func(_ *ledger, a *account) { a.rows["tumbling"][0].end = at(7) }, func(v *Verdict) int { return v.Wrong }},
		{"a record that counts in no window of arrival time", func(_ *ledger, a *account) { a.rows["arrival"] = a.rows["arrival"][1:] }, func(v *Verdict) int { return v.Lost }},
		{"a record that counts in two of them", func(_ *ledger, a *account) { a.rows["arrival"][0].n++ }, func(v *Verdict) int { return v.Doubled }},
		{"a late row", func(_ *ledger, a *account) { a.refused = []string{"{}"} }, func(v *Verdict) int { return v.Wrong }},
		{"an acknowledged patch that is not in the log", func(_ *ledger, a *account) { delete(a.patches, "d") }, func(v *Verdict) int { return v.Lost }},
		{"an answer with another patch's version", func(l *ledger, _ *account) { l.patches[message{"d", 1}].version = 3 }, func(v *Verdict) int { return v.Wrong }},
		{"a twin of an older version", func(_ *ledger, a *account) {
			a.twins["d"] = json.RawMessage(`{"properties":{"reported":{"n":1,"$version":1}}}`)
		}, func(v *Verdict) int { return v.Wrong }},
		{"a twin without a patch", func(_ *ledger, a *account) {
			a.twins["d"] = json.RawMessage(`{"properties":{"reported":{"$version":2}}}`)
		}, func(v *Verdict) int { return v.Wrong }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, a := good()
			c.spoil(l, a)
			if v := judged(l, a); c.count(v) == 0 || v.Passed() {
				t.Errorf("not found: %v", v)
			}
		})
	}
}

func TestTenRoundsBringEveryIncident(t *testing.T) {
	for name, d := range map[string][10]Incident{"node": deck, "node and log": together} {
		t.Run(name, func(t *testing.T) {
			all := schedule(30, d, rand.New(rand.NewPCG(1, 1)))
			for i := 0; i < len(all); i += 10 {
				got, want := slices.Sorted(slices.Values(all[i:i+10])), slices.Sorted(slices.Values(d[:]))
				if !slices.Equal(got, want) {
					t.Errorf("rounds from %d bring %v, want %v", i+1, got, want)
				}
			}
			again := schedule(30, d, rand.New(rand.NewPCG(1, 1)))
			if !slices.Equal(all, again) {
				t.Error("one seed gave two schedules")
			}
		})
	}
}

func TestEventTimeNeverOvertakesTheWallClock(t *testing.T) {
	now := time.Now()
	last := began(now).Add(maxRounds*roundSpan + 2*roundSpan + outOfOrder)
	if !last.Before(now) || began(now).Before(now.Add(-late)) {
		t.Errorf("event time runs from %v to %v, now is %v", began(now), last, now)
	}
}
