// Package access says who a client is and what it may do.
//
// A [Users] holds who may log in: not passwords but SCRAM verifiers made of
// them (RFC 5802, RFC 7677), which do not tell the password. An [Exchange] is
// the server's side of one login: a message of the client in, a message for it
// out. A [Principal] is who a connection turned out to be. A [Rules] answers
// whether a principal may do an operation to a resource; it is made of [Rule]
// values, which mean what Kafka's ACLs mean. A [Throttle] says how long the
// answer to a wrong guess has to wait.
//
// Guarantees: an unknown user and a wrong password differ neither in what is
// answered nor in the work done for it; comparisons of secrets take constant
// time; a message of any content or length yields an error and never a panic;
// nothing here grows with the number of attempts.
//
// The package does no I/O, starts no goroutine, and reads no clock: randomness
// and time are arguments. It knows no mechanism that sends a password (PLAIN)
// and no channel binding, and refuses both.
package access
