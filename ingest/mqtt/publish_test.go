package mqtt

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/ingest"
)

const events = "devices/d/messages/events/"

func TestPubackFollowsTheHubsAnswer(t *testing.T) {
	f := start(t, Limits{})
	f.hub.hold.Store(true)
	c, _ := f.connect(hello{})
	l := f.link()
	c.publish(2, events+"%24.ct=application%2Fjson", 1, "one")
	m := take(f, l.published, "message")
	if string(m.Body) != "one" || m.Bag != "%24.ct=application%2Fjson" {
		t.Errorf("message %q %q", m.Body, m.Bag)
	}
	c.ping() // the answer to this would stand behind a PUBACK
	m.done(nil)
	c.acked(1)
	if got := f.metric("messages_received_total", "1"); got != 1 {
		t.Errorf("%v received", got)
	}
}

func TestPubacksKeepTheOrderOfTheMessages(t *testing.T) {
	f := start(t, Limits{})
	f.hub.hold.Store(true)
	c, _ := f.connect(hello{})
	l := f.link()
	var calls []publishCall
	for id := uint16(1); id <= 5; id++ {
		c.publish(2, events, id, "x")
		calls = append(calls, take(f, l.published, "message"))
	}
	for _, i := range []int{4, 2, 0} {
		calls[i].done(nil)
	}
	c.acked(1)
	c.ping()
	calls[1].done(nil)
	c.acked(2)
	c.acked(3)
	calls[3].done(nil)
	calls[3].done(nil) // a second call changes nothing
	c.acked(4)
	c.acked(5)
}

func TestMessagesAreTheHubsOwn(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	for i := range 50 {
		body := strings.Repeat(fmt.Sprint(i%10), 100)
		c.publish(2, events+fmt.Sprintf("n=%d", i), 1, body)
		c.acked(1)
	}
	for i := range 50 {
		m := take(f, l.published, "message")
		if want := strings.Repeat(fmt.Sprint(i%10), 100); string(m.Body) != want || m.Bag != fmt.Sprintf("n=%d", i) {
			t.Fatalf("message %d is %q %q", i, m.Body, m.Bag)
		}
		if cap(m.Body) != len(m.Body) {
			t.Fatalf("message %d has capacity %d for %d bytes", i, cap(m.Body), len(m.Body))
		}
	}
}

func TestBagIsStoredAsSent(t *testing.T) {
	f := start(t, Limits{})
	dev, _ := f.connect(hello{})
	devLink := f.link()
	mod, _ := f.connect(hello{id: "d/m"})
	modLink := f.link()
	tests := []struct {
		rule, topic string
		flags       byte
		want        string
	}{
		{"none", "devices/d/messages/events/", 2, ""},
		{"plain system keys stay plain", "devices/d/messages/events/$.mid=1&$.cdid=d", 2, "$.mid=1&$.cdid=d"},
		{"? and / are dropped", "devices/d/messages/events/?a=b/", 2, "a=b"},
		{"plus stays", "devices/d/messages/events/a=b+c", 2, "a=b+c"},
		{"retain becomes a property", "devices/d/messages/events/a=b", 3, "a=b&mqtt-retain=true"},
		{"retain without bag", "devices/d/messages/events/", 3, "mqtt-retain=true"},
		{"module with /", "devices/d/modules/m/messages/events/%24.on=out/", 2, "%24.on=out"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			f.T = t
			c, l := dev, devLink
			if strings.Contains(tt.topic, "modules") {
				c, l = mod, modLink
			}
			c.publish(tt.flags, tt.topic, 9, "b")
			c.acked(9)
			if m := take(f, l.published, "message"); m.Bag != tt.want {
				t.Errorf("bag %q, want %q", m.Bag, tt.want)
			}
		})
	}
}

func TestQoS0IsTakenWithoutAnswer(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	c.publish(0, events, 0, "zero")
	if m := take(f, f.link().published, "message"); string(m.Body) != "zero" {
		t.Errorf("body %q", m.Body)
	}
	c.ping()
}

func TestLargestMessageGoesThrough(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	body := strings.Repeat("x", ingest.MaxMessage-6)
	for range 3 { // also behind and before small ones
		c.write(c.publishPacket(2, events+"key=val", 1, nil, body), c.publishPacket(2, events, 2, nil, "small"))
		c.acked(1)
		c.acked(2)
		if m := take(f, l.published, "message"); string(m.Body) != body {
			t.Fatalf("body of %d bytes", len(m.Body))
		}
		if m := take(f, l.published, "message"); string(m.Body) != "small" {
			t.Fatalf("body %.20q", m.Body)
		}
	}
}

func TestFailureOfTheHubClosesWithoutPuback(t *testing.T) {
	f := start(t, Limits{})
	f.hub.hold.Store(true)
	c, _ := f.connect(hello{})
	l := f.link()
	c.publish(2, events, 1, "x")
	c.publish(2, events, 2, "y")
	first, second := take(f, l.published, "message"), take(f, l.published, "message")
	first.done(errors.New("log is away"))
	second.done(nil)
	c.closed()
	if e := take(f, l.ended, "end"); e.reason != ingest.ReasonBusy {
		t.Errorf("reason %v", e.reason)
	}
}

// Whoever gets a message refused for good is told once and not kept in a loop
// of sending it again.
func TestRefusedForGood(t *testing.T) {
	huge := strings.Repeat("x", ingest.MaxMessage+1)
	enormous := strings.Repeat("x", maxPacket+1)
	tests := []struct {
		rule, topic, body string
		hubSays           error
		reason            ingest.Reason
		code              byte // of PUBACK at level 5, 0 for a close
	}{
		{"message too large", events, huge, nil, ingest.ReasonTooLarge, codeQuota},
		{"properties count", events + "a=b", huge[:ingest.MaxMessage-1], nil, ingest.ReasonTooLarge, codeQuota},
		{"packet too large", events, enormous, nil, ingest.ReasonTooLarge, 0},
		{"topic too large", events + "a=" + huge[:maxTopic], "x", nil, ingest.ReasonTooLarge, codeQuota},
		{"bad escape", events + "a=%zz", "x", nil, ingest.ReasonProtocol, codePayloadFormat},
		{"refused by the hub as invalid", events, "x", fmt.Errorf("no: %w", ingest.ErrInvalid), ingest.ReasonProtocol, codePayloadFormat},
		{"refused by the hub as too large", events, "x", ingest.ErrTooLarge, ingest.ReasonTooLarge, codeQuota},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			f := start(t, Limits{})
			f.hub.hold.Store(tt.hubSays != nil)
			answer := func(l *fakeLink) {
				if tt.hubSays != nil {
					take(f, l.published, "message").done(tt.hubSays)
				}
			}
			// A large body may meet a closed socket.
			send := func(c *client, flags byte) { c.nc.Write(c.publishPacket(flags, tt.topic, 3, nil, tt.body)) }

			c, _ := f.connect(hello{})
			l := f.link()
			send(c, 2)
			answer(l)
			c.closed()
			if e := take(f, l.ended, "end"); e.reason != tt.reason {
				t.Errorf("level 4: %v, want %v", e.reason, tt.reason)
			}

			c, _ = f.connect(hello{})
			l = f.link()
			send(c, 2|8)
			answer(l)
			c.acked(3)
			c.ping()
			c.publish(2, events, 4, "next")
			answer(l)
			if tt.hubSays == nil {
				c.acked(4)
			}

			c, _ = f.connect(hello{level: 5, id: "d"})
			l = f.link()
			send(c, 2)
			answer(l)
			if tt.code == 0 {
				if code := c.closed(); code != codePacketTooLarge {
					t.Errorf("level 5: DISCONNECT %#x", code)
				}
				return
			}
			if code := c.acked(3); code != tt.code {
				t.Errorf("level 5: PUBACK %#x, want %#x", code, tt.code)
			}
		})
	}
}

func TestConnectionIsNotReadWhileTooManyWait(t *testing.T) {
	f := start(t, Limits{InFlight: 4, ReceiveMaximum: 4})
	f.hub.hold.Store(true)
	c, _ := f.connect(hello{})
	l := f.link()
	var all []byte
	for id := uint16(1); id <= 10; id++ {
		all = append(all, c.publishPacket(2, events, id, nil, fmt.Sprint(id))...)
	}
	c.write(all)
	var calls []publishCall
	for range 4 {
		calls = append(calls, take(f, l.published, "message"))
	}
	select {
	case m := <-l.published:
		t.Fatalf("message %q came while four waited", m.Body)
	default:
	}
	for id := uint16(1); id <= 10; id++ {
		calls[0].done(nil)
		calls = calls[1:]
		c.acked(id)
		if id <= 6 {
			calls = append(calls, take(f, l.published, "message"))
		}
	}
}

func TestReceiveMaximumIsEnforcedAtLevel5(t *testing.T) {
	f := start(t, Limits{ReceiveMaximum: 2, InFlight: 8})
	f.hub.hold.Store(true)
	c, _ := f.connect(hello{level: 5})
	for id := uint16(1); id <= 3; id++ {
		c.publish(2, events, id, "x")
	}
	if code := c.closed(); code != codeReceiveMaximum {
		t.Errorf("DISCONNECT %#x", code)
	}
}

func TestLevel5PropertiesJoinTheBag(t *testing.T) {
	user := func(k, v string) []byte { return append(append([]byte{propUser}, str(k)...), str(v)...) }
	ct := append([]byte{propContentType}, str("application/json")...)
	tests := []struct {
		rule, topic string
		props       [][]byte
		want        string
		code        byte
	}{
		{"user properties", events + "a=1", [][]byte{user("b c", "2"), user("b c", "3")}, "a=1&b%20c=2&b%20c=3", 0},
		{"content type", events, [][]byte{ct}, "%24.ct=application%2Fjson", 0},
		{"the topic's content type wins", events + "$.ct=text", [][]byte{ct}, "$.ct=text", 0},
		{"correlation data", events, [][]byte{append([]byte{propCorrelation}, str("c1")...)}, "%24.cid=c1", 0},
		{"binary correlation data", events, [][]byte{append([]byte{propCorrelation}, str("\xff\x00")...)}, "%24.cid=%2FwA%3D", 0},
		{"others are read and dropped", events, [][]byte{{propPayloadFormat, 1}, {propMessageExpiry, 0, 0, 0, 9}, append([]byte{propResponseTopic}, str("r")...)}, "", 0},
		{"user property without name", events, [][]byte{user("", "1")}, "", codePayloadFormat},
		{"too many", events, [][]byte{user("k", strings.Repeat("x", ingest.MaxBag))}, "", codeQuota},
	}
	f := start(t, Limits{})
	c, _ := f.connect(hello{level: 5})
	l := f.link()
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			f.T = t
			var props []byte
			for _, p := range tt.props {
				props = append(props, p...)
			}
			c.write(c.publishPacket(2, tt.topic, 1, props, "x"))
			if code := c.acked(1); code != tt.code {
				t.Fatalf("PUBACK %#x, want %#x", code, tt.code)
			}
			if tt.code == 0 {
				if m := take(f, l.published, "message"); m.Bag != tt.want {
					t.Errorf("bag %q, want %q", m.Bag, tt.want)
				}
			}
		})
	}
}

func TestAnswerToNoMethodIsDropped(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	c.publish(2, "$iothub/methods/res/200/?$rid=1", 5, "{}")
	c.acked(5)
	if got := f.metric("refused_total", "unexpected_method_response"); got != 1 {
		t.Errorf("counted %v", got)
	}
}
