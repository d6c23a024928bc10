package partition

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/windows"
)

// model is the semantics written down again, without slices, operators or
// anything else of the engine: it keeps every record and looks at every window.
type model struct {
	late, disorder, early windows.Tick
	size, hop             windows.Tick
	keyed                 bool
	accept                bool // else adjust
	grace                 windows.Tick

	arrival windows.Tick
	newest  map[string]windows.Tick // M by timeline
	mark    map[string]windows.Tick // W by timeline
	floor   windows.Tick
	closed  map[string]windows.Tick // up to where windows were closed, of all and by device
	records []modelRecord
	shown   map[string]int // revision shown last, from 1, by window and device
	dirty   map[string]windows.Tick
	rows    []string
}

type modelRecord struct {
	device string
	ts     windows.Tick
	v      any // a number, or what only counts
}

func newModel() *model {
	return &model{
		arrival: windows.Unset, floor: windows.Unset,
		newest: map[string]windows.Tick{}, closed: map[string]windows.Tick{}, mark: map[string]windows.Tick{}, shown: map[string]int{}, dirty: map[string]windows.Tick{},
	}
}

func (m *model) watermark(timeline string) windows.Tick {
	w, ok := m.mark[timeline]
	if !ok {
		return m.floor
	}
	return max(w, m.floor)
}

func (m *model) timeline(device string) string {
	if m.keyed {
		return device
	}
	return ""
}

// advance moves the arrival clock; crossing a multiple of 500 ms shows what is
// dirty first.
func (m *model) advance(a windows.Tick) {
	const grid = windows.Second / 2
	if m.arrival != windows.Unset && a/grid > m.arrival/grid {
		m.revise(func(string, windows.Tick) bool { return true })
	}
	m.arrival = max(m.arrival, a)
	m.floor = m.arrival - m.late
}

// revise shows the dirty rows that are selected, by end, then by device.
func (m *model) revise(selected func(device string, end windows.Tick) bool) {
	type row struct {
		end    windows.Tick
		device string
	}
	var due []row
	for id, end := range m.dirty {
		if device := strings.SplitN(id, "@", 2)[0]; selected(device, end) {
			due = append(due, row{end, device})
		}
	}
	slices.SortFunc(due, func(a, b row) int {
		if a.end != b.end {
			return int(a.end/windows.Millisecond - b.end/windows.Millisecond)
		}
		return strings.Compare(a.device, b.device)
	})
	for _, r := range due {
		delete(m.dirty, fmt.Sprintf("%s@%d", r.device, r.end))
		m.show(r.device, r.end)
	}
}

func (m *model) show(device string, end windows.Tick) {
	id := fmt.Sprintf("%s@%d", device, end)
	n, sum, text := 0, 0.0, "null"
	for _, r := range m.records {
		if r.device == device && r.ts > end-m.size && r.ts <= end {
			n++
			if v, ok := r.v.(float64); ok {
				sum += v
				text = fmt.Sprint(sum)
			}
		}
	}
	rev := ""
	if m.shown[id] > 0 {
		rev = fmt.Sprintf(" kind=update rev=%d", m.shown[id])
	}
	m.shown[id]++
	m.rows = append(m.rows, fmt.Sprintf("o %q%s {\"deviceId\":%q,\"n\":%d,\"s\":%s,\"e\":%q}", device, rev, device, n, text, end))
}

// ends lists the windows that hold a time.
func (m *model) ends(ts windows.Tick) (ends []windows.Tick) {
	since := ts - windows.Origin
	first := windows.Origin + (since+m.hop-1)/m.hop*m.hop
	for e := first; e < ts+m.size; e += m.hop {
		ends = append(ends, e)
	}
	return ends
}

// apply takes a record with a usable payload.
func (m *model) apply(device string, event, a windows.Tick, v any) {
	m.advance(a)
	tl := m.timeline(device)
	if event <= a+m.early {
		ts := event
		w := m.watermark(tl)
		if !m.accept {
			ts = max(ts, a-m.late, w)
		}
		// Windows close after the record that moves the watermark.
		was := m.closedUpTo(device)
		in := false
		for _, e := range m.ends(ts) {
			if e+m.grace >= was || !m.accept {
				in = true
			}
		}
		if in {
			m.records = append(m.records, modelRecord{device, ts, v})
			for _, e := range m.ends(ts) {
				if e < was && e+m.grace >= was {
					m.dirty[fmt.Sprintf("%s@%d", device, e)] = e
				}
			}
		}
		if old, ok := m.newest[tl]; !ok || ts > old {
			m.newest[tl] = ts
		}
		m.mark[tl] = max(w, m.newest[tl]-m.disorder)
	}
	if m.keyed {
		m.close(device, m.watermark(tl))
	}
	m.close("", max(m.floor, m.watermark("")))
}

// close shows the windows that the watermark of a device, or of all, passed.
func (m *model) close(device string, w windows.Tick) {
	of := func(d string) bool { return device == "" || d == device }
	m.revise(func(d string, end windows.Tick) bool { return of(d) && end+m.grace < w })
	type row struct {
		end    windows.Tick
		device string
	}
	seen := map[row]bool{}
	var due []row
	for _, r := range m.records {
		for _, e := range m.ends(r.ts) {
			id := row{e, r.device}
			name := fmt.Sprintf("%s@%d", r.device, e)
			if _, isDirty := m.dirty[name]; of(r.device) && e < w && e >= m.closedUpTo(r.device) && !seen[id] && m.shown[name] == 0 && !isDirty {
				seen[id] = true
				due = append(due, id)
			}
		}
	}
	slices.SortFunc(due, func(a, b row) int {
		switch {
		case a.end < b.end:
			return -1
		case a.end > b.end:
			return 1
		}
		return strings.Compare(a.device, b.device)
	})
	for _, r := range due {
		m.show(r.device, r.end)
	}
	m.closed[device] = max(m.closed[device], w)
}

// closedUpTo is the instant before which a device's windows were closed. Zero
// will do for never.
func (m *model) closedUpTo(device string) windows.Tick {
	return max(m.closed[""], m.closed[device])
}

// The engine gives the rows of the model, in its order, for random streams of
// records; ticks come only in the engine's scenarios and crash tests.
func TestRowsAreThoseOfTheModel(t *testing.T) {
	for _, c := range []struct {
		name, query           string
		late, disorder, early windows.Tick
		size, hop, grace      windows.Tick
		keyed, accept         bool
	}{
		{"tumbling", "TumblingWindow(second, 10)", 5, 2, 20, 10, 10, 0, false, false},
		{"hopping", "HoppingWindow(second, 20, 5)", 3, 4, 20, 20, 5, 0, false, false},
		{"paired", "HoppingWindow(second, 10, 7)", 5, 0, 10, 10, 7, 0, false, false},
		{"sampling", "HoppingWindow(second, 3, 10)", 5, 2, 10, 3, 10, 0, false, false},
		{"keyed", "HoppingWindow(second, 10, 5)", 20, 1, 20, 10, 5, 0, true, false},
		{"grace", "HoppingWindow(second, 10, 5) GRACE Duration(second, 12)", 5, 1, 20, 10, 5, 12, false, true},
		{"graceKeyed", "TumblingWindow(second, 10) GRACE Duration(second, 12)", 15, 1, 20, 10, 10, 12, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(20) {
				r := rand.New(rand.NewPCG(seed, 3))
				over, action := "", ""
				if c.keyed {
					over = " OVER deviceId"
				}
				if c.accept {
					action = "accept"
				}
				def := Definition{
					Name: "p", Late: c.late * windows.Second, OutOfOrder: c.disorder * windows.Second, Early: c.early * windows.Second,
					OnLate: action, OnOutOfOrder: action, OnEarly: "drop",
					Query: "SELECT deviceId, COUNT(*) AS n, SUM(v) AS s, System.Timestamp() AS e INTO o FROM s TIMESTAMP BY t" + over + " GROUP BY deviceId, " + c.query,
				}
				g := newRig(t, PipelinesOptions{Source: "s", SinglePartition: true}, 0)
				g.plans([]Definition{def}, nil)
				m := newModel()
				m.late, m.disorder, m.early, m.size, m.hop = def.Late, def.OutOfOrder, def.Early, c.size*windows.Second, c.hop*windows.Second
				m.keyed, m.accept, m.grace = c.keyed, c.accept, c.grace*windows.Second
				for _, s := range stream(r, 250, [][]Definition{{def}}) {
					if s.record == nil {
						continue
					}
					g.apply(*s.record)
					var p struct {
						T time.Time
						V any
					}
					if err := json.Unmarshal(s.record.Value, &p); err != nil { // no payload or no time
						m.advance(s.record.Arrival)
						m.close("", max(m.floor, m.watermark("")))
						continue
					}
					m.apply(string(s.record.Key), windows.TickOf(p.T), s.record.Arrival, p.V)
				}
				g.commit()
				got := slices.DeleteFunc(g.rows, func(row string) bool { return !strings.HasPrefix(row, "o ") })
				compare(t, m.rows, got)
				if len(got) < 10 {
					t.Fatalf("only %d rows: the test tests nothing", len(got))
				}
			}
		})
	}
}
