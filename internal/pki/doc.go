// Package pki keeps the server certificate of a hub.
//
// Nouns: the authority is the hub's own CA, made on first start and limited by
// name constraints to the hub's names and to loopback; the leaf is the server
// certificate, signed by it or given by the user; an Identity is the leaf as
// listeners use it, replaced in place when it is renewed or its files change.
//
// Guarantees: the CA key is written with mode 0600 and never leaves its
// directory; a leaf is valid for at most 397 days and carries exactly the names
// it was opened with; a leaf that can't be loaded never replaces one that works.
//
// It starts no goroutine: whoever wants renewal calls Refresh, or runs Watch.
package pki
