// Package store keeps the state of one core on local disk. It is the only
// importer of Pebble.
//
// A Store belongs to one core and has one writer. It holds what the core has
// saved up to some point of its input log and, with it, a record that says
// which point: Applied. A Batch collects changes in memory; Flush makes a batch
// and its Applied durable in one step. Scratch is a second area for what does
// not fit into memory between two flushes; nothing in it survives.
//
// Guarantees:
//
//   - After a crash at any moment, contents and Applied are those of one Flush:
//     the last one that returned nil, or the one that was running. Never a mix.
//   - Nothing but Flush changes what a reader sees. A Flush that returns an
//     error has changed nothing, except with ErrFailed, where it is unknown
//     until the store is opened again.
//   - Damage to a file is an error, ErrCorrupt, or leads to an earlier Flush;
//     it is never wrong data. An earlier Flush is harmless: the owner replays
//     its log from Applied.
//   - A full disk is ErrDiskFull; reading goes on, and so does flushing when
//     there is room again.
//
// The package never retries, never reads the log and never decides when to
// flush: the caller does, at a point where nothing beyond the committed
// transaction has been applied. Keys and values are the caller's; only the
// stage 0 is reserved (see Stage).
package store
