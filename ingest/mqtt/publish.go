package mqtt

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"

	"github.com/gemello/gemello/ingest"
)

// handlePublish takes a PUBLISH of the client.
func (c *conn) handlePublish(flags byte, b []byte) error {
	qos, dup, retain := flags>>1&3, flags&8 != 0, flags&1 != 0
	switch {
	case qos == 3, qos == 0 && dup:
		return errMalformed
	case qos == 2:
		return errQoS
	}
	d := decoder{b: b}
	topic := d.bytes()
	id := uint16(0)
	if qos == 1 {
		id = d.u16()
	}
	if d.bad {
		return errMalformed
	}
	if qos == 1 && id == 0 {
		return errPacketID
	}
	var props *properties
	if c.level == level5 {
		if len(d.b) > 0 && d.b[0] == 0 {
			d.b = d.b[1:]
		} else {
			p, err := d.properties(propsOf(typePublish))
			if err != nil {
				return err
			}
			if p.has(propTopicAlias) {
				return errTopicAlias
			}
			props = &p
		}
	}
	if len(topic) == 0 || !isText(topic) {
		return errMalformed
	}
	p := publication{id: id, dup: dup, retain: retain, props: props, body: d.b}
	if len(topic) > maxTopic {
		return c.refuse(errTopicSize, p)
	}
	switch t := c.id.parseTopic(topic); t.kind {
	case topicTelemetry:
		return c.telemetry(t.arg, p)
	case topicTwinGet:
		return c.twinGet(string(t.arg), p)
	case topicTwinPatch:
		return c.twinPatch(string(t.arg), t.version, p)
	case topicMethod:
		return c.methodResponse(string(t.arg), t.status, p)
	case topicForeign:
		return errForeignTopic
	}
	return errUnknownTopic
}

// publication is a PUBLISH without its topic; body points into the packet.
type publication struct {
	id     uint16 // 0 for QoS 0
	dup    bool
	retain bool
	props  *properties
	body   []byte
}

// telemetry hands a message to the hub.
func (c *conn) telemetry(raw []byte, p publication) error {
	raw, _ = cutPrefix(raw, "?")
	raw = bytes.TrimSuffix(raw, []byte("/"))
	bag, size := c.bag, c.bagSize
	if p.retain || p.props != nil || string(raw) != bag {
		var err error
		if bag, size, err = buildBag(string(raw), p.retain, p.props, nil); err != nil {
			if errors.Is(err, ingest.ErrTooLarge) {
				return c.refuse(errTopicSize, p)
			}
			return c.refuse(errBag, p)
		}
		// Most devices send the same properties each time.
		if len(bag) <= maxCachedBag && len(bag) == len(raw) {
			c.bag, c.bagSize = bag, size
		}
	}
	if size+len(p.body) > ingest.MaxMessage {
		return c.refuse(errMessageSize, p)
	}
	seq, err := c.push(entry{id: p.id, dup: p.dup})
	if err != nil {
		return err
	}
	m := c.s.metrics
	m.received[min(p.id, 1)].Inc()
	m.bytes.Add(float64(len(p.body)))
	// The copy is the message's own memory, so that the hub may keep it.
	msg := ingest.Message{Body: append(make([]byte, 0, len(p.body)), p.body...), Bag: bag}
	c.link.Publish(msg, func(err error) { c.complete(seq, err) })
	return nil
}

// maxCachedBag bounds what an idle connection remembers, in bytes.
const maxCachedBag = 256

// push queues a message for its acknowledgement. It blocks while the connection
// has too many in flight: the socket is not read, the client feels it.
func (c *conn) push(e entry) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.queue.n >= c.s.limits.InFlight && !c.closing {
		c.space.Wait()
	}
	if c.closing {
		return 0, errLost
	}
	if e.id != 0 {
		if c.level == level5 && c.qos1 >= c.s.limits.ReceiveMaximum {
			return 0, errReceiveMax
		}
		c.qos1++
	}
	e.start = c.s.now()
	return c.queue.push(e), nil
}

// complete is the hub's answer to a message. PUBACKs leave in the order of the
// messages [MQTT-4.6.0-2].
func (c *conn) complete(seq uint64, err error) {
	c.mu.Lock()
	e := c.queue.at(seq)
	if e == nil || e.done {
		c.mu.Unlock()
		return
	}
	e.done = true
	start := e.start
	if err != nil && !c.closing {
		c.failLocked(e, err)
	}
	c.ackLocked()
	c.mu.Unlock()
	c.s.metrics.ack.Observe((c.s.now() - start).Seconds())
}

// failLocked decides what becomes of a message that the hub refused.
func (c *conn) failLocked(e *entry, err error) {
	b := errHubBusy
	switch {
	case errors.Is(err, ingest.ErrTooLarge):
		b = errMessageSize
	case errors.Is(err, ingest.ErrInvalid):
		b = errRefused
	}
	if b == errHubBusy || !c.mayAnswer(e.id, e.dup) {
		c.closeLocked(b)
		return
	}
	c.s.metrics.refuse(b.label)
	if c.level == level5 {
		e.code = b.code
	}
}

// ackLocked sends the PUBACKs that are due.
func (c *conn) ackLocked() {
	sent := false
	for {
		e, ok := c.queue.pop()
		if !ok {
			break
		}
		if e.id == 0 {
			continue
		}
		c.qos1--
		if !c.closing {
			c.grabLocked()
			c.out = appendAck(c.out, typePuback, e.id, e.code)
			sent = true
		}
	}
	c.space.Signal()
	if sent {
		c.queuedLocked()
	}
}

// settle acknowledges a message that waits for nobody.
func (c *conn) settle(p publication, code byte) error {
	if p.id == 0 {
		return nil
	}
	if _, err := c.push(entry{id: p.id, done: true, code: code}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ackLocked()
	return nil
}

// refuse answers a message that can never be accepted. A client of level 5 is
// told by the reason code of the PUBACK. One of level 4 loses its connection,
// which is all that MQTT 3.1.1 has to say no; clients then send the message
// again, marked as a duplicate, and some would do so for ever, so the
// duplicate is acknowledged and dropped. The counter refused_total has both.
func (c *conn) refuse(b *breach, p publication) error {
	if !c.mayAnswer(p.id, p.dup) {
		return b
	}
	c.s.metrics.refuse(b.label)
	if c.level == level5 {
		return c.settle(p, b.code)
	}
	c.s.log.Warn("mqtt message refused again and dropped", "client", c.clientID, "cause", b.label)
	return c.settle(p, codeSuccess)
}

func (c *conn) mayAnswer(id uint16, dup bool) bool {
	return id != 0 && (c.level == level5 || dup)
}

// pass deals with a packet that is greater than the connection may send, by the
// rule of refuse; b is what has come of it after its fixed header. ok is false
// while too little has come to decide.
func (c *conn) pass(h header, b []byte) (ok bool, err error) {
	if h.kind != typePublish || c.level == level5 || h.flags&0x0e != 0x0a {
		return false, errPacketSize
	}
	d := decoder{b: b}
	d.bytes()
	id := d.u16()
	if d.bad {
		return false, nil
	}
	if id == 0 {
		return false, errPacketID
	}
	return true, c.refuse(errPacketSize, publication{id: id, dup: true})
}

// buildBag makes the canonical bag of a message: what the topic carries, as
// sent, and behind it the MQTT 5 properties and extra. size is what the bag
// counts for in ingest.MessageSize.
func buildBag(raw string, retain bool, p *properties, extra []ingest.Property) (bag string, size int, err error) {
	raw = ingest.TrimBag(raw)
	if size, err = ingest.CheckBag(raw); err != nil {
		return "", 0, err
	}
	var add []ingest.Property
	if retain {
		add = append(add, ingest.Property{Key: "mqtt-retain", Value: "true"})
	}
	if p != nil {
		more, err := fromProperties(raw, p)
		if err != nil {
			return "", 0, err
		}
		add = append(add, more...)
	}
	add = append(add, extra...)
	if len(add) == 0 {
		return raw, size, nil
	}
	b := ingest.AppendBag([]byte(raw), add...)
	if len(b) > ingest.MaxBag {
		return "", 0, ingest.ErrTooLarge
	}
	return string(b), size + ingest.MessageSize(0, add), nil
}

// fromProperties maps MQTT 5 properties to the bag's. What the topic says wins.
// Correlation data that is no text is written as base64.
func fromProperties(raw string, p *properties) ([]ingest.Property, error) {
	have, err := ingest.ParseBag(raw)
	if err != nil {
		return nil, err
	}
	var add []ingest.Property
	system := func(key, value string) {
		if !slices.ContainsFunc(have, func(h ingest.Property) bool { return h.Key == key }) {
			add = append(add, ingest.Property{Key: key, Value: value})
		}
	}
	if p.has(propContentType) {
		system("$.ct", string(p.contentType))
	}
	if p.has(propCorrelation) {
		v := string(p.correlation)
		if !isText(p.correlation) {
			v = base64.StdEncoding.EncodeToString(p.correlation)
		}
		system("$.cid", v)
	}
	for _, u := range p.user {
		if u.Key == "" {
			return nil, ingest.ErrInvalid
		}
		add = append(add, u)
	}
	return add, nil
}
