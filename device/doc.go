// Package device holds the nouns of the device hub as values: device ids,
// identities and their life (create, update, delete), the twin document with its
// merge rules, and the names of device-log records.
//
// It is pure: everything is a function of its arguments. Time, log positions and
// sealed keys are passed in, so that two nodes that apply the same log reach the
// same bytes. It never reads a clock, starts a goroutine, uses randomness, or
// sees a key in clear: keys in an Identity are sealed bytes that it only carries.
//
// A Twin is a persistent tree: applying a patch replaces the path that changed
// and leaves earlier copies of the Twin as they were, so a copy by assignment is
// a snapshot that another goroutine may read.
package device
