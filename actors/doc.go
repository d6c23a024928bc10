// Package actors hosts the partition cores and the device actors of a node, and
// is the client that the API and the protocols call.
//
// Nouns:
//
//   - A [Node] owns partitions. Each core of a partition (devices, or the
//     pipelines of one source) runs in a host: one goroutine that recovers it,
//     feeds it, commits its effects in one transaction and flushes its state.
//   - A term is one life of a host's transactional id: it begins by fencing any
//     earlier owner and ends with the first error whose outcome can't be known.
//   - A feed is the one consumer that all cores of a class share; it hands
//     batches to bounded queues and pauses the partitions of slow cores.
//   - A device actor is virtual: made by the first message for its device,
//     passivated when idle. It holds the live session and nothing that can't be
//     rebuilt.
//
// Guarantees: an acknowledgement to a device follows that of the log; results
// leave only through a core's transaction; local state is never ahead of the
// log; every queue is bounded and answers ErrBusy or slows its source.
//
// The package never parses a protocol, never hashes a device id by itself, and
// never lets a store or a slow pipeline hold up the devices core.
package actors
