// Package eventlog is the Kafka-compatible log as the hub sees it, and the
// only importer of the Kafka client.
//
// Nouns:
//
//   - [Log]: the connection to a log; administers topics and reads back.
//   - [Appender]: writes to the device log, outside transactions, durably
//     (acks=all), bounded in records and bytes.
//   - [Reader]: follows directly assigned partitions from explicit offsets,
//     reading committed.
//   - [Term]: one life of one transactional id; commits slabs of records.
//   - [Checkpoint] and [JournalEntry]: what a commit remembers of a core,
//     with their byte formats (docs/format/checkpoint.md, journal.md).
//
// Guarantees:
//
//   - One partition function, [Partition], agrees with Kafka's default.
//   - A record whose Append ended without error is on the log. An error means
//     it may or may not be: the sender repeats it.
//   - A reader never jumps: a position that is not on the log any more is an
//     error of that partition ([ErrOffsetOutOfRange]), not a reset.
//   - [Term.Commit] is all or nothing for readers of committed records, and
//     returns nil only if it is known to be all. After any error the term is
//     closed for good.
//   - [Classify] is the one place that says what an error means to a caller.
//
// It never joins a consumer group, never creates a topic that was not asked
// for, never retries a commit, never reads group offsets back, and never logs
// keys, values or credentials.
package eventlog
