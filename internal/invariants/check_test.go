package invariants

import "testing"

func TestViolationPanicsInTestBuildsOnly(t *testing.T) {
	Check(true, "holds")
	defer func() {
		if got := recover(); (got != nil) != Enabled || Enabled && got != "invariant violated: offset 3 is behind 5" {
			t.Errorf("enabled %v, panic = %v", Enabled, got)
		}
	}()
	Check(false, "offset %d is behind %d", 3, 5)
}
