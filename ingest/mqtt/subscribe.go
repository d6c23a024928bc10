package mqtt

import "strings"

var errSubscriptionID = &breach{errProtocol.reason, codeSubscriptionID, "subscription_identifier"}

// requestHead reads what SUBSCRIBE and UNSUBSCRIBE begin with.
func (c *conn) requestHead(kind, flags byte, d *decoder) (uint16, error) {
	id := d.u16()
	if flags != 2 || d.bad {
		return 0, errMalformed
	}
	if id == 0 {
		return 0, errPacketID
	}
	if c.level == level5 {
		p, err := d.properties(propsOf(kind))
		if err != nil {
			return 0, err
		}
		if p.has(propSubscriptionID) {
			return 0, errSubscriptionID
		}
	}
	if len(d.b) == 0 {
		return 0, errProtocol
	}
	return id, nil
}

func (c *conn) handleSubscribe(flags byte, b []byte) error {
	d := decoder{b: b}
	id, err := c.requestHead(typeSubscribe, flags, &d)
	if err != nil {
		return err
	}
	var codes []byte
	before := c.features()
	for len(d.b) > 0 {
		filter := string(d.text())
		opts := d.u8()
		if d.bad || filter == "" || !c.validOptions(opts) {
			return errMalformed
		}
		if len(codes) == maxFilters {
			return errProtocol
		}
		codes = append(codes, c.subscribe(filter, min(opts&3, 1)))
	}
	c.answer(typeSuback, id, codes)
	c.announce(before)
	return nil
}

// validOptions checks the options byte of a filter: level 4 has the QoS alone.
func (c *conn) validOptions(opts byte) bool {
	if opts&3 == 3 {
		return false
	}
	if c.level == level5 {
		return opts&0xc0 == 0 && opts>>4&3 != 3
	}
	return opts&^3 == 0
}

// subscribe adds a filter and returns its code for SUBACK.
func (c *conn) subscribe(filter string, qos byte) byte {
	kind, prefix := c.id.parseFilter(filter)
	code := byte(codeTopicFilter)
	switch {
	case kind == filterForeign:
		c.s.metrics.refuse("foreign_filter")
		code = codeNotAuthorized
	case kind == filterUnknown:
		c.s.metrics.refuse("unknown_filter")
		if strings.HasPrefix(filter, "$share/") {
			code = codeShared
		}
	default:
		usual := c.id.usualPrefix(kind)
		c.mu.Lock()
		c.subs.add(kind, prefix, usual)
		if qos == 0 {
			c.subs.qos0 |= 1 << kind
		}
		c.mu.Unlock()
		return qos
	}
	if c.level != level5 {
		return codeUnspecified
	}
	return code
}

// usualPrefix is the prefix of a filter's topics when nothing in it is encoded.
func (id identity) usualPrefix(k filterKind) string {
	switch k {
	case filterTwinRes:
		return topicTwinRes
	case filterDesired:
		return topicDesired
	case filterMethods:
		return topicMethods
	case filterDevicebound:
		return "devices/" + id.device + "/messages/devicebound/"
	case filterInputs:
		return "devices/" + id.device + "/modules/" + id.module + "/inputs/"
	case filterModule:
		return "devices/" + id.device + "/modules/" + id.module + "/"
	case filterModuleDevicebound:
		return "devices/" + id.device + "/modules/" + id.module + "/messages/devicebound/"
	}
	return ""
}

func (c *conn) handleUnsubscribe(flags byte, b []byte) error {
	d := decoder{b: b}
	id, err := c.requestHead(typeUnsubscribe, flags, &d)
	if err != nil {
		return err
	}
	var codes []byte
	before := c.features()
	for len(d.b) > 0 {
		filter := string(d.text())
		if d.bad || filter == "" {
			return errMalformed
		}
		if len(codes) == maxFilters {
			return errProtocol
		}
		code := byte(codeNoSubscription)
		kind, _ := c.id.parseFilter(filter)
		c.mu.Lock()
		if kind > filterForeign && c.subs.has(kind) {
			c.subs.remove(kind)
			code = codeSuccess
		}
		c.mu.Unlock()
		codes = append(codes, code)
	}
	if c.level != level5 {
		codes = nil
	}
	c.answer(typeUnsuback, id, codes)
	c.announce(before)
	return nil
}

// answer sends SUBACK or UNSUBACK.
func (c *conn) answer(kind byte, id uint16, codes []byte) {
	n := 2 + len(codes)
	if c.level == level5 {
		n++
	}
	p := append(make([]byte, 0, 3+n), kind<<4)
	p = appendVarint(p, n)
	p = appendU16(p, id)
	if c.level == level5 {
		p = append(p, 0)
	}
	c.send(append(p, codes...))
}
