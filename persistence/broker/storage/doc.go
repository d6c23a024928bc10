// Package storage keeps everything durable of the embedded log in one Pebble
// database.
//
// A topic has partitions; a partition is a sequence of record batches, each
// stored as received under (partition, base offset). A producer is an id that
// may append with sequence numbers; a transaction makes appends to several
// partitions and offsets of groups visible together or not at all. Committed
// offsets are kept for groups whose members this package does not know.
//
// One goroutine, the sequencer, owns the state that changes and turns requests,
// in the order of their arrival, into the Pebble batch under construction.
// While one Pebble batch is being synced the next is filled. When the sync is
// done the new state becomes visible, waiting readers wake and requests are
// answered. So what was answered is on disk, and after a crash the state is
// exactly that of the last sync.
//
// A commit that fails (full disk, failed sync) fails each request in it and in
// the one being filled with KAFKA_STORAGE_ERROR; the state is loaded again from
// what Pebble holds before the next request is taken. Reads go on meanwhile.
//
// Errors that have a code in Kafka's protocol are the values of package kerr,
// bare. Any other error is internal.
//
// The package never opens a socket, never reads a record's meaning, and never
// decides who may do what.
package storage
