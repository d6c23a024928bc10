package mqtt

import (
	"strconv"

	"github.com/gemello/gemello/ingest"
)

// methodCalls remembers which methods a client was asked, so that a client that
// answers what nobody asked is stopped at its own connection. It is a ring: the
// hub has given up on the oldest when the ring comes round.
type methodCalls struct {
	rids [maxMethodCalls]string
	next int
}

// maxMethodCalls is above what the hub keeps in flight for one device.
const maxMethodCalls = 128

// maxStrays is how many answers to no call a client may send in a row: a few come
// too late, and more take the time of others.
const maxStrays = 256

func (m *methodCalls) add(rid string) {
	m.rids[m.next] = rid
	m.next = (m.next + 1) % len(m.rids)
}

// take tells whether rid was asked and not answered yet.
func (m *methodCalls) take(rid string) bool {
	if m == nil || rid == "" {
		return false
	}
	for i := range m.rids {
		if m.rids[i] == rid {
			m.rids[i] = ""
			return true
		}
	}
	return false
}

// Method implements ingest.Session.
func (c *conn) Method(rid, name string, payload []byte) bool {
	if len(payload) == 0 {
		payload = []byte("null") // Node takes an empty request for a broken one
	}
	topic := make([]byte, 0, 64)
	topic = append(topic, topicMethods...)
	topic = appendMethodName(topic, name)
	topic = append(topic, "/?$rid="...)
	topic = append(topic, rid...)
	sent := c.sendMethod(rid, topic, payload)
	outcome := "dropped"
	if sent {
		outcome = "sent"
	}
	c.s.metrics.methods.WithLabelValues(outcome).Inc()
	return sent
}

func (c *conn) sendMethod(rid string, topic, payload []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.s.limits
	switch {
	case !c.attached, !c.subs.has(filterMethods), len(topic) > maxTopic:
		return false
	case c.outItems >= l.OutboundPackets, len(c.out)+c.inWrite+len(topic)+len(payload)+16 > l.OutboundBytes:
		return false // who calls a device that reads slowly shall not cost it its connection
	case !c.publishLocked(topic, payload):
		return false
	}
	if c.methods == nil {
		c.methods = &methodCalls{}
	}
	c.methods.add(rid)
	return true
}

// appendMethodName percent-encodes a method's name. What encodeURIComponent
// leaves stays literal, the * between component and command above all: some
// clients hand the name to the application undecoded.
func appendMethodName(dst []byte, name string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(name); i++ {
		switch b := name[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9',
			b == '-', b == '_', b == '.', b == '!', b == '~', b == '*', b == '\'', b == '(', b == ')':
			dst = append(dst, b)
		default:
			dst = append(dst, '%', hex[b>>4], hex[b&15])
		}
	}
	return dst
}

// methodResponse takes $iothub/methods/res/STATUS. It is acknowledged whatever it
// holds: a client that gets no PUBACK would send it again for ever.
func (c *conn) methodResponse(rid string, status []byte, p publication) error {
	if err := c.settle(p, codeSuccess); err != nil {
		return err
	}
	c.mu.Lock()
	asked := c.methods.take(rid)
	c.mu.Unlock()
	if !asked {
		c.s.metrics.refuse("unexpected_method_response")
		if c.strays++; c.strays > maxStrays {
			return errStrays
		}
		return nil
	}
	c.strays = 0
	n, err := strconv.ParseInt(string(status), 10, 32)
	if err != nil {
		// The caller learns that the answer is unfit: no JSON is empty of tokens.
		c.s.metrics.refuse("method_status")
		c.link.MethodResponse(rid, 0, []byte("?"))
		return nil
	}
	c.link.MethodResponse(rid, int(n), append(make([]byte, 0, len(p.body)), p.body...))
	return nil
}

// featureSet has a bit for each ingest.Feature.
type featureSet uint8

// features are those that the client's subscriptions ask for.
func (c *conn) features() (f featureSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs.has(filterMethods) {
		f |= 1 << ingest.FeatureMethods
	}
	if c.subs.has(filterDevicebound) || c.subs.has(filterModule) || c.subs.has(filterModuleDevicebound) {
		f |= 1 << ingest.FeatureCommands
	}
	return f
}

// announce tells the hub what has changed since before.
func (c *conn) announce(before featureSet) {
	now := c.features()
	for f := range ingest.Features {
		if bit := featureSet(1) << f; (before^now)&bit != 0 {
			c.link.Ready(f, now&bit != 0)
		}
	}
}
