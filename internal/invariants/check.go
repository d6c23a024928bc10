package invariants

import "fmt"

// Check panics with the message when cond is false and assertions are on. The
// arguments are evaluated in any case: put what is expensive under Enabled.
func Check(cond bool, format string, args ...any) {
	if Enabled && !cond {
		panic("invariant violated: " + fmt.Sprintf(format, args...))
	}
}
