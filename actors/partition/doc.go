// Package partition holds the two deterministic cores that a partition actor
// runs: [Devices] keeps identities and twins, [Pipelines] keeps the windows of
// every query over one source.
//
// Nouns:
//
//   - A record, a tick or a change of plans goes in; state changes and
//     [Effects] come out. Effects are what the host puts into one Kafka
//     transaction (outputs, journal) and what it sends when the record is
//     applied (replies).
//   - The position of a core is the offset of the next record that it reads.
//   - The journal holds all that is not in the log and still matters, each
//     entry with the position that it applies before.
//
// Guarantees: state is a function of the records in offset order and the
// journal. A core never sees when a commit or a flush happened, so replaying
// from any saved state gives the same state and the same outputs, byte for
// byte.
//
// A core never reads a clock, starts a goroutine, or calls the log or a store;
// it reads saved state through [windows.State] and writes it through
// [windows.Batch] when the host says that nothing is applied beyond the
// committed point. It is owned by one goroutine.
package partition
