package actors_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

var takeover = flag.Bool("takeover", false, "let a second node take the partitions of a live query and give them back")

// reader keeps the answer of a live query as its client does: added and changed
// put a row, removed takes it away.
type reader struct {
	h        *harness
	q        *query.Query
	live     *actors.LiveQuery
	rows     map[string]string
	seen     map[string]int64 // position of each row's newest event
	position string
	ready    bool
	kinds    map[query.EventKind]int
	cut      string
}

func (h *harness) follow(text, after string) *reader {
	h.t.Helper()
	q, err := query.Parse(text)
	if err != nil {
		h.t.Fatal(err)
	}
	r := &reader{h: h, q: q, rows: map[string]string{}, seen: map[string]int64{}}
	r.again(after)
	return r
}

// again follows once more, from a position on.
func (r *reader) again(after string) {
	r.h.t.Helper()
	positions, err := device.ParsePositions(after)
	if err != nil {
		r.h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.h.t.Context(), time.Minute)
	defer cancel()
	if r.live, err = r.h.node.Follow(ctx, r.q, positions); err != nil {
		r.h.t.Fatal(err)
	}
	r.ready, r.cut, r.kinds = false, "", map[query.EventKind]int{}
}

// take applies what waits.
func (r *reader) take() (open bool) {
	r.h.t.Helper()
	events, position, open := r.live.Take()
	for i := range events {
		e := &events[i]
		r.kinds[e.Kind]++
		ref := e.Ref.String()
		switch e.Kind {
		case query.Added, query.Changed:
			r.rows[ref] = string(e.Row)
		case query.Removed:
			delete(r.rows, ref)
		case query.Reset:
			clear(r.rows)
			clear(r.seen)
		case query.Ready:
			r.ready = true
		case query.Cut:
			r.cut = e.Reason
		}
		if e.Kind <= query.Removed {
			if e.Position.Next < r.seen[ref] {
				r.h.t.Errorf("%s of %s at %d comes after one at %d", e.Kind, ref, e.Position.Next, r.seen[ref])
			}
			r.seen[ref] = e.Position.Next
		}
	}
	if position != "" {
		r.position = position
	}
	return open
}

// until takes events until a condition holds.
func (r *reader) until(what string, ok func() bool) {
	r.h.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		open := r.take()
		if ok() {
			return
		}
		if !open && r.cut == actors.CutMissed {
			r.live.Close()
			r.again(r.position)
			continue
		}
		if !open {
			r.h.t.Fatalf("cut (%s) before %s", r.cut, what)
		}
		select {
		case <-r.live.Ready():
		case <-deadline.C:
			r.h.t.Fatalf("%s did not happen; %d rows, events %v, hosts: %+v", what, len(r.rows), r.kinds, r.h.node.Statuses())
		}
	}
}

// same waits until the reader's rows are those that the query answers.
func (r *reader) same() {
	r.h.t.Helper()
	all := &query.Query{From: r.q.From, Where: r.q.Where, Items: r.q.Items}
	want := map[string]string{}
	for from := (query.Cursor{}); ; {
		page, err := r.h.node.Query(r.h.t.Context(), all, from, 1000)
		if err != nil {
			r.h.t.Fatal(err)
		}
		for _, row := range page.Rows {
			want[refInRow(r.h.t, string(row))] = string(row)
		}
		if page.Next == nil {
			break
		}
		from = *page.Next
	}
	r.until(fmt.Sprintf("the answer of %d rows", len(want)), func() bool { return r.ready && maps.Equal(r.rows, want) })
}

// refInRow reads deviceId and moduleId from a row's JSON.
func refInRow(t *testing.T, row string) string {
	t.Helper()
	text := func(name string) string {
		_, rest, ok := strings.Cut(row, `"`+name+`":"`)
		if !ok {
			return ""
		}
		v, _, _ := strings.Cut(rest, `"`)
		return v
	}
	return device.Ref{Device: text("deviceId"), Module: text("moduleId")}.String()
}

func TestLiveQueryTellsWhatComesChangesAndGoes(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	for n := range 20 {
		h.put(n)
	}
	r := h.follow("SELECT deviceId, tags.n FROM devices WHERE tags.site = 'a'", "")
	defer func() { r.live.Close() }()
	r.same()
	if r.kinds[query.Added] != 10 || r.kinds[query.Ready] != 1 || len(r.kinds) != 2 || r.position == "" {
		t.Fatalf("the present answer came as %v, position %q", r.kinds, r.position)
	}
	for _, c := range []struct {
		what string
		do   func()
		want query.EventKind
		ref  string
	}{
		{"a row that comes into the condition", func() { h.tag("d001", `{"site":"a"}`) }, query.Added, "d001"},
		{"a row that changes", func() { h.tag("d002", `{"n":1002}`) }, query.Changed, "d002"},
		{"a row that leaves the condition", func() { h.tag("d004", `{"site":"b"}`) }, query.Removed, "d004"},
		{"a device that is deleted", func() {
			if err := h.node.DeleteIdentity(t.Context(), device.Ref{Device: "d006"}, "*", device.Audit{}); err != nil {
				t.Fatal(err)
			}
		}, query.Removed, "d006"},
	} {
		before := maps.Clone(r.rows)
		r.kinds = map[query.EventKind]int{}
		c.do()
		r.until(c.what, func() bool { return r.kinds[c.want] == 1 })
		if len(r.kinds) != 1 || before[c.ref] == r.rows[c.ref] {
			t.Errorf("%s came as %v, row %s", c.what, r.kinds, r.rows[c.ref])
		}
	}
	// A change outside the columns is none of the row; the next event shows that
	// it was passed over.
	r.kinds = map[query.EventKind]int{}
	h.tag("d008", `{"other":1}`)
	h.tag("d008", `{"n":1008}`)
	r.until("the change of a column", func() bool { return strings.Contains(r.rows["d008"], "1008") })
	if r.kinds[query.Changed] != 1 {
		t.Errorf("a change of no column was told of: %v", r.kinds)
	}
	r.same()
}

// Whatever comes and goes, whether the node stops or is fenced in the middle, the
// reader's rows become those of the query, and no row goes back in time.
func TestLiveQueryKeepsUpWithRandomChangesAndRestarts(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := newHarness(t)
			// The second run misses changes all the time.
			limits := actors.LiveOptions{Pending: []int{0, 1, 3}[seed]}
			start := func() { h.startWith(func(o *actors.Options) { o.Live = limits }) }
			start()
			defer func() { h.stop() }()
			h.ready()
			g := rand.New(rand.NewPCG(seed, 3))
			for n := range 30 {
				h.put(n)
			}
			readers := []*reader{
				h.follow("SELECT * FROM devices WHERE tags.n < 500", ""),
				h.follow("SELECT deviceId, tags.n FROM devices WHERE tags.site = 'a' OR NOT IS_DEFINED(tags.n)", ""),
				h.follow("SELECT deviceId, moduleId, tags FROM devices.modules WHERE tags.n > 3", ""),
			}
			for round := range 12 {
				for range 10 {
					h.randomChange(g)
				}
				switch round {
				case 4: // politely; readers resume
					h.stop()
					for _, r := range readers {
						r.until("the cut", func() bool { return r.cut == actors.CutStopping })
					}
					start()
					h.ready()
					for range 5 {
						h.randomChange(g)
					}
					for _, r := range readers {
						r.again(r.position)
					}
				case 8: // a reader that goes and comes back
					for _, r := range readers {
						r.take()
						r.live.Close()
					}
					for range 5 {
						h.randomChange(g)
					}
					for _, r := range readers {
						r.again(r.position)
					}
				}
			}
			for _, r := range readers {
				r.same()
				r.live.Close()
			}
		})
	}
}

func (h *harness) randomChange(g *rand.Rand) {
	h.t.Helper()
	n := g.IntN(40)
	ref := device.Ref{Device: fmt.Sprintf("d%03d", n)}
	_, err := h.node.Twin(h.t.Context(), ref)
	switch {
	case errors.Is(err, device.ErrNotFound):
		h.put(n)
	case err != nil:
		h.t.Fatal(err)
	case g.IntN(8) == 0:
		if err := h.node.DeleteIdentity(h.t.Context(), ref, "*", device.Audit{}); err != nil {
			h.t.Fatal(err)
		}
	case g.IntN(3) == 0:
		ref.Module = fmt.Sprintf("m%d", g.IntN(3))
		_, err := h.node.Twin(h.t.Context(), ref)
		switch {
		case errors.Is(err, device.ErrModuleNotFound):
			h.module(ref, fmt.Sprintf(`{"n":%d}`, g.IntN(10)))
		case err != nil:
			h.t.Fatal(err)
		case g.IntN(2) == 0:
			if err := h.node.DeleteIdentity(h.t.Context(), ref, "*", device.Audit{}); err != nil {
				h.t.Fatal(err)
			}
		default:
			c := device.TwinChange{DeviceID: ref.Device, ModuleID: ref.Module, Body: fmt.Appendf(nil, `{"tags":{"n":%d}}`, g.IntN(10))}
			if _, err := h.node.PatchTwin(h.t.Context(), c); err != nil {
				h.t.Fatal(err)
			}
		}
	default:
		h.tag(ref.Device, []string{`{"site":"a"}`, `{"site":"b"}`, `{"n":null}`, `{"n":700}`, `{"n":7}`, `{"other":1}`}[g.IntN(6)])
	}
}

// Another node that takes the partitions over may change twins that this one
// never sees; when it has them back the reader gets the difference.
func TestLiveQuerySurvivesThatPartitionsGoAndComeBack(t *testing.T) {
	if !*takeover {
		t.Skip("a fenced node waits up to 20 s before it takes over again; ask for it with -takeover")
	}
	h := newHarness(t)
	h.startWith(func(o *actors.Options) { o.Heartbeat = 50 * time.Millisecond })
	h.ready()
	for n := range 20 {
		h.put(n)
	}
	first := h.node
	r := h.follow("SELECT deviceId, tags FROM devices WHERE tags.site = 'a'", "")
	r.same()
	// The second node fences the first, works, and goes away.
	second := &harness{t: t, dir: t.TempDir(), log: h.log}
	n, err := actors.Start(t.Context(), actors.Options{
		Log: h.log, Cluster: joinCluster, Hub: "hub", Data: second.dir, Partitions: 2, Node: "second",
		CommitEvery: 20 * time.Millisecond, IdleTick: 20 * time.Millisecond, Heartbeat: 50 * time.Millisecond,
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	second.node = n
	second.eventually("the takeover", func() bool { _, err := n.Statistics(t.Context()); return err == nil })
	second.tag("d001", `{"site":"a"}`)
	second.tag("d002", `{"site":"b"}`)
	second.tag("d004", `{"n":1004}`)
	if err := second.node.DeleteIdentity(t.Context(), device.Ref{Device: "d006"}, "*", device.Audit{}); err != nil {
		t.Fatal(err)
	}
	second.stop()
	h.node = first
	for deadline := time.Now().Add(2 * time.Minute); ; <-time.After(100 * time.Millisecond) {
		if _, err := first.Statistics(t.Context()); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the first node did not take over: %+v", first.Statuses())
		}
	}
	r.kinds = map[query.EventKind]int{}
	h.tag("d008", `{"n":1008}`)
	r.same()
	if r.kinds[query.Reset] != 0 || r.cut != "" {
		t.Errorf("the difference came as %v, cut %q", r.kinds, r.cut)
	}
	r.live.Close()
	h.stop()
}

func TestLiveQueryResumesWithWhatHasChangedAlone(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	for n := range 40 {
		h.put(n)
	}
	r := h.follow("SELECT deviceId, tags.n FROM devices WHERE tags.site = 'a'", "")
	defer func() { r.live.Close() }()
	r.same()
	r.live.Close()
	h.tag("d000", `{"n":1000}`)
	h.tag("d001", `{"site":"a"}`)
	h.tag("d002", `{"site":"b"}`)
	h.stop()
	h.start()
	h.ready()
	h.tag("d004", `{"n":1004}`)
	r.again(r.position)
	r.same()
	if want := (map[query.EventKind]int{query.Added: 3, query.Removed: 1, query.Ready: 1}); !maps.Equal(r.kinds, want) {
		t.Errorf("resumed with %v, want %v", r.kinds, want)
	}
	before := r.position
	c, err := device.ParseConfiguration("c1", []byte(`{"targetCondition":"tags.site = 'a'","content":{"deviceContent":{"properties.desired.x":1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.node.PutConfiguration(t.Context(), c, "", device.Audit{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("the configuration's use", func() bool {
		doc, err := h.node.Twin(t.Context(), device.Ref{Device: "d000"})
		return err == nil && doc.Configurations != ""
	})
	for what, after := range map[string]string{
		"a partition is missing":                    strings.Split(r.position, ",")[0],
		"beyond the log":                            "0:99999999,1:99999999",
		"a configuration changed no one knows whom": before,
	} {
		r.live.Close()
		r.again(after)
		r.same()
		if r.kinds[query.Reset] != 1 || r.kinds[query.Added] != len(r.rows) {
			t.Errorf("%s: %v", what, r.kinds)
		}
	}
}

// A reader that does not take its events is cut, and can resume where it was.
func TestSlowReaderOfALiveQueryIsCut(t *testing.T) {
	h := newHarness(t)
	h.startWith(func(o *actors.Options) { o.Live = actors.LiveOptions{QueueBytes: 4 << 10} })
	defer func() { h.stop() }()
	h.ready()
	for n := range 10 {
		h.put(n)
	}
	r := h.follow("SELECT deviceId, tags FROM devices", "")
	defer func() { r.live.Close() }()
	r.same()
	kept := r.position
	// The slow one takes nothing; another one that does shows when it is over.
	other := h.follow("SELECT deviceId, tags FROM devices", "")
	for i := range 100 {
		h.tag(fmt.Sprintf("d%03d", i%10), fmt.Sprintf(`{"n":%d}`, i))
		other.take()
	}
	other.same()
	other.live.Close()
	r.until("the cut", func() bool { return r.cut != "" })
	if r.cut != actors.CutSlow || r.kinds[query.Cut] != 1 {
		t.Fatalf("cut for %q after %v", r.cut, r.kinds)
	}
	if r.position == kept {
		t.Error("what was queued before the cut moves no position")
	}
	r.live.Close()
	r.again(r.position)
	r.same()
	if r.kinds[query.Reset] != 0 {
		t.Errorf("resumed with %v", r.kinds)
	}
}

// The first answer is read at the reader's pace, however large it is.
func TestFirstAnswerOfALiveQueryWaitsForItsReader(t *testing.T) {
	h := newHarness(t)
	h.startWith(func(o *actors.Options) { o.Live = actors.LiveOptions{QueueBytes: 2 << 10} })
	defer func() { h.stop() }()
	h.ready()
	for n := range 120 {
		h.put(n)
	}
	r := h.follow("SELECT * FROM devices", "")
	defer func() { r.live.Close() }()
	r.same()
	if r.kinds[query.Added] < 120 {
		t.Errorf("%v", r.kinds)
	}
}

func TestLiveQueriesAreBounded(t *testing.T) {
	h := newHarness(t)
	h.startWith(func(o *actors.Options) { o.Live = actors.LiveOptions{Queries: 2, Rows: 15} })
	defer func() { h.stop() }()
	h.ready()
	for n := range 10 {
		h.put(n)
	}
	a := h.follow("SELECT deviceId FROM devices", "")
	a.same()
	b := h.follow("SELECT deviceId FROM devices", "")
	b.until("the cut", func() bool { return b.cut == actors.CutRows })
	q, err := query.Parse("SELECT deviceId FROM devices")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.node.Follow(t.Context(), q, nil); !errors.Is(err, actors.ErrBusy) {
		t.Errorf("a third live query: %v", err)
	}
	b.live.Close()
	a.live.Close()
	// What they held is given back.
	h.eventually("the rows of the first to be given back", func() bool {
		c := h.follow("SELECT deviceId FROM devices", "")
		defer c.live.Close()
		c.until("an end", func() bool { return c.ready || c.cut != "" })
		return c.ready
	})
	h.stop()
	if _, err := h.node.Follow(t.Context(), q, nil); !errors.Is(err, actors.ErrUnavailable) {
		t.Errorf("after the end: %v", err)
	}
	h.start()
}

func TestOnlyRowsCanBeFollowed(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	for _, text := range []string{
		"SELECT COUNT() AS n FROM devices", "SELECT tags.site, COUNT() AS n FROM devices GROUP BY tags.site",
		"SELECT TOP 3 * FROM devices", "SELECT * FROM devices.jobs",
	} {
		q, err := query.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.node.Follow(t.Context(), q, nil); !errors.Is(err, device.ErrArgument) {
			t.Errorf("%s: %v", text, err)
		}
	}
	q, err := query.Parse("SELECT * FROM devices")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.node.Follow(t.Context(), q, []device.LogPosition{{Partition: 9}}); !errors.Is(err, device.ErrArgument) {
		t.Errorf("a partition that is not there: %v", err)
	}
}
