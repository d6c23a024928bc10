//go:build race

package store

// exhaustive is off under the race detector, which makes the enumerations take
// minutes and has seen all there is to see after a part of them.
const exhaustive = false
