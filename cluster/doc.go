// Package cluster says where each device actor lives and carries messages to it.
//
// Nouns:
//
//   - member: a live node, known by its name; all members together are the view.
//   - owner: the member that a partition is placed on, by rendezvous hashing over
//     the view. A device lives where its partition lives; which partition that is
//     the caller says, this package never hashes a device id.
//   - device actor: a virtual actor. It needs no creation: the first message
//     activates it, and it is passivated when nobody has asked for it for a while.
//
// Guarantees:
//
//   - At most one activation of a device exists on a node at any time, also while
//     one is being passivated and the next message is already there.
//   - Messages of one goroutine to one device arrive in the order sent. None is
//     lost to passivation: those that come too late for an activation are held
//     for the next one, in a bounded queue.
//   - Request ends: with the answer, with the actor's end, or with its context.
//   - Everything is bounded; what is over a bound is refused with ErrBusy and counted.
//   - A device actor that panics is stopped, never restarted in place: its next
//     message finds a fresh one, rebuilt from the log.
//   - A node that is its only member opens no port and starts one goroutine, the
//     sweep for idle actors; Stop ends it.
//
// It never reads or writes a log or a store, and never decides who may commit:
// the view is a hint about who should try, safety rests on fenced transactions.
//
// # Why protoactor's own Cluster is not started
//
// The package uses protoactor's actor system (mailboxes, supervision, process
// registry) and keeps the table of activations itself. The library's
// Cluster.StartMember always starts its gRPC remote, which listens on a TCP port
// and panics when it can't, and then sleeps one second (two more at Shutdown); its
// Request waits on a future that knows no context and retries after pauses counted
// in nanoseconds; its placement actor loses the messages that are queued behind a
// passivation; and its receive timeout changes the actor's state from the timer's
// goroutine. A one-member node needs none of that. Start, Owner, Request and
// Subscribe are what a node with more members will use as well: membership and a
// transport to other members then come in behind them.
package cluster
