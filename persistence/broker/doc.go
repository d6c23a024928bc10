// Package broker is the log that runs inside a process: one broker that
// speaks Kafka's protocol and keeps its data in one directory.
//
// Nouns:
//
//   - [Server]: the log; started on a directory that it alone may use.
//   - connection: one client. Its requests are taken in the order they arrive
//     and answered in that order.
//   - handler: what serves the requests of one key, for a range of versions.
//     Handlers are thin: what is durable lies in package storage, what groups
//     agree on in package group, who may do what in package access.
//   - parked request: one that is answered later (a fetch that waits for
//     records, a member that waits for its group) while the connection is read
//     on.
//
// Guarantees, with SyncWrites: an acknowledged record survives the loss of
// power; so does an acknowledged commit. Without it they survive the end of
// the process, not of the machine. What a connection costs is bounded in
// requests, in bytes and in the time that it may let others wait; bytes that
// make no sense end the connection that sent them and nothing else.
//
// What it never does: replicate, start on a directory that another process
// has open, or answer a request that it did not decode whole.
package broker
