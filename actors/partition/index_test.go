package partition

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

var indexRounds = flag.Int("index-rounds", 250, "rounds of the random test of indexes")

// rows answers a query by the given way in slices, as keys.
func (f *fleet) rows(q *query.Query, limit int, find bool) (keys []string, plan query.Plan) {
	f.t.Helper()
	for after, more := "", true; more; {
		before := after
		visit := func(r *Row) error {
			if q.Match(r.Source()) {
				keys = append(keys, r.Ref.Key())
			}
			return nil
		}
		var err error
		if find {
			var used query.Access
			after, more, used, err = f.core.Find(q.Reach(), after, q.From == query.Modules, limit, visit)
			plan.Add(used)
		} else {
			after, more, err = f.core.Scan(after, q.From == query.Modules, limit, visit)
		}
		if err != nil {
			f.t.Fatalf("%s: %v", q, err)
		}
		if more && after <= before {
			f.t.Fatalf("%s: a slice goes from %q to %q", q, before, after)
		}
	}
	return keys, plan
}

// indexed gives the core indexes that are whole and saved.
func (f *fleet) indexed(paths ...string) {
	f.t.Helper()
	if err := f.core.SetIndexes(paths); err != nil {
		f.t.Fatal(err)
	}
	f.build()
}

func (f *fleet) build() {
	f.t.Helper()
	for f.core.indexes.urgent() || slices.ContainsFunc(f.core.Indexes(), func(s IndexState) bool { return !s.Ready }) {
		for more := true; more; {
			var err error
			if more, err = f.core.BuildIndexes(3); err != nil {
				f.t.Fatal(err)
			}
		}
		f.flush()
	}
}

// entriesAgree compares all stored entries of whole indexes with the documents.
func (f *fleet) entriesAgree() {
	f.t.Helper()
	want := map[string]bool{}
	for k, v := range f.store {
		if !strings.HasPrefix(k, "\x00\x01d") {
			continue
		}
		for _, i := range f.core.indexes.list {
			if !i.covers(k[3:]) {
				continue
			}
			if err := f.core.indexes.entries(i, newRow(), k[3:], v, func(e []byte) { want[string(append(i.prefix(), e...))] = true }); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	got := 0
	dropped := func(k string) bool { // the next Save removes it
		return slices.ContainsFunc(f.core.indexes.dropped, func(d []byte) bool { return k[3:3+indexIDLen] == string(d[3:]) })
	}
	for k := range f.store {
		if strings.HasPrefix(k, "\x00\x01v") && !dropped(k) {
			if got++; !want[k] {
				f.t.Fatalf("entry %q is of no document", k)
			}
		}
	}
	for _, i := range f.core.indexes.list {
		for _, e := range i.pending {
			if e := string(i.prefix()) + e; !want[e] {
				f.t.Fatalf("pending entry %q is of no document", e)
			}
			got++
		}
	}
	if got != len(want) {
		f.t.Fatalf("%d entries, want %d", got, len(want))
	}
}

var indexedPaths = []string{"tags.a", "tags.b", "properties.reported.a", "status", "connectionState", "cloudToDeviceMessageCount"}

func randomValue(r *rand.Rand) string {
	return []string{"1", "2.5", "-1", "0", "-0", "true", "false", `"x"`, `"xy"`, `""`, `"2026-01-02"`, `"2026-01-02T00:00:00Z"`, `"2026-01-03"`, `"2026-x"`, `{"c":1}`, `["x"]`, `"` + strings.Repeat("l", 130+r.IntN(2)) + `"`}[r.IntN(17)]
}

func randomCondition(r *rand.Rand, depth int) string {
	if depth > 0 && r.IntN(2) == 0 {
		return "(" + randomCondition(r, depth-1) + []string{" AND ", " OR "}[r.IntN(2)] + randomCondition(r, depth-1) + ")"
	}
	if r.IntN(6) == 0 {
		return []string{"deviceId = 'd03'", "deviceId IN ['d01','d02','d11','none']", "STARTSWITH(deviceId, 'd1')", "moduleId = 'm'", "NOT tags.a = 1", "tags.a != 1"}[r.IntN(6)]
	}
	p := indexedPaths[r.IntN(len(indexedPaths))]
	value := func() string {
		v := strings.ReplaceAll(randomValue(r), `"`, "'")
		if v[0] == '{' || v[0] == '[' {
			return []string{"null", "undefined", "'enabled'", "'Connected'"}[r.IntN(4)]
		}
		return v
	}
	switch r.IntN(5) {
	case 0:
		return p + " IN [" + value() + "," + value() + "]"
	case 1:
		return "STARTSWITH(" + p + ",'" + []string{"x", "", "2026", "l"}[r.IntN(4)] + "')"
	}
	return p + []string{" = ", " < ", " <= ", " > ", " >= "}[r.IntN(5)] + value()
}

// Whatever is changed, saved, lost, indexed or no longer so, a search answers what
// passing all rows does, in the same order.
func TestSearchesAnswerWhatAScanDoes(t *testing.T) {
	fl := newFleet(t)
	r := rand.New(rand.NewPCG(3, 9))
	position := int64(0)
	by := map[string]int{}
	for round := range *indexRounds {
		for range 1 + r.IntN(6) {
			id := fmt.Sprintf("d%02d", r.IntN(30))
			switch r.IntN(9) {
			case 0:
				fl.apply(device.KindDelete, id, "")
			case 1:
				fl.apply(device.KindIdentity, id, change(t, id, "", device.Status(r.IntN(2))))
			case 2:
				fl.module(device.KindIdentity, id, "m", moduleChange(t, id, "m", ""))
			case 3:
				fl.module(device.KindTwin, id, "m", fmt.Sprintf(`{"tags":{"a":%s}}`, randomValue(r)))
			case 4:
				fl.apply(device.KindConnected, id, "", device.HeaderSession, "s")
			case 5:
				fl.apply(device.KindReported, id, fmt.Sprintf(`{"a":%s}`, randomValue(r)))
			case 6:
				fl.apply(device.KindTwin, id, `{"tags":{"b":null}}`)
			default:
				fl.apply(device.KindTwin, id, fmt.Sprintf(`{"tags":{"a":%s,"b":%s}}`, randomValue(r), randomValue(r)))
			}
		}
		switch r.IntN(12) {
		case 0:
			var paths []string
			for _, p := range indexedPaths {
				if r.IntN(2) == 0 {
					paths = append(paths, p)
				}
			}
			if err := fl.core.SetIndexes(paths); err != nil {
				t.Fatal(err)
			}
		case 1, 2:
			fl.flush()
			position = fl.core.Position()
		case 3: // what was not saved is read from the log again
			fl.commit()
			fl.open(position)
			fl.core.Suppress(true)
			for _, rec := range fl.log[position:] {
				fl.feed(rec)
			}
			fl.core.Suppress(false)
		case 4:
			fl.build()
			fl.flush()
			position = fl.core.Position()
		default:
			if _, err := fl.core.BuildIndexes(1 + r.IntN(9)); err != nil {
				t.Fatal(err)
			}
		}
		fl.entriesAgree()
		for range 8 {
			from := []string{"devices", "devices.modules"}[r.IntN(5)/4]
			q, err := query.Parse("SELECT * FROM " + from + " WHERE " + randomCondition(r, 2))
			if err != nil {
				t.Fatal(err)
			}
			want, _ := fl.rows(q, 1000, false)
			got, plan := fl.rows(q, []int{1, 2, 1000}[r.IntN(3)], true)
			if !slices.Equal(got, want) {
				t.Fatalf("round %d: %s by %+v\n got %q\nwant %q", round, q, plan, got, want)
			}
			for _, a := range plan.Access {
				by[a.By]++
			}
		}
	}
	if by[query.ByIndex] < *indexRounds || by[query.ByID] == 0 || by[query.ByScan] == 0 {
		t.Errorf("ways taken: %v: the test says little", by)
	}
}

func TestIndexIsNotUsedBeforeItIsSavedWhole(t *testing.T) {
	fl := newFleet(t)
	for i := range 10 {
		id := fmt.Sprintf("d%d", i)
		fl.apply(device.KindIdentity, id, change(t, id, "", 0))
		fl.apply(device.KindTwin, id, fmt.Sprintf(`{"tags":{"a":%d}}`, i%2))
	}
	fl.flush()
	q, err := query.Parse("SELECT * FROM devices WHERE tags.a = 1")
	if err != nil {
		t.Fatal(err)
	}
	way := func() string {
		rows, plan := fl.rows(q, 100, true)
		if len(rows) != 5 {
			t.Fatalf("%d rows", len(rows))
		}
		return fmt.Sprint(plan.Access[0].By, plan.Access[0].Rows)
	}
	if err := fl.core.SetIndexes([]string{"tags.a"}); err != nil {
		t.Fatal(err)
	}
	for step, want := range []string{"scan10", "scan10", "scan10"} {
		if got := way(); got != want {
			t.Errorf("step %d: %s, want %s", step, got, want)
		}
		if _, err := fl.core.BuildIndexes(6); err != nil {
			t.Fatal(err)
		}
		if step == 0 { // a crash in the middle: what was saved of it is gone on with
			fl.flush()
			fl.open(fl.core.Position())
			if s := fl.core.Indexes(); len(s) != 1 || s[0].Ready || s[0].Built != "d5" {
				t.Errorf("after a restart in the middle: %+v", s)
			}
		}
	}
	if !fl.core.indexes.urgent() || fl.core.Unsaved() < 1<<40 {
		t.Error("a built index does not ask to be saved")
	}
	fl.flush()
	if got := way(); got != "index5" {
		t.Errorf("when it is whole: %s", got)
	}
	fl.open(fl.core.Position())
	if got := way(); got != "index5" {
		t.Errorf("after a restart: %s", got)
	}
	// An index of another format is built again.
	x := fl.core.indexes.list[0]
	fl.store[string(x.key())][0]++
	fl.open(fl.core.Position())
	if got := way(); got != "scan10" || len(fl.core.Indexes()) != 0 {
		t.Errorf("with another format: %s %+v", got, fl.core.Indexes())
	}
	fl.indexed("tags.a")
	fl.entriesAgree()
	if got := way(); got != "index5" {
		t.Errorf("built again: %s", got)
	}
	fl.indexed()
	for k := range fl.store {
		if k[2] == 'v' || k[2] == 'p' {
			t.Errorf("a dropped index leaves %q", k)
		}
	}
}

func TestConjunctionTakesTheNarrowestIndex(t *testing.T) {
	fl := newFleet(t)
	for i := range 40 {
		id := fmt.Sprintf("d%02d", i)
		fl.apply(device.KindIdentity, id, change(t, id, "", 0))
		fl.apply(device.KindTwin, id, fmt.Sprintf(`{"tags":{"wide":%d,"narrow":%d}}`, i%2, i%10))
	}
	fl.flush()
	fl.indexed("tags.wide", "tags.narrow")
	for i := range 5 { // changed since
		fl.apply(device.KindTwin, fmt.Sprintf("d%02d", i), `{"tags":{"narrow":3}}`)
	}
	for _, c := range []struct {
		where, by string
		read      int
	}{
		{"tags.wide = 1 AND tags.narrow = 3", "index[tags.narrow]", 8},
		{"tags.narrow = 3 AND tags.wide = 1", "index[tags.narrow]", 8},
		{"tags.narrow > 7 AND tags.none = 1", "index[tags.narrow]", 8},
		{"tags.narrow >= 7 AND tags.narrow < 8 AND tags.wide = 1", "index[tags.narrow]", 4},
		{"tags.narrow = 9 OR tags.wide = 5", "index[tags.narrow tags.wide]", 4},
		{"tags.narrow = 9 OR tags.none = 5", "scan[]", 40},
		{"tags.narrow = 9 AND deviceId = 'd09'", "id[]", 1},
		{"tags.narrow = 9 OR deviceId = 'd01'", "index[tags.narrow]", 5},
		{"tags.narrow = undefined", "id[]", 0},
		{"STARTSWITH(deviceId, 'd1') AND NOT tags.wide = 1", "id[]", 10},
	} {
		q, err := query.Parse("SELECT * FROM devices WHERE " + c.where)
		if err != nil {
			t.Fatal(err)
		}
		got, plan := fl.rows(q, 1000, true)
		want, _ := fl.rows(q, 1000, false)
		a := plan.Access[0]
		if by := a.By + fmt.Sprint(a.Indexes); by != c.by || a.Rows != c.read || !slices.Equal(got, want) {
			t.Errorf("%s: %s, %d rows read, want %s, %d; %q, want %q", c.where, by, a.Rows, c.by, c.read, got, want)
		}
	}
}
