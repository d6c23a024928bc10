package mqtt

import (
	"strings"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// Command implements ingest.Session. With QoS 1 the client's PUBACK completes the
// command, with QoS 0 its sending does.
func (c *conn) Command(m ingest.Command) bool {
	props, err := ingest.ParseBag(m.Bag)
	if err != nil {
		return false
	}
	sent, settled := c.sendCommand(&m, props)
	if settled {
		c.link.Settle(m.Lock, device.OutcomeComplete, func(error) {})
	}
	return sent
}

func (c *conn) sendCommand(m *ingest.Command, props []ingest.Property) (sent, settled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	filter, topic := c.commandTopicLocked()
	if !c.attached || c.closing || topic == "" {
		return false, false
	}
	t := appendCommandBag([]byte(topic), c.id, props, c.java)
	l := &c.s.limits
	qos0 := c.subs.qos0&(1<<filter) != 0
	size := publishSize(c.level, len(t), len(m.Body)) + 2
	switch {
	case size > c.maxOut, len(t) > 1<<16-1:
		return false, false
	case c.outItems >= l.OutboundPackets, len(c.out)+c.inWrite+size > l.OutboundBytes:
		return false, false // its lock ends, and it is delivered again
	case qos0:
		c.publishLocked(t, m.Body)
		return true, true
	case len(c.commands) >= maxUnacked:
		return false, false
	}
	id := c.packetIDLocked()
	if c.commands == nil {
		c.commands = map[uint16]string{}
	}
	c.commands[id] = m.Lock
	c.grabLocked()
	c.out = appendPublish1(c.out, c.level, id, t, m.Body)
	c.queuedLocked()
	return true, false
}

// commandTopicLocked returns the subscription that commands come by and what
// their topic begins with, "" when the client has none.
func (c *conn) commandTopicLocked() (filterKind, string) {
	for _, k := range [...]filterKind{filterDevicebound, filterModuleDevicebound, filterModule} {
		if !c.subs.has(k) {
			continue
		}
		topic := c.subs.prefixes[k]
		if topic == "" {
			topic = c.id.usualPrefix(k)
		}
		if k == filterModule {
			topic += "messages/devicebound/"
		}
		return k, topic
	}
	return filterUnknown, ""
}

// maxUnacked bounds the commands that a client has not acknowledged; it is within
// the receive maximum that clients of level 5 have by default.
const maxUnacked = 64

// packetIDLocked gives a packet id that is free. Ids go on from one connection to
// the next, as clients may acknowledge on the new one what the old one brought.
func (c *conn) packetIDLocked() uint16 {
	for {
		id := uint16(c.s.packetIDs.Add(1))
		if _, used := c.commands[id]; id != 0 && !used {
			return id
		}
	}
}

// takeCommand returns the lock of the command that a packet id was for.
func (c *conn) takeCommand(id uint16) (lock string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lock, ok = c.commands[id]
	delete(c.commands, id)
	return lock, ok
}

// appendCommandBag writes a command's properties for a topic: system properties
// first and encoded, as Java reads the bag from the first %24 on. A pair without a
// value costs a client of Java's its connection and is left out there.
func appendCommandBag(dst []byte, id identity, props []ingest.Property, java bool) []byte {
	to := "/devices/" + id.device
	if id.module != "" {
		to += "/modules/" + id.module
	}
	to += "/messages/deviceBound"
	bag := ingest.AppendBag(nil, ingest.Property{Key: "$.to", Value: to})
	for _, system := range []bool{true, false} {
		for _, p := range props {
			if _, is := ingest.SystemName(p.Key); is != system || p.Key == "$.to" || java && p.Value == "" {
				continue
			}
			bag = ingest.AppendBag(bag, p)
		}
	}
	return append(dst, bag...)
}

// isJava recognises the SDK for Java by its agent (azure-iot-wire 14).
func isJava(agent string) bool { return strings.HasPrefix(agent, "com.microsoft.azure.sdk.iot") }

// appendPublish1 writes a QoS 1 PUBLISH without properties.
func appendPublish1(dst []byte, level byte, id uint16, topic, body []byte) []byte {
	n := 4 + len(topic) + len(body)
	if level == level5 {
		n++
	}
	dst = append(dst, typePublish<<4|2)
	dst = appendVarint(dst, n)
	dst = appendU16(dst, uint16(len(topic)))
	dst = append(dst, topic...)
	dst = appendU16(dst, id)
	if level == level5 {
		dst = append(dst, 0)
	}
	return append(dst, body...)
}
