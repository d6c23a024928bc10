package mqtt

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/ingest"
)

const (
	methodFilter = "$iothub/methods/POST/#"
	resTopic     = "$iothub/methods/res/"
)

func TestMethodTopicsAreSpelledForEveryClient(t *testing.T) {
	for _, tt := range []struct{ name, topic string }{
		{"reboot", "reboot"},
		{"thermostat1*getMaxMin", "thermostat1*getMaxMin"},
		{"a b/c?d", "a%20b%2Fc%3Fd"},
		{"50%+1", "50%25%2B1"},
		{"größe", "gr%C3%B6%C3%9Fe"},
		{"$x#", "%24x%23"},
		{"-_.!~'()", "-_.!~'()"},
	} {
		f := start(t, Limits{})
		c, _ := f.connect(hello{})
		l := f.link()
		c.subscribeQoS(0, methodFilter)
		if !l.session.Method("r1", tt.name, []byte(`{"a":1}`)) {
			t.Fatalf("%s was not sent", tt.name)
		}
		if topic, body := c.received(); topic != "$iothub/methods/POST/"+tt.topic+"/?$rid=r1" || body != `{"a":1}` {
			t.Errorf("%s: %s %s", tt.name, topic, body)
		}
	}
}

func TestMethodPayloadsAreExact(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	c.subscribeQoS(0, methodFilter)
	for _, tt := range []struct{ payload, want string }{
		{"", "null"}, {"null", "null"}, {`""`, `""`}, {`"foo"`, `"foo"`}, {"{}", "{}"}, {"[1, 2]", "[1, 2]"},
		{`"` + strings.Repeat("x", 128<<10-2) + `"`, `"` + strings.Repeat("x", 128<<10-2) + `"`},
	} {
		if !l.session.Method("1", "m", []byte(tt.payload)) {
			t.Fatalf("%.20q was not sent", tt.payload)
		}
		if _, body := c.received(); body != tt.want {
			t.Errorf("%.20q arrived as %.20q", tt.payload, body)
		}
	}
}

func TestMethodReachesOnlySubscribers(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	if l.session.Method("1", "m", nil) {
		t.Error("sent to a client that has not subscribed")
	}
	c.subscribeQoS(0, methodFilter)
	if got := take(f, l.ready, "readiness"); got != (readiness{ingest.FeatureMethods, true}) {
		t.Errorf("%+v", got)
	}
	c.subscribeQoS(1, methodFilter) // again: nothing new
	c.write(frame(typeUnsubscribe<<4|2, []byte{0, 9}, str(methodFilter)))
	c.expect(typeUnsuback)
	if got := take(f, l.ready, "readiness"); got != (readiness{ingest.FeatureMethods, false}) {
		t.Errorf("%+v", got)
	}
	if l.session.Method("1", "m", nil) {
		t.Error("sent to a client that has unsubscribed")
	}
	if got := f.metric("method_requests_total", "dropped"); got != 2 {
		t.Errorf("%v counted as dropped", got)
	}
}

func TestResumedSessionIsReadyWithoutSubscribing(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{persist: true})
	f.link()
	c.subscribeQoS(0, methodFilter)
	c.subscribeQoS(0, "devices/d/messages/devicebound/#")
	c.nc.Close()
	f.eventually("the end", func() bool { return f.metric("stored_sessions") == 1 })
	c, _ = f.connect(hello{persist: true})
	l := f.link()
	for _, want := range []ingest.Feature{ingest.FeatureMethods, ingest.FeatureCommands} {
		if got := take(f, l.ready, "readiness"); got != (readiness{want, true}) {
			t.Errorf("%+v", got)
		}
	}
	l.session.Method("1", "m", nil)
	if topic, _ := c.received(); topic != "$iothub/methods/POST/m/?$rid=1" {
		t.Error(topic)
	}
}

func TestMethodAnswersReachTheHub(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	c.subscribeQoS(0, methodFilter)
	for i, tt := range []struct {
		topic, body string
		want        methodReply
	}{
		{"200/?$rid=%s", "{}", methodReply{"", 200, "{}"}},
		{"0/?$rid=%s", "", methodReply{"", 0, ""}},
		{"-12/?$rid=%s", `"foo"`, methodReply{"", -12, `"foo"`}},
		{"2147483647/?$rid=%s&x=1", "null", methodReply{"", 2147483647, "null"}},
		{"2147483648/?$rid=%s", "null", methodReply{"", 0, "?"}},
		{"ok/?$rid=%s", "{}", methodReply{"", 0, "?"}},
		{"/?$rid=%s", "{}", methodReply{"", 0, "?"}},
	} {
		rid := fmt.Sprintf("r%d", i)
		tt.want.rid = rid
		l.session.Method(rid, "m", nil)
		c.received()
		qos := byte(i % 2)
		c.publish(qos<<1, resTopic+fmt.Sprintf(tt.topic, rid), uint16(i)*uint16(qos), tt.body)
		if qos == 1 {
			c.acked(uint16(i))
		}
		if got := take(f, l.replies, "answer"); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.topic, got, tt.want)
		}
	}
}

// What nobody asked is dropped at the connection, however much of it there is.
func TestFloodOfMethodAnswersStopsAtItsConnection(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	c.subscribeQoS(0, methodFilter)
	l.session.Method("asked", "m", nil)
	c.received()
	const flood = maxStrays - 1
	for i := range flood {
		c.publish(0, fmt.Sprintf("%s200/?$rid=%d", resTopic, i), 0, "{}")
	}
	c.publish(0, resTopic+"200/?$rid=", 0, "{}")
	c.publish(0, resTopic+"200/?$rid=asked", 0, "{}")
	c.publish(0, resTopic+"200/?$rid=asked", 0, "{}")
	c.ping()
	if got := take(f, l.replies, "answer"); got.rid != "asked" {
		t.Errorf("%+v", got)
	}
	if n := len(l.replies); n != 0 {
		t.Errorf("%d more answers", n)
	}
	if got := f.metric("refused_total", "unexpected_method_response"); got != flood+2 {
		t.Errorf("%v counted", got)
	}
	// An answer that was asked for has made room for as many more; then it is over.
	for i := range maxStrays {
		c.publish(0, fmt.Sprintf("%s200/?$rid=%d", resTopic, i), 0, "{}")
	}
	c.closed()
	if got := f.metric("refused_total", "method_response_flood"); got != 1 {
		t.Errorf("%v connections ended for it", got)
	}
}

func TestMethodIsNotForcedOnClientThatDoesNotRead(t *testing.T) {
	f := start(t, Limits{OutboundBytes: 16 << 10})
	c, _ := f.connect(hello{})
	l := f.link()
	c.subscribeQoS(0, methodFilter)
	if l.session.Method("1", "m", make([]byte, 16<<10)) {
		t.Error("sent more than may be queued")
	}
	c.ping() // the connection lives
}

func TestOldMethodCallsAreForgotten(t *testing.T) {
	var m methodCalls
	for i := range maxMethodCalls + 1 {
		m.add(fmt.Sprint(i))
	}
	if m.take("0") || !m.take("1") || m.take("1") || !m.take(fmt.Sprint(maxMethodCalls)) {
		t.Error("the ring does not hold the newest calls, each once")
	}
}
