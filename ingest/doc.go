// Package ingest is the contract between the wire protocols of devices and the
// hub: credentials, sessions, messages and the property bag.
//
// A protocol (ingest/mqtt, ingest/amqp, ingest/https) reads credentials and
// asks the Hub to Connect. The hub answers with a Link, through which the
// protocol publishes and asks for twins, and keeps the protocol's Session,
// through which it delivers and disconnects. A message is acknowledged to the
// device only after the device log has acknowledged it.
//
// The property bag is the text form of a message's properties (azure-iot-wire
// 2.3), the same in an MQTT topic, in an AMQP or HTTPS message and in the
// device log.
//
// The package holds no state, starts no goroutine and never verifies a
// credential by itself.
package ingest
