package windows

import (
	"strings"
	"testing"
)

// Names of every length keep apart, also the empty one of a query without group
// keys, and come back after they were dropped.
func TestNamesOfEveryLength(t *testing.T) {
	table := newKeyTable()
	names := []string{""}
	for n := 1; n <= 70; n++ {
		names = append(names, strings.Repeat("x", n), strings.Repeat("x", n-1)+"y")
	}
	for round := range 2 {
		numbers := map[uint32]string{}
		for _, name := range names {
			n := table.intern([]byte(name))
			if other, taken := numbers[n]; taken {
				t.Fatalf("round %d: %q and %q share number %d", round, name, other, n)
			}
			numbers[n] = name
			table.take(n)
		}
		for n, name := range numbers {
			if got := table.name(n); got != name {
				t.Fatalf("number %d is %q, want %q", n, got, name)
			}
			if found, _, ok := table.find([]byte(name)); !ok || found != n {
				t.Fatalf("%q is found as %d, %v; want %d", name, found, ok, n)
			}
		}
		for n := range numbers {
			table.release(n)
		}
		for range 8 {
			table.calm()
		}
		if table.text != 0 || len(table.long) != 0 {
			t.Fatalf("%d bytes of %d long names are kept", table.text, len(table.long))
		}
	}
}
