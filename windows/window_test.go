package windows

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// 15-A, 15-B, 15-C: rows by edge convention, hop that divides and one that
// does not, negative times, and the gap case.
func TestWindowTables(t *testing.T) {
	type in struct {
		device string
		ts     Tick // milliseconds
		v      int64
	}
	a := []in{{"d1", 0, 5}, {"d1", 3000, 7}, {"d1", 10000, 1}, {"d1", 10001, 2}, {"d1", 20000, 4}, {"d2", 20000, 9}}
	for _, c := range []struct {
		name   string
		window Window
		in     []in
		want   string // end,device,count,sum
	}{
		{"A end inclusive", Window{Size: 10000, Hop: 10000}, a,
			"0,d1,1,5 10000,d1,2,8 20000,d1,2,6 20000,d2,1,9 "},
		{"A start inclusive", Window{Size: 10000, Hop: 10000, StartInclusive: true}, a,
			"10000,d1,2,12 20000,d1,2,3 30000,d1,1,4 30000,d2,1,9 "},
		{"B", Window{Size: 10, Hop: 5}, []in{{"d", 1, 10}, {"d", 5, 20}, {"d", 6, 30}, {"d", 12, 40}, {"d", 15, 50}},
			"5,d,2,30 10,d,3,60 15,d,3,120 20,d,2,90 "},
		{"C", Window{Size: 10, Hop: 7}, []in{{"d", -8, 1}, {"d", -3, 2}, {"d", 0, 4}, {"d", 4, 8}, {"d", 7, 16}},
			"-7,d,1,1 0,d,3,7 7,d,3,28 14,d,1,16 "},
		{"C gap", Window{Size: 3, Hop: 10}, []in{{"d", 8, 1}, {"d", 10, 2}, {"d", 1, 4}, {"d", 7, 8}, {"d", 11, 16}},
			"10,d,2,3 "},
	} {
		o, err := New(Options{Window: c.window, Aggregates: []Aggregate{{Kind: CountAll}, {Kind: Sum}}})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range c.in {
			out := o.Add(int64(i), r.ts, AppendTuple(nil, StringOf(r.device)), []Value{BigintOf(r.v)})
			if out.NoWindow != (len(c.window.Ends(nil, r.ts)) == 0) {
				t.Errorf("%s: no_window %v at %d", c.name, out.NoWindow, r.ts)
			}
		}
		got := ""
		o.Fire(1<<40, func(r *Result) error {
			k, _ := DecodeTuple(r.Key, nil)
			got += fmt.Sprintf("%d,%s,%d,%d ", r.End, k[0].Str(), r.Values[0].Bigint(), r.Values[1].Bigint())
			return nil
		})
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// 4.3, 8.1: membership and slices against the definition, for any size, hop,
// offset and sign.
func TestEndsAndSlicesEqualDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for range 3000 {
		w := randomWindow(r)
		at := Tick(r.IntN(200) - 100)
		want := modelEnds(w, at)
		if got := w.Ends(nil, at); !slices.Equal(got, want) {
			t.Fatalf("%+v at %d: %v, want %v", w, at, got, want)
		}
		if len(want) > 0 && w.FirstEnd(at) != want[0] {
			t.Fatalf("%+v at %d: first end %d, want %d", w, at, w.FirstEnd(at), want[0])
		}
		lo, hi := w.Slice(at)
		if !(lo < at && at <= hi) {
			t.Fatalf("%+v at %d: slice (%d,%d]", w, at, lo, hi)
		}
		for i := lo + 1; i <= hi; i++ {
			if got := modelEnds(w, i); !slices.Equal(got, want) {
				t.Fatalf("%+v: %d and %d share a slice, not their windows", w, i, at)
			}
		}
		for _, i := range []Tick{lo, hi + 1} { // slices are no smaller than need be
			if len(want)+len(modelEnds(w, i)) > 0 && slices.Equal(modelEnds(w, i), want) {
				t.Fatalf("%+v: %d and %d have the same windows, not the same slice", w, i, at)
			}
		}
	}
}

// 8.1: S = 10, H = 7 makes slices of 3 and 4, not of 1.
func TestPairedSlices(t *testing.T) {
	w := Window{Size: 10, Hop: 7}
	var got []Tick
	for at := Tick(-13); at <= 7; {
		_, hi := w.Slice(at)
		got = append(got, hi)
		at = hi + 1
	}
	if want := []Tick{-10, -7, -3, 0, 4, 7}; !slices.Equal(got, want) {
		t.Errorf("edges %v, want %v", got, want)
	}
}

// 4.2: with the origin in the year 1, weeks begin on Mondays.
func TestWeeksAlignToOrigin(t *testing.T) {
	friday := Tick(20089)*Day + Hour // 2025-01-01 is a Wednesday
	for _, c := range []struct {
		origin Tick
		want   string
	}{{Origin, "2025-01-06T00:00:00.0000000Z"}, {0, "2025-01-02T00:00:00.0000000Z"}} {
		w := Window{Size: 7 * Day, Hop: 7 * Day, Origin: c.origin}
		if got := w.FirstEnd(friday).String(); got != c.want {
			t.Errorf("origin %v: week ends %s, want %s", c.origin, got, c.want)
		}
	}
}

func TestWindowValidation(t *testing.T) {
	for _, c := range []struct {
		w  Window
		ok bool
	}{
		{Window{Size: 1, Hop: 1}, true},
		{Window{Size: MaxSpan, Hop: 1, Origin: Origin, Offset: -1 << 62}, true},
		{Window{}, false},
		{Window{Size: 1}, false},
		{Window{Size: -1, Hop: 1}, false},
		{Window{Size: MaxSpan + 1, Hop: 1}, false},
		{Window{Size: 1, Hop: 1, Origin: Unset}, false},
	} {
		if err := c.w.Validate(); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrWindow) {
			t.Errorf("%+v: %v", c.w, err)
		}
	}
}
