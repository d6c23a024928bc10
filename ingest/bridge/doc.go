// Package bridge takes telemetry from an MQTT broker that is there already.
//
// Nouns:
//
//   - broker: the foreign MQTT 5 server.
//   - group: the name of a shared subscription. The broker gives each message to
//     one member of the group, so that bridges of several nodes share the load.
//   - template: says how a topic names a device, "plant/{deviceId}/data".
//   - refusal: a message that can't become telemetry, with the reason.
//
// Guarantees:
//
//   - A message of QoS 1 or 2 is acknowledged to the broker after the device log
//     has acknowledged it, or after its refusal is kept (Options.DeadLetter). It
//     is taken at least once: what a broken connection leaves without
//     acknowledgement, the broker sends again. Messages of QoS 0 have only the
//     connection's own reliability.
//   - When the log can't take a message for now, the connection is closed and
//     opened again after a growing pause: the broker keeps what it has not seen
//     acknowledged and sends it in the old order.
//   - At most Options.MaxInflight messages are between broker and log. A slow log
//     slows the broker down.
//   - The password file is read at each connection, and no password is logged.
//
// It never publishes to the broker, never creates devices, and never refuses in
// silence: each refusal is counted with its reason.
package bridge
