// Package invariants holds assertions that test builds check and release builds
// skip. They are on with the build tag "invariants" and under the race
// detector. A violated one panics: the state is not what the code assumes, and
// going on would hide where it went wrong.
//
// An invariant is about the program itself. Bad input, a full disk or a peer
// that misbehaves are errors, never invariants.
package invariants
