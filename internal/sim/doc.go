// Package sim tries a hub to destruction and judges what is left: real
// processes, killed while devices publish.
//
// Nouns:
//
//   - A [Run] starts a log, a node and devices, and goes through rounds. In each
//     round every device sends a batch and the node meets one incident.
//   - An incident is what happens to the node: a kill, a kill during the recovery
//     from another, a polite stop, a lost store, another process that takes over
//     while the first one runs or is frozen.
//   - The ledger is what the senders know: how often each message was sent and
//     whether it was acknowledged.
//   - The verdict compares three accounts: the ledger with the device log, and
//     the committed result topics with what a model makes of the log.
//
// [RunTwins] does the same to twins: devices and a service patch both sections
// while the node is killed. A writer that gets no answer reads the twin, and
// every answer, read and notification must fit what it knows.
//
// The model shares no code with the engine: it groups records by windows in the
// plainest way. Event times run faster than the wall clock and stay within the
// tolerances, so that no record is late or out of order and the log alone says
// what every row must be.
//
// The package proves nothing about timing, and it never uses a hub of anybody
// else: names of its hubs begin with [HubPrefix].
package sim
