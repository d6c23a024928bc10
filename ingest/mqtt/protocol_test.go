package mqtt

import (
	"testing"

	"github.com/gemello/gemello/ingest"
)

// Each breach ends its connection with its reason and nobody else's.
func TestBreachesEndTheConnection(t *testing.T) {
	pub := func(level, flags byte, topic string, id uint16, props []byte) []byte {
		return (&client{level: level}).publishPacket(flags, topic, id, props, "x")
	}
	tests := []struct {
		rule   string
		b      []byte
		level  byte
		reason ingest.Reason
		label  string
		code   byte // at level 5
	}{
		{"second CONNECT", hello{}.packet(), 4, ingest.ReasonProtocol, "second_connect", 0},
		{"CONNACK from a client", []byte{0x20, 2, 0, 0}, 4, ingest.ReasonProtocol, "protocol_error", 0},
		{"type 0", []byte{0, 0}, 4, ingest.ReasonProtocol, "protocol_error", 0},
		{"AUTH", []byte{0xf0, 0}, 5, ingest.ReasonProtocol, "protocol_error", codeProtocol},
		{"QoS 2", pub(4, 4, events, 1, nil), 4, ingest.ReasonProtocol, "qos_2", 0},
		{"QoS 2 at level 5", pub(5, 4, events, 1, nil), 5, ingest.ReasonProtocol, "qos_2", codeQoS},
		{"QoS 3", pub(4, 6, events, 1, nil), 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"DUP with QoS 0", pub(4, 8, events, 1, nil), 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"packet id 0", pub(4, 2, events, 0, nil), 4, ingest.ReasonProtocol, "packet_id_zero", 0},
		{"PUBACK of packet id 0", []byte{0x40, 2, 0, 0}, 4, ingest.ReasonProtocol, "packet_id_zero", 0},
		{"PUBREL", []byte{0x62, 2, 0, 1}, 4, ingest.ReasonProtocol, "protocol_error", 0},
		{"foreign topic", pub(4, 2, "devices/e/messages/events/", 1, nil), 4, ingest.ReasonForbidden, "foreign_topic", 0},
		{"foreign topic at level 5", pub(5, 2, "devices/e/messages/events/", 1, nil), 5, ingest.ReasonForbidden, "foreign_topic", codeNotAuthorized},
		{"foreign topic with QoS 0", pub(4, 0, "devices/d/modules/m/messages/events/", 0, nil), 4, ingest.ReasonForbidden, "foreign_topic", 0},
		{"unknown topic", pub(4, 2, "a/b", 1, nil), 4, ingest.ReasonProtocol, "unknown_topic", 0},
		{"twin request without id", pub(4, 0, "$iothub/twin/GET/", 0, nil), 4, ingest.ReasonProtocol, "unknown_topic", 0},
		{"empty topic", pub(4, 2, "", 1, nil), 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"topic alias", pub(5, 2, "", 1, []byte{propTopicAlias, 0, 1}), 5, ingest.ReasonProtocol, "topic_alias", codeTopicAlias},
		{"topic is not UTF-8", pub(4, 2, events+"a=\xff", 1, nil), 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"topic with U+0000", pub(4, 2, events+"a=\x00", 1, nil), 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"topic longer than the packet", []byte{0x32, 4, 0xff, 0xff, 'a', 'b'}, 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"PUBLISH without packet id", []byte{0x32, 3, 0, 1, 'a'}, 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"properties longer than the packet", []byte{0x30, 5, 0, 1, 'a', 0x7f, 0}, 5, ingest.ReasonProtocol, "malformed_packet", codeMalformed},
		{"remaining length of five bytes", []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f}, 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"QoS 0 that is too large", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 4, ingest.ReasonTooLarge, "packet_too_large", 0},
		{"large SUBSCRIBE", []byte{0x82, 0x80, 0x80, 0x08}, 4, ingest.ReasonTooLarge, "packet_too_large", 0},
		{"SUBSCRIBE with bad flags", frame(0x80, []byte{0, 1}, str("#"), []byte{0}), 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"SUBSCRIBE to nothing", frame(0x82, []byte{0, 1}), 4, ingest.ReasonProtocol, "protocol_error", 0},
		{"SUBSCRIBE with packet id 0", frame(0x82, []byte{0, 0}, str("#"), []byte{0}), 4, ingest.ReasonProtocol, "packet_id_zero", 0},
		{"SUBSCRIBE with QoS 3", frame(0x82, []byte{0, 1}, str("#"), []byte{3}), 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"SUBSCRIBE with options of level 5", frame(0x82, []byte{0, 1}, str("#"), []byte{4}), 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"SUBSCRIBE without options", frame(0x82, []byte{0, 1}, str("#")), 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"SUBSCRIBE with an empty filter", frame(0x82, []byte{0, 1}, str(""), []byte{0}), 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"subscription identifier", frame(0x82, []byte{0, 1, 2, propSubscriptionID, 1}, str("#"), []byte{0}), 5, ingest.ReasonProtocol, "subscription_identifier", codeSubscriptionID},
		{"PINGREQ with a body", []byte{0xc0, 1, 0}, 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"DISCONNECT with a body", []byte{0xe0, 1, 0}, 4, ingest.ReasonProtocol, "malformed_packet", 0},
		{"session expiry that was none", frame(0xe0, []byte{0}, block([]byte{propSessionExpiry, 0, 0, 0, 9})), 5, ingest.ReasonProtocol, "protocol_error", codeProtocol},
	}
	f := start(t, Limits{})
	other, _ := f.connect(hello{id: "other"})
	f.link()
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			f.T, other.f.T = t, t
			before := f.metric("refused_total", tt.label)
			c, _ := f.connect(hello{level: tt.level})
			l := f.link()
			c.write(tt.b)
			if code := c.closed(); code != tt.code {
				t.Errorf("DISCONNECT %#x, want %#x", code, tt.code)
			}
			if e := take(f, l.ended, "end"); e.reason != tt.reason {
				t.Errorf("reason %v, want %v", e.reason, tt.reason)
			}
			if got := f.metric("refused_total", tt.label); got != before+1 {
				t.Errorf("refused_total{%s} rose by %v", tt.label, got-before)
			}
			if len(l.published) > 0 {
				t.Error("the hub got a message")
			}
			other.ping()
		})
	}
}

func TestUnknownPubackIsCountedOnly(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	c.write([]byte{0x40, 2, 0, 7})
	c.ping()
	if got := f.metric("refused_total", "unknown_puback"); got != 1 {
		t.Errorf("counted %v", got)
	}
}

func TestPacketsMayComeInAnyPieces(t *testing.T) {
	f := start(t, Limits{})
	c := f.dial()
	all := hello{}.packet()
	all = append(all, c.publishPacket(2, events+"a=b", 1, nil, "body")...)
	all = append(all, 0xc0, 0)
	all = append(all, c.publishPacket(2, events, 2, nil, "")...)
	for i := range all {
		c.write(all[i : i+1])
	}
	c.expect(typeConnack)
	c.acked(1)
	c.expect(typePingresp)
	c.acked(2)
	l := f.link()
	if m := take(f, l.published, "message"); string(m.Body) != "body" || m.Bag != "a=b" {
		t.Errorf("message %q %q", m.Body, m.Bag)
	}
	if m := take(f, l.published, "message"); len(m.Body) != 0 || m.Bag != "" {
		t.Errorf("message %q %q", m.Body, m.Bag)
	}
}

func TestPacketsBehindConnectNeedNotWait(t *testing.T) {
	f := start(t, Limits{})
	c := f.dial()
	c.write(hello{}.packet(), c.publishPacket(2, events, 1, nil, "early"), []byte{0xe0, 0})
	c.expect(typeConnack)
	if m := take(f, f.link().published, "message"); string(m.Body) != "early" {
		t.Errorf("body %q", m.Body)
	}
}

// Whatever bytes come, the server answers or closes and does not panic.
func FuzzPackets(f *testing.F) {
	for _, level := range []byte{4, 5} {
		c := &client{level: level}
		connect := hello{level: level, password: "t", will: events}.packet()
		f.Add(connect)
		f.Add(append(connect, c.publishPacket(2, events+"a=b", 1, nil, "x")...))
		f.Add(append(connect, c.publishPacket(2, "$iothub/twin/GET/?$rid=1", 1, nil, "x")...))
		f.Add(append(connect, frame(0x82, []byte{0, 1}, str("$iothub/twin/res/#"), []byte{0})...))
		f.Add(append(connect, frame(0xe0, []byte{0}, block([]byte{propSessionExpiry, 0, 0, 0, 9}))...))
	}
	s := New(Options{Hub: ackHub{}})
	f.Fuzz(func(t *testing.T, b []byte) {
		nc := &bytesConn{in: b}
		c := newConn(s, nc)
		packet, err := c.firstPacket()
		if err != nil {
			return
		}
		msg, err := decodeConnect(packet)
		if err != nil {
			return
		}
		cred, err := msg.identify()
		if err != nil {
			return
		}
		c.clientID, c.id, c.level = msg.clientID, identity{cred.DeviceID, cred.ModuleID}, msg.level
		c.maxOut, c.link = 1<<20, ackLink{}
		if _, err := msg.will(c.id); err != nil {
			return
		}
		msg.connack(nil, false, &s.limits)
		if b := c.serve(); b == nil {
			t.Fatal("the end of the stream had no reason")
		}
	})
}
