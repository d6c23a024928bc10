// Package credential checks and makes the credentials of the device hub: keys,
// SAS tokens, shared access policies, thumbprints of certificates, connection
// strings, and the sealing of keys for topics and stores.
//
// It verifies and computes, nothing else: time, the sources of randomness, and
// the hub key are passed in. A Key never shows in logs, formatted text or JSON;
// Reveal is the only way to its text, so that a search for it finds every place
// where a secret leaves the process.
package credential
