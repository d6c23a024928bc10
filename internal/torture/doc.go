// Package torture judges a log that was killed while clients used it.
//
// Nouns:
//
//   - The [Ledger] is what clients know: what each [Producer] sent, which records
//     and transactions were acknowledged, and how far each group's offsets were
//     committed.
//   - The [Account] is what the log holds at the end, with and without what was
//     aborted, and what readers saw before that.
//   - The [Verdict] compares them: no acknowledged record lost or moved, none
//     twice, order kept, no transaction in part, nothing aborted visible, offsets
//     never behind what was committed, nothing left open.
//
// Copies are records that a consume-transform-produce chain wrote: the verdict
// wants exactly one of each record below the chain's committed offset and none
// above it.
//
// Who drives clients and kills the log fills the first two: this package's test
// does so with processes, that of package storage in memory.
package torture
