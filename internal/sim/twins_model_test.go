package sim

import (
	"encoding/json"
	"errors"
	"testing"
)

// after returns a section whose patches 1 to known were answered and whose open
// ones were not.
func after(known, open int64) section {
	s := newSection()
	for n := range known {
		s.next()
		if ok, err := s.answered(n + 2); !ok || err != nil {
			panic("answered in order")
		}
	}
	for range open {
		s.next()
	}
	return s
}

func holding(patches ...int64) (p properties) {
	for _, n := range patches {
		p = p.with(n)
	}
	return p
}

func TestReadTellsWhichPatchesWereApplied(t *testing.T) {
	for name, c := range map[string]struct {
		version int64
		doc     properties
		err     error
		open    int
	}{
		"none yet":                   {4, holding(1, 2, 3), nil, 2},
		"the first, one may come":    {5, holding(1, 2, 3, 4), nil, 1},
		"the second alone":           {5, holding(1, 2, 3, 5), nil, 0},
		"both":                       {6, holding(1, 2, 3, 4, 5), nil, 0},
		"an answered one is gone":    {3, holding(1, 2), errTwinLost, 2},
		"one was applied twice":      {7, holding(1, 2, 3, 4, 5), errTwinDoubled, 2},
		"in the wrong order":         {6, holding(1, 2, 3, 5, 4), errTwinWrong, 2},
		"version without the change": {5, holding(1, 2, 3), errTwinWrong, 2},
		"change without the version": {4, holding(1, 2, 3, 4), errTwinWrong, 2},
	} {
		s := after(3, 2)
		if err := s.read(c.version, c.doc); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		if len(s.open) != c.open {
			t.Errorf("%s: %d patches are open, want %d", name, len(s.open), c.open)
		}
	}
}

func TestAnswersMustNameTheVersionOfTheirPatch(t *testing.T) {
	for name, c := range map[string]struct {
		open    int64
		version int64
		known   bool
		ok      bool
	}{
		"the next":                       {1, 5, true, true},
		"none of those before":           {3, 5, true, true},
		"all of those before":            {3, 7, true, true},
		"some of those before":           {3, 6, false, true},
		"the version before":             {1, 4, false, false},
		"more than there are patches":    {1, 6, false, false},
		"more than all of those by then": {3, 8, false, false},
	} {
		s := after(3, c.open)
		known, err := s.answered(c.version)
		if known != c.known || (err == nil) != c.ok {
			t.Errorf("%s: known %v, %v", name, known, err)
		}
	}
}

func TestNotificationsMustBeInOrderAndTrue(t *testing.T) {
	history := map[int64]int64{2: 1, 3: 2, 4: 3}
	for name, c := range map[string]struct {
		heard    []notification
		missed   int
		problems int
	}{
		"in order":                      {[]notification{{1, 2, 1}, {1, 3, 2}, {1, 4, 3}}, 0, 0},
		"one is missing":                {[]notification{{1, 2, 1}, {1, 4, 3}}, 1, 0},
		"a session was away":            {[]notification{{1, 2, 1}, {2, 4, 3}}, 0, 0},
		"again in the next session":     {[]notification{{1, 2, 1}, {2, 2, 1}}, 0, 0},
		"twice":                         {[]notification{{1, 2, 1}, {1, 2, 1}}, 0, 1},
		"out of order":                  {[]notification{{1, 3, 2}, {1, 2, 1}}, 0, 1},
		"of a patch of another version": {[]notification{{1, 2, 2}}, 0, 1},
		"of a version that is not":      {[]notification{{1, 9, 3}}, 0, 1},
	} {
		missed, problems := judgeNotifications(c.heard, history)
		if missed != c.missed || len(problems) != c.problems {
			t.Errorf("%s: %d missed, %q", name, missed, problems)
		}
	}
}

// The model and the patches that are sent must mean the same.
func TestModelMergesAsPatchesSay(t *testing.T) {
	members := map[string]any{}
	want := properties{}
	for n := int64(1); n <= 30; n++ {
		var patch map[string]any
		if err := json.Unmarshal(patchOf(n), &patch); err != nil {
			t.Fatal(err)
		}
		for k, v := range patch {
			if members[k] = v; v == nil {
				delete(members, k)
			}
		}
		b, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		var got view
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if want = want.with(n); got.doc != want {
			t.Fatalf("after patch %d the twin is %+v, the model %+v", n, got.doc, want)
		}
	}
}
