// Package devices simulates devices that send telemetry over MQTT and TLS, as
// real ones do: each has an identity, a SAS token and a connection of its own.
//
// Nouns: a fleet is the devices of one [Run]; the pacer says when which device
// sends; a reading is one message of plausible temperature and humidity.
//
// Guarantees: messages of a device are sent one after the other, each after the
// acknowledgement of the one before; what is due while a device waits is kept up
// to a small number and then counted as behind, never queued without bound. Run
// returns after every connection is closed.
package devices
