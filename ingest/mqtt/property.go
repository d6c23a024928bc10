package mqtt

import "github.com/gemello/gemello/ingest"

// Identifiers of MQTT 5 properties (table 2-4).
const (
	propPayloadFormat    = 0x01
	propMessageExpiry    = 0x02
	propContentType      = 0x03
	propResponseTopic    = 0x08
	propCorrelation      = 0x09
	propSubscriptionID   = 0x0b
	propSessionExpiry    = 0x11
	propServerKeepAlive  = 0x13
	propAuthMethod       = 0x15
	propAuthData         = 0x16
	propRequestProblem   = 0x17
	propWillDelay        = 0x18
	propRequestResponse  = 0x19
	propReasonString     = 0x1f
	propReceiveMaximum   = 0x21
	propTopicAliasMax    = 0x22
	propTopicAlias       = 0x23
	propMaximumQoS       = 0x24
	propUser             = 0x26
	propMaximumPacket    = 0x27
	propSubscriptionIDs  = 0x29
	propSharedSubscripts = 0x2a
)

// set is the set of properties that a packet may carry, a bit for each
// identifier.
type set uint64

func setOf(ids ...byte) set {
	var s set
	for _, id := range ids {
		s |= 1 << id
	}
	return s
}

// propsOf gives the properties that a client may put into a packet.
func propsOf(kind byte) set {
	switch kind {
	case typeConnect:
		return setOf(propSessionExpiry, propAuthMethod, propAuthData, propRequestProblem,
			propRequestResponse, propReceiveMaximum, propTopicAliasMax, propUser, propMaximumPacket)
	case typePublish:
		return setOf(propPayloadFormat, propMessageExpiry, propContentType, propResponseTopic,
			propCorrelation, propTopicAlias, propUser)
	case typeSubscribe:
		return setOf(propSubscriptionID, propUser)
	case typeUnsubscribe:
		return setOf(propUser)
	case typePuback:
		return setOf(propReasonString, propUser)
	case typeDisconnect:
		return setOf(propSessionExpiry, propReasonString, propUser)
	}
	return 0
}

// propsOfWill are the will's properties in CONNECT.
func propsOfWill() set {
	return setOf(propPayloadFormat, propMessageExpiry, propContentType, propResponseTopic,
		propCorrelation, propWillDelay, propUser)
}

// properties are what this package uses of a packet's properties. Slices point
// into the packet. Absent numbers are zero, seen tells them from a zero.
type properties struct {
	seen          set
	sessionExpiry uint32
	maximumPacket uint32
	willDelay     uint32
	contentType   []byte
	correlation   []byte
	user          []ingest.Property
}

func (p *properties) has(id byte) bool { return p.seen&(1<<id) != 0 }

// properties reads a property block of which only allowed may occur, each once
// but for user properties.
func (d *decoder) properties(allowed set) (p properties, err error) {
	block := decoder{b: d.take(d.varint())}
	if d.bad {
		return p, errMalformed
	}
	for len(block.b) > 0 && !block.bad {
		id := block.varint()
		if id > 0x2a || allowed&(1<<id) == 0 {
			return p, errMalformed
		}
		if id != propUser && p.has(byte(id)) {
			return p, errProtocol
		}
		p.seen |= 1 << id
		switch id {
		case propPayloadFormat, propRequestProblem, propRequestResponse:
			if block.u8() > 1 {
				return p, errProtocol
			}
		case propMessageExpiry:
			block.u32()
		case propSessionExpiry:
			p.sessionExpiry = block.u32()
		case propWillDelay:
			p.willDelay = block.u32()
		case propMaximumPacket:
			if p.maximumPacket = block.u32(); p.maximumPacket == 0 {
				return p, errProtocol
			}
		case propReceiveMaximum:
			if block.u16() == 0 {
				return p, errProtocol
			}
		case propTopicAliasMax, propTopicAlias:
			block.u16()
		case propSubscriptionID:
			if block.varint() == 0 {
				return p, errProtocol
			}
		case propContentType:
			p.contentType = block.text()
		case propResponseTopic, propAuthMethod, propReasonString:
			block.text()
		case propCorrelation:
			p.correlation = block.bytes()
		case propAuthData:
			block.bytes()
		case propUser:
			k, v := block.text(), block.text()
			p.user = append(p.user, ingest.Property{Key: string(k), Value: string(v)})
		}
	}
	if block.bad {
		return p, errMalformed
	}
	return p, nil
}
