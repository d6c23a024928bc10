// Package websocket carries the stream of another protocol through an HTTP
// request that is upgraded (RFC 6455): SDKs speak MQTT that way on port 443 where
// a firewall lets nothing else out.
//
// Conn is a net.Conn whose bytes travel in binary messages. Where one message
// ends and the next begins means nothing to the stream. A read that ends at its
// deadline can be repeated, and no frame is ever held as a whole, so that the
// memory of a connection does not depend on what its peer sends.
package websocket
