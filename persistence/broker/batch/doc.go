// Package batch reads and writes record batches of Kafka's message format v2.
//
// A batch is a header of 61 bytes and its records, which may be compressed as
// one block. The header names a base offset; each record has a delta from it.
// A control batch holds one record that ends a transaction.
//
// Check is for bytes of a stranger: it verifies lengths, the checksum (CRC-32C
// from the attributes to the end), counts and, also inside a compressed block,
// the structure of each record, with a bound on what decompression may give.
// Setters change what a broker fills in (base offset, leader epoch, append
// time) in place and keep the checksum right.
//
// The package is pure: no clock, no goroutine that outlives a call, no I/O.
package batch
