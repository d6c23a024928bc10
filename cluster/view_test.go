package cluster

import (
	"slices"
	"testing"
)

func TestSubscriberSeesTheViewAtOnceAndEachChangeInOrder(t *testing.T) {
	m := newMembership("b")
	var seen []View
	cancel := m.subscribe(func(v View) { seen = append(seen, v) })
	m.set([]string{"c", "b", "a", "b"})
	m.set([]string{"a", "b", "c"}) // the same set
	m.set([]string{"a", "b"})
	cancel()
	m.set([]string{"b"})
	want := [][]string{{"b"}, {"a", "b", "c"}, {"a", "b"}}
	if len(seen) != len(want) {
		t.Fatalf("%d views, want %d: %v", len(seen), len(want), seen)
	}
	for i, v := range seen {
		if !slices.Equal(v.Members, want[i]) || v.Version != uint64(i+1) {
			t.Errorf("view %d is %v, want version %d of %v", i, v, i+1, want[i])
		}
	}
	if v := m.current(); v.Version != 4 || !slices.Equal(v.Members, []string{"b"}) {
		t.Errorf("current view %v", v)
	}
}
