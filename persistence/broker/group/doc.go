// Package group is the coordinator of consumer groups: who is a member, in
// which generation, and who has which part of the assignment.
//
// Nouns:
//
//   - [Coordinator]: all groups of a broker.
//   - classic group: its members agree on an assignment by JoinGroup and
//     SyncGroup; one of them, the leader, makes it (KIP-62, static members of
//     KIP-345, known member ids of KIP-394, skipped assignments of KIP-814).
//   - consumer group: the coordinator makes the assignment and members
//     reconcile towards it with ConsumerGroupHeartbeat (KIP-848).
//   - ticket: the name of a request that waits for its answer. A [Reply] is
//     that answer; every request gets exactly one.
//   - deadline: when the coordinator wants to be told the time again.
//
// The coordinator is a state machine: time and requests go in, replies come
// out. It speaks in requests and responses of Kafka's protocol, with the error
// codes of Apache Kafka 4. The same calls with the same times and ids give the
// same replies.
//
// Membership is not durable. A member of a coordinator that is gone is told
// UNKNOWN_MEMBER_ID, upon which clients join again; since member ids are never
// given twice, a member of the past can commit nothing.
//
// What it never does: read a clock, start a goroutine, take a lock, or store
// offsets: those are the host's. It decides only who may commit them.
package group
