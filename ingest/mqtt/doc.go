// Package mqtt is the MQTT 3.1.1 and 5 side of the hub: it speaks the dialect
// of Azure IoT Hub (azure-iot-wire 1.5 and 2) to devices and ingest.Hub to the
// node.
//
// A connection is one TCP, TLS or WebSocket stream; a session is what outlives
// it under the client id: the subscriptions. A device has its own telemetry,
// twin and method topics and no others; there is no publish and subscribe
// between devices.
//
// Guarantees:
//   - A PUBACK leaves after the hub has reported the message as durable, and
//     in the order in which the messages came. If the hub fails, the connection
//     is closed without it and the client sends the message again. The one
//     exception is a message that can never be accepted, see refuse in publish.go.
//   - A connection holds at most Limits.InFlight unacknowledged messages and
//     Limits.Outbound bytes to be sent. At the first limit it is no longer
//     read; at the second it is closed.
//   - An idle connection costs one goroutine and a read buffer of 512 bytes.
//     Writers exist only while there is something to write.
//   - Whatever a client sends ends at most its own connection.
//
// The package verifies no credential, keeps nothing on disk (sessions are
// forgotten when the process ends), never delivers with more than QoS 0, and
// never logs a token or a body.
package mqtt
