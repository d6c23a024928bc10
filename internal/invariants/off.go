//go:build !invariants && !race

package invariants

// Enabled reports whether assertions are checked. It is a constant, so that code
// under "if invariants.Enabled" costs nothing in a release.
const Enabled = false
