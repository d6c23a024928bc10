package mqtt

import (
	"strings"

	"github.com/gemello/gemello/ingest"
)

// connect is a decoded CONNECT.
type connect struct {
	level       byte
	clean       bool
	keepAlive   uint16 // seconds, 0 is none
	clientID    string
	userName    string
	hasUser     bool
	password    string
	props       properties
	hasWill     bool
	willTopic   []byte
	willPayload []byte
	willFlags   byte // of the PUBLISH that the will becomes
	willProps   properties
}

// decodeConnect reads the body of a CONNECT. The error is a *refusal when there
// is something to answer (c.level is set) and a *breach when there is not.
func decodeConnect(b []byte) (c connect, err error) {
	d := decoder{b: b}
	name := d.text()
	c.level = d.u8()
	switch {
	case d.bad:
		return c, errMalformed
	case string(name) == "MQIsdp":
		c.level = level311
		return c, refuseLevel
	case string(name) != "MQTT":
		return c, errMalformed
	case c.level != level311 && c.level != level5:
		if c.level > level5 {
			c.level = level5
		} else {
			c.level = level311
		}
		return c, refuseLevel
	}
	flags := d.u8()
	c.keepAlive = d.u16()
	if d.bad || flags&1 != 0 {
		return c, errMalformed
	}
	if c.level == level5 {
		if c.props, err = d.properties(propsOf(typeConnect)); err != nil {
			return c, err
		}
		if c.props.has(propAuthData) && !c.props.has(propAuthMethod) {
			return c, errProtocol
		}
	}
	c.clean = flags&0x02 != 0
	c.clientID = string(d.text())
	if err := c.decodeWill(&d, flags); err != nil {
		return c, err
	}
	c.hasUser = flags&0x80 != 0
	if c.hasUser {
		c.userName = string(d.text())
	}
	if flags&0x40 != 0 {
		if !c.hasUser && c.level == level311 {
			return c, errMalformed
		}
		c.password = string(d.bytes())
	}
	if d.bad || len(d.b) > 0 {
		return c, errMalformed
	}
	if c.props.has(propAuthMethod) {
		return c, refuseAuthMethod
	}
	return c, nil
}

func (c *connect) decodeWill(d *decoder, flags byte) (err error) {
	qos := flags >> 3 & 3
	if c.hasWill = flags&0x04 != 0; !c.hasWill {
		if flags&0x38 != 0 {
			return errMalformed
		}
		return nil
	}
	if qos == 3 {
		return errMalformed
	}
	if c.level == level5 {
		if c.willProps, err = d.properties(propsOfWill()); err != nil {
			return err
		}
	}
	c.willTopic = d.text()
	c.willPayload = d.bytes()
	if qos == 2 {
		qos = 1
	}
	c.willFlags = qos<<1 | flags>>5&1
	return nil
}

// identify derives whom the client claims to be. The client id is the
// authority; the user name must agree with it.
func (c *connect) identify() (ingest.Credentials, error) {
	var cred ingest.Credentials
	var module bool
	cred.DeviceID, cred.ModuleID, module = strings.Cut(c.clientID, "/")
	if !validID(cred.DeviceID) || module && !validID(cred.ModuleID) {
		return cred, refuseClientID
	}
	if !c.hasUser {
		return cred, refuseUserName
	}
	host, rest, ok := strings.Cut(c.userName, "/")
	if !ok || host == "" {
		return cred, refuseUserName
	}
	query, ok := strings.CutPrefix(rest, c.clientID)
	if !ok {
		return cred, refuseMismatch
	}
	switch {
	case query == "", query == "/":
		query = ""
	case strings.HasPrefix(query, "/?"):
		query = query[2:]
	case strings.HasPrefix(query, "?"):
		query = query[1:]
	case strings.HasPrefix(query, "/api-version="):
		query = query[1:]
	default:
		return cred, refuseMismatch
	}
	cred.Host = host
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		switch k, v, _ := strings.Cut(pair, "="); k {
		case "model-id":
			cred.ModelID = ingest.Unescape(v)
		case "DeviceClientType":
			cred.Agent = ingest.Unescape(v)
		}
	}
	cred.Token = c.password
	return cred, nil
}

// will builds the telemetry that the will stands for; nil without a will.
func (c *connect) will(id identity) (*ingest.Message, error) {
	if !c.hasWill {
		return nil, nil
	}
	t := id.parseTopic(c.willTopic)
	if t.kind != topicTelemetry || len(c.willTopic) > maxTopic {
		return nil, refuseWill
	}
	extra := []ingest.Property{{Key: "iothub-MessageType", Value: "Will"}}
	bag, size, err := buildBag(string(t.arg), c.willFlags&1 != 0, &c.willProps, extra)
	if err != nil || size+len(c.willPayload) > ingest.MaxMessage {
		return nil, refuseWill
	}
	return &ingest.Message{Body: append([]byte(nil), c.willPayload...), Bag: bag}, nil
}

// connack builds the answer to a CONNECT that was accepted.
func (c *connect) connack(dst []byte, present bool, l *Limits) []byte {
	flags := byte(0)
	if present {
		flags = 1
	}
	if c.level != level5 {
		return append(dst, typeConnack<<4, 2, flags, connAccepted)
	}
	props := append(make([]byte, 0, 64), propReceiveMaximum)
	props = appendU16(props, uint16(l.ReceiveMaximum))
	props = append(props, propMaximumQoS, 1)
	props = append(props, propMaximumPacket)
	props = appendU32(props, maxPacket)
	props = append(props, propSubscriptionIDs, 0, propSharedSubscripts, 0)
	if granted := c.sessionExpiry(l); granted != c.props.sessionExpiry {
		props = append(props, propSessionExpiry)
		props = appendU32(props, granted)
	}
	if ka := c.grantedKeepAlive(); ka != int(c.keepAlive) {
		props = append(props, propServerKeepAlive)
		props = appendU16(props, uint16(ka))
	}
	dst = append(dst, typeConnack<<4)
	dst = appendVarint(dst, 2+len(appendVarint(nil, len(props)))+len(props))
	dst = append(dst, flags, codeSuccess)
	dst = appendVarint(dst, len(props))
	return append(dst, props...)
}

func appendRefusal(dst []byte, level byte, r *refusal) []byte {
	if level == level5 {
		return append(dst, typeConnack<<4, 3, 0, r.v5, 0)
	}
	return append(dst, typeConnack<<4, 2, 0, r.v3)
}

// sessionExpiry is how many seconds the session lives on after its connection;
// forever for MQTT 3.1.1 without CleanSession.
func (c *connect) sessionExpiry(l *Limits) uint32 {
	if c.level != level5 {
		if c.clean {
			return 0
		}
		return forever
	}
	return min(c.props.sessionExpiry, uint32(l.SessionExpiry.Seconds()))
}

// maxKeepAlive in seconds holds also for clients that ask for no keep-alive, or
// dead connections would pile up. 1.5 times this is 1767 s, the silence that
// the SDKs are used to.
const maxKeepAlive = 1178

func (c *connect) grantedKeepAlive() int {
	if c.keepAlive == 0 || c.keepAlive > maxKeepAlive {
		return maxKeepAlive
	}
	return int(c.keepAlive)
}
