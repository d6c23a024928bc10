package bench

import "encoding/binary"

// mqttClient is one client of a broker: what its CONNECT says and where it
// publishes.
type mqttClient struct {
	id, user, password string
	topic              string
}

// keepAlive is what clients announce, in seconds; runs are shorter, so that no
// pings disturb them.
const keepAlive = 1177

// appendConnect appends an MQTT 3.1.1 CONNECT with a clean session.
func appendConnect(b []byte, c *mqttClient) []byte {
	flags := byte(2)
	n := 10 + 2 + len(c.id)
	if c.user != "" {
		flags |= 0xc0
		n += 4 + len(c.user) + len(c.password)
	}
	b = appendLength(append(b, 0x10), n)
	b = append(b, 0, 4, 'M', 'Q', 'T', 'T', 4, flags, keepAlive>>8, keepAlive&0xff)
	b = appendText(b, c.id)
	if c.user != "" {
		b = appendText(appendText(b, c.user), c.password)
	}
	return b
}

// appendSubscribe appends a SUBSCRIBE with packet id 1 to one filter with QoS 0.
func appendSubscribe(b []byte, filter string) []byte {
	b = appendLength(append(b, 0x82), 2+2+len(filter)+1)
	b = append(b, 0, 1)
	return append(appendText(b, filter), 0)
}

// publishFrame returns a QoS 1 PUBLISH and where its packet id stands.
func publishFrame(topic string, payload []byte) (frame []byte, idAt int) {
	b := appendLength([]byte{0x32}, 2+len(topic)+2+len(payload))
	b = appendText(b, topic)
	idAt = len(b)
	b = append(b, 0, 0)
	return append(b, payload...), idAt
}

func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func appendLength(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}
