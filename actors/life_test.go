package actors

import (
	"testing"
	"time"
)

func TestLifeTellsWhichProcessStartedFirst(t *testing.T) {
	start := time.UnixMilli(1_750_000_000_000)
	old, young := newLife("a-1", start), newLife("b", start.Add(time.Millisecond))
	if old == newLife("a-1", start) {
		t.Error("two lives of one start have one name")
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{old, young, true},
		{young, old, false},
		{old, newLife("c", start), false},
		{"a-0011223344ff", young, false},
		{old, "node", false},
		{"", young, false},
	} {
		if got := olderLife(c.a, c.b); got != c.want {
			t.Errorf("olderLife(%q, %q) = %v", c.a, c.b, got)
		}
	}
}
