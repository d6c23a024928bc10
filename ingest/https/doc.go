// Package https is the HTTPS side of the hub for devices (azure-iot-wire 3): each
// request carries its credential, and there is no session.
//
// A message is telemetry on its way in, one a request or a batch of them; a
// delivery is a cloud-to-device message under a lock, which the device completes,
// rejects or abandons by the lock's token.
//
// Guarantees:
//   - 204 leaves after the hub has reported every message of the request as
//     durable. A batch that fails in the middle may be in the log in part, and the
//     device sends all of it again.
//   - A batch is taken or refused as a whole for what is wrong with its form.
//   - Bodies under way hold at most Limits.Bytes; beyond, requests are answered
//     with 503.
//
// HTTP does not keep the case of header names, so the names of application
// properties arrive in lower case, except those of a batch. The package verifies
// no credential, holds no state but counters, and never logs a token or a body.
package https
