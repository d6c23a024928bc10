package query

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// holds reports whether a row lies in a reach, by looking at the row alone.
func (r *Reach) holds(t *testing.T, w *Twin) bool {
	key := device.Ref{Device: w.Identity.DeviceID, Module: w.ModuleID}.Key()
	in := func(spans []Span, s string) bool {
		return slices.ContainsFunc(spans, func(x Span) bool { return x.Lo <= s && s < x.Hi })
	}
	switch {
	case r == nil:
		return true
	case r.All != nil:
		return !slices.ContainsFunc(r.All, func(x *Reach) bool { return !x.holds(t, w) })
	case r.Any != nil:
		return slices.ContainsFunc(r.Any, func(x *Reach) bool { return x.holds(t, w) })
	case r.Path != "":
		p, err := ParseIndexPath(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		v := w.Lookup(p)
		v.IndexValues(func(b []byte) { found = found || in(r.Spans, string(b)) })
		return found
	}
	return in(r.Keys, key)
}

// comparison makes conditions that have a reach more often than generator's do.
func (g *generator) comparison(depth int) Expr {
	if depth > 0 && g.IntN(3) > 0 {
		op := And
		if g.IntN(3) == 0 {
			op = Or
		}
		return &Binary{op, g.comparison(depth - 1), g.comparison(depth - 1)}
	}
	p := g.path()
	if g.IntN(3) > 0 {
		p = &Path{Steps: []Step{{Name: "tags"}, {Name: g.pick("a", "b")}}, field: FieldTags}
	}
	switch g.IntN(6) {
	case 0:
		x := &In{X: p}
		for range 1 + g.IntN(4) {
			x.List = append(x.List, g.constant())
		}
		return x
	case 1:
		return &Call{functionNamed("STARTSWITH"), []Expr{p, &Const{OfString(g.pick("", "x", "d000", "2026-01"))}}}
	case 2:
		return p
	}
	var x, y Expr = p, &Const{g.constant()}
	if g.IntN(3) == 0 {
		x, y = y, x
	}
	return &Binary{Equal + Op(g.IntN(6)), x, y}
}

func TestEveryRowThatPassesLiesInTheReach(t *testing.T) {
	g := newGenerator(*bruteSeed)
	var twins []*Twin
	for i := range *bruteTwins {
		w := g.twin(t, i%97)
		if i%3 == 0 {
			w.ModuleID = g.pick("x", "m1", "d00003")
		}
		twins = append(twins, w)
	}
	narrow, passed, looked := 0, 0, 0
	for n := range 3 * *bruteQueries {
		where := g.comparison(3)
		from := Devices
		if n%4 == 0 {
			from = Modules
		}
		q, err := Parse((&Query{From: from, Where: where}).String())
		if err != nil {
			t.Fatal(err)
		}
		r := q.Reach()
		if r == nil {
			continue
		}
		narrow++
		ids, few := r.Devices()
		for _, w := range twins {
			if (from == Modules) != (w.ModuleID != "") {
				continue
			}
			in, match := r.holds(t, w), q.Match(w)
			if match && !in {
				t.Fatalf("query %d of seed %d: %s\n%+v does not hold %s", n, *bruteSeed, q, r, w.AppendServiceView(nil))
			}
			if match && few && !slices.Contains(ids, w.Identity.DeviceID) {
				t.Fatalf("query %d of seed %d: %s\nis said to be of %q and matches %q", n, *bruteSeed, q, ids, w.Identity.DeviceID)
			}
			if match {
				passed++
			}
			if in {
				looked++
			}
		}
	}
	if narrow < *bruteQueries || passed == 0 {
		t.Errorf("%d of %d conditions have a reach, %d rows pass: the test says little", narrow, 3**bruteQueries, passed)
	}
	if looked > 5*passed {
		t.Errorf("%d rows lie in the reaches of %d that pass", looked, passed)
	}
}

func TestReachOf(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct{ in, want string }{
		{"SELECT * FROM devices", "all"},
		{"SELECT * FROM devices WHERE deviceId = 'a'", "keys a"},
		{"SELECT * FROM devices WHERE DeviceID IN ['b', 'a', 1, 'b'] AND tags.x != 2", "keys a b"},
		{"SELECT * FROM devices WHERE deviceId = '2026-01-02'", "all"},
		{"SELECT * FROM devices WHERE deviceId = 'a' OR tags.x = 1", "(keys a or tags.x)"},
		{"SELECT * FROM devices WHERE deviceId = 'a' OR tags.x != 1", "all"},
		{"SELECT * FROM devices WHERE deviceId = 'a' AND tags.x = 1", "(tags.x and keys a)"},
		{"SELECT * FROM devices WHERE deviceId = 'a' AND deviceId = 'b'", "keys"},
		{"SELECT * FROM devices WHERE STARTSWITH(deviceId, 'a')", "keys a..b"},
		{"SELECT * FROM devices.modules WHERE deviceId = 'a'", "keys a/..a\x01"},
		{"SELECT * FROM devices.modules WHERE moduleId = 'm'", "all"},
		{"SELECT * FROM devices.modules WHERE moduleId = 'm' AND (deviceId = 'a' AND tags.x > 1)", "(tags.x and keys a/m)"},
		{"SELECT * FROM devices WHERE Tags.[[x]] > 1 AND devices.tags.x < 5", "tags.x"},
		{"SELECT * FROM devices WHERE tags.x > 1 AND tags.x < 'a'", "no tags.x"},
		{"SELECT * FROM devices WHERE tags.x = undefined", "no tags.x"},
		{"SELECT * FROM devices WHERE NOT tags.x = 1", "all"},
		{"SELECT * FROM devices WHERE capabilities.iotEdge", "capabilities.iotEdge"},
		{"SELECT * FROM devices WHERE tags = 1", "all"},
		{"SELECT * FROM devices WHERE tags.x = '" + long + "'", "tags.x"},
		{"SELECT * FROM devices.jobs WHERE jobId = 'x'", "all"},
	} {
		q, err := Parse(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := q.Reach().text(); got != c.want {
			t.Errorf("%s: %q, want %q", c.in, got, c.want)
		}
	}
}

func (r *Reach) text() string {
	join := func(list []*Reach, with string) string {
		var parts []string
		for _, x := range list {
			parts = append(parts, x.text())
		}
		return "(" + strings.Join(parts, with) + ")"
	}
	switch {
	case r == nil:
		return "all"
	case r.All != nil:
		return join(r.All, " and ")
	case r.Any != nil:
		return join(r.Any, " or ")
	case r.Path != "" && len(r.Spans) == 0:
		return "no " + r.Path
	case r.Path != "":
		return r.Path
	}
	out := "keys"
	for _, k := range r.Keys {
		lo, hi := strings.ReplaceAll(k.Lo, "\x00", "/"), strings.ReplaceAll(k.Hi, "\x00", "/")
		if out += " " + lo; !r.Exact {
			out += ".." + hi
		}
	}
	return out
}

func TestIndexValuesAreOrderedAsComparisonsAre(t *testing.T) {
	values := []Value{OfNull(), OfBool(false), OfBool(true)}
	for _, f := range []float64{-1e300, -2, -0.5, 0, 1e-300, 0.5, 1, 2, 1e300} {
		values = append(values, OfNumber(f))
	}
	for _, s := range []string{"", "\x00", "\x00\x01", "\x00\xff", "a", "a\x00", "a\x00b", "a\x01", "ab", "b", "é"} {
		values = append(values, OfString(s))
	}
	var before []byte
	for i := range values {
		var got []byte
		values[i].IndexValues(func(b []byte) { got = slices.Clone(b) })
		if string(got) <= string(before) {
			t.Errorf("value %d: %x is not above %x", i, got, before)
		}
		// Whatever follows in a key, the value's end is found.
		for _, key := range []string{"", "\x00", "d\x00m", "\xff"} {
			if n, err := IndexValueLen(append(slices.Clone(got), key...)); err != nil || n != len(got) {
				t.Errorf("value %d before %q: %d, %v, want %d", i, key, n, err, len(got))
			}
		}
		before = got
	}
	zero, minus := OfNumber(0), OfJSON("-0")
	var a, b string
	zero.IndexValues(func(x []byte) { a = string(x) })
	minus.IndexValues(func(x []byte) { b = string(x) })
	if a != b {
		t.Errorf("0 is %x, -0 is %x", a, b)
	}
}

func FuzzIndexValueLen(f *testing.F) {
	f.Add([]byte{indexString, 'a', 0, 1, 'k'})
	f.Add([]byte{indexNumber, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := IndexValueLen(b)
		if err == nil && (n < 1 || n > len(b)) {
			t.Errorf("%x: %d", b, n)
		}
	})
}

func TestIndexPaths(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"tags.site", "tags.site"}, {" TAGS.site ", "tags.site"}, {"devices.tags.[[a b]].c[1]", "tags.[[a b]].c[1]"},
		{"properties.reported.fw.$version", "properties.reported.fw.$version"}, {"statusUpdatedTime", "statusUpdateTime"},
		{"Status", "status"}, {"configurations.[[cfg-1]].status", "configurations.[[cfg-1]].status"},
		{"deviceId", ""}, {"moduleId", ""}, {"tags", ""}, {"properties.reported", ""}, {"nothing.x", ""}, {"tags.x = 1", ""}, {"", ""}, {"status.x", ""},
	} {
		p, err := ParseIndexPath(c.in)
		got := ""
		if err == nil {
			got, _ = p.IndexText()
			if again, err := ParseIndexPath(got); err != nil || fmt.Sprint(again.Steps) != fmt.Sprint(p.Steps) && c.want != "statusUpdateTime" && c.want != "status" && c.want != "tags.site" {
				t.Errorf("%q is read back as %v, %v", got, again, err)
			}
		}
		if got != c.want {
			t.Errorf("%q: %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}
