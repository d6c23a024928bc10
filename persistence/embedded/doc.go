// Package embedded is the log that runs inside a process: one broker that
// speaks Kafka's protocol on a TCP port and keeps its data in one directory.
// It is franz-go's kfake with what that lacks as a log to be trusted put
// around it.
//
// Nouns:
//
//   - [Server]: the log; started on a directory that it alone may use.
//   - the gate: what every connection passes before the broker sees it. It
//     bounds connections and requests, drops what would crash the broker, and
//     keeps half-authenticated connections out.
//   - recovery: what happens to the directory of a server that was killed.
//     Torn tails are cut off; each open transaction is completed if its commit
//     had begun and aborted otherwise, so that commits are atomic across a
//     kill; anything else that is damaged is refused by name.
//   - retention and compaction: done here and not by the broker, so that they
//     respect replay points and survive a kill.
//
// Guarantees, with SyncWrites: an acknowledged record survives the loss of
// power; so does an acknowledged commit. Without it they survive the end of
// the process, not of the machine.
//
// What it does not do: stamp records on arrival (LogAppendTime), keep
// superseded records for a compaction lag, replicate, or scale beyond one
// core. It never deletes beyond a replay point, and never starts on a
// directory that another process has open.
package embedded
