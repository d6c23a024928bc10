// Package persistence states the durability contract that the packages below
// it keep: eventlog (the Kafka-compatible log as the hub sees it), broker (a log
// of our own that speaks Kafka's protocol) and store (the partition state on
// Pebble). It has no code.
//
// # Nouns
//
//   - The log: topics with partitions of records. The device log is the input
//     of the hub; it is only ever written outside transactions.
//   - A core: the pure state machine that reads exactly one input partition.
//   - A term: one life of one transactional id. A core works in one term at a
//     time; beginning a term fences all earlier ones.
//   - A commit: one Kafka transaction of a term. It holds all that the core
//     has to say about a stretch of input: outputs, changelog, journal, and
//     the checkpoint that names the input offset, the clocks, and the journal
//     and outbox positions they belong to.
//   - The journal: what is not in the input and still matters (ticks of the
//     idle clock, arrival stamps, changes of plan and settings, suspensions),
//     each entry with the input offset before which it applies.
//   - The store: a copy of the core's state on local disk, with the input
//     offset up to which it is applied.
//
// # What is atomic with what
//
// The records of one commit become visible together or never. The store moves
// from one applied offset to the next in one step, together with all state
// that belongs to it. The commit and the store's step are not atomic with each
// other, and need not be: the commit comes first, and the store only ever
// takes a state that a commit has already covered. Local state is therefore
// equal to the log or behind it, never ahead.
//
// # What is acknowledged when
//
// A device gets its acknowledgement after the log has acknowledged the record
// with acks=all. An answer that depends on the log prefix alone is given when
// the record is applied; one that depends on the journal or on ticks is given
// after the commit that holds them. Results leave only through a commit.
//
// # What is replayed
//
// After a crash a new term reads the newest checkpoint of the core, opens the
// store, and replays the input from the store's applied offset to the
// checkpoint's, journal entries at their positions, effects suppressed. State
// is a function of input and journal, so the replay ends in the state that the
// commit was made from. Losing the store costs time, not data.
//
// # What a crash may repeat, and what it may not
//
// A device that got no acknowledgement sends again: its message may be in the
// device log twice. Input after the last checkpoint is processed again, but
// whatever its first processing wrote was part of a transaction that is
// aborted, so no reader that reads committed sees a result twice. A commit
// whose outcome is not known ends the term; the next term learns the outcome
// from the checkpoint, never by trying again.
//
// # What is never done
//
// No commit after a produce error. No write to the store by a term that was
// fenced. No consumer-group offset is ever read back as the truth; they are
// written for the ecosystem's lag tools alone.
package persistence
