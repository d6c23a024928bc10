package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
)

// Verdict is what a run found. It passes when nothing was lost, doubled or
// wrong and no owner went on after another took over.
type Verdict struct {
	Rounds                            int
	Published, Acknowledged, Resent   int // messages
	Records, Rows                     int // of the inputs, of the results
	Patches                           int // applied
	Kills, Takeovers                  int
	Replayed                          int64
	Lost, Doubled, Wrong, Unfenced    int
	LostMessages, DoubledMessages     int      // the parts of Lost and Doubled that are input
	Findings                          []string // the first ones, in words
	Elapsed, LongestRound, LongestEnd time.Duration
}

// Passed reports whether nothing was found.
func (v *Verdict) Passed() bool { return v.Lost+v.Doubled+v.Wrong+v.Unfenced == 0 }

// maxFindings of each kind are put in words.
const maxFindings = 8

func (v *Verdict) find(count *int, format string, args ...any) {
	*count++
	if *count <= maxFindings {
		v.Findings = append(v.Findings, fmt.Sprintf(format, args...))
	}
}

// judgeMessages compares the ledger with what is in the log.
func (v *Verdict) judgeMessages(l *ledger, a *account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := map[message]int{}
	for _, list := range [][]fact{a.facts, a.input} {
		for _, f := range list {
			in[message{f.device, f.seq}]++
		}
	}
	for _, m := range sortedMessages(l.entries) {
		e, n := l.entries[m], in[m]
		switch {
		case n == 0 && e.acked:
			v.LostMessages++
			v.find(&v.Lost, "message %d of %s was acknowledged and is not in the log", m.seq, m.sender)
		case n > e.sent:
			v.DoubledMessages++
			v.find(&v.Doubled, "message %d of %s was sent %d times and is %d times in the log", m.seq, m.sender, e.sent, n)
		}
		delete(in, m)
	}
	for m := range in {
		v.find(&v.Wrong, "message %d of %s is in the log and was never sent", m.seq, m.sender)
	}
}

func sortedMessages[E any](m map[message]E) []message {
	return slices.SortedFunc(maps.Keys(m), func(a, b message) int {
		if a.sender != b.sender {
			return bytes.Compare([]byte(a.sender), []byte(b.sender))
		}
		return int(a.seq - b.seq)
	})
}

// judgeRows compares the committed rows with the model's. Windows that end
// after until may be open and must not have a row yet.
func (v *Verdict) judgeRows(a *account, until time.Time) {
	for i := range queries {
		q := &queries[i]
		facts := a.facts
		if q.topic {
			facts = a.input
		}
		rows := a.rows[q.name]
		v.Rows += len(rows)
		seen := map[group]string{}
		for _, r := range rows {
			if first := seen[r.group]; first != "" {
				v.find(&v.Doubled, "%s: the window to %s of %s has a row at %s and one at %s", q.name, stamp(r.end), r.device, first, r.at)
			}
			seen[r.group] = r.at
		}
		if q.arrival {
			v.judgeTotals(q, facts, rows)
			continue
		}
		want := q.expect(facts, until)
		for _, r := range rows {
			w, ok := want[r.group]
			switch {
			case seen[r.group] != r.at: // doubled
			case !ok:
				v.find(&v.Wrong, "%s: the window to %s of %s has a row at %s and should have none: %+v", q.name, stamp(r.end), r.device, r.at, r.row)
			case w != r.row:
				v.find(&v.Wrong, "%s: the window to %s of %s has %+v at %s, should have %+v", q.name, stamp(r.end), r.device, r.row, r.at, w)
			}
		}
		for g := range want {
			if seen[g] == "" {
				v.find(&v.Lost, "%s: the window to %s of %s has no row, should have %+v", q.name, stamp(g.end), g.device, want[g])
			}
		}
	}
	for _, r := range a.refused {
		v.find(&v.Wrong, "a record was refused: %s", r)
	}
}

// judgeTotals checks windows of arrival time: each record counts in exactly one
// of them, and which one is for the log's and the idle clock to say.
func (v *Verdict) judgeTotals(q *query, facts []fact, rows []result) {
	got := map[string]row{}
	for _, r := range rows {
		sum, ok := got[r.device]
		if !ok {
			sum = row{lo: r.lo, hi: r.hi}
		}
		got[r.device] = row{sum.n + r.n, sum.s + r.s, min(sum.lo, r.lo), max(sum.hi, r.hi)}
	}
	for id, w := range total(facts) {
		switch g := got[id]; {
		case g.n < w.n:
			v.find(&v.Lost, "%s: the rows of %s count %d records of %d", q.name, id, g.n, w.n)
		case g.n > w.n:
			v.find(&v.Doubled, "%s: the rows of %s count %d records of %d", q.name, id, g.n, w.n)
		case g != w:
			v.find(&v.Wrong, "%s: the rows of %s add up to %+v, should be %+v", q.name, id, g, w)
		}
	}
}

// judgeTwins checks that every patch in the log moved its twin by one version,
// that answers named the version of their patch, and that twins hold the merge
// of all patches. views are the twins as the node shows them.
func (v *Verdict) judgeTwins(l *ledger, a *account, views map[string]json.RawMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	applied := map[message]int{}
	for id, list := range a.patches {
		v.Patches += len(list)
		for _, p := range list {
			applied[message{id, p.n}]++
		}
	}
	for _, m := range sortedMessages(l.patches) {
		p, n := l.patches[m], applied[m]
		if n > p.sent {
			v.find(&v.Doubled, "patch %d of %s was sent %d times and is %d times in the log", m.seq, m.sender, p.sent, n)
		}
		if !p.acked {
			continue
		}
		// Versions count from 1, before the first patch.
		at, list := p.version-2, a.patches[m.sender]
		switch {
		case n == 0:
			v.find(&v.Lost, "patch %d of %s was acknowledged and is not in the log", m.seq, m.sender)
		case at < 0 || at >= int64(len(list)) || list[at].n != m.seq:
			v.find(&v.Wrong, "patch %d of %s was answered with version %d, which is not its own", m.seq, m.sender, p.version)
		}
	}
	for id, list := range a.patches {
		want := map[string]any{}
		for _, p := range list {
			var patch map[string]any
			if err := json.Unmarshal(p.body, &patch); err != nil {
				v.find(&v.Wrong, "patch %s of %s: %v", p.body, id, err)
				continue
			}
			for k, x := range patch {
				if x == nil {
					delete(want, k)
				} else {
					want[k] = x
				}
			}
		}
		for where, raw := range map[string]json.RawMessage{"the node": views[id], "the twins topic": a.twins[id]} {
			if problem := judgeTwin(raw, want, len(list)+1); problem != "" {
				v.find(&v.Wrong, "twin of %s in %s: %s", id, where, problem)
			}
		}
	}
}

func judgeTwin(raw json.RawMessage, want map[string]any, version int) string {
	var twin struct {
		Properties struct{ Reported map[string]any }
	}
	if err := json.Unmarshal(raw, &twin); err != nil {
		return err.Error()
	}
	got := twin.Properties.Reported
	if v, _ := got["$version"].(float64); int(v) != version {
		return fmt.Sprintf("reported version %v, should be %d", got["$version"], version)
	}
	delete(got, "$version")
	delete(got, "$metadata")
	if !reflect.DeepEqual(got, want) {
		return fmt.Sprintf("reported %v, should be %v", got, want)
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
