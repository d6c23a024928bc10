package mqtt

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

const (
	getTopic   = "$iothub/twin/GET/?$rid="
	patchTopic = "$iothub/twin/PATCH/properties/reported/?$rid="
)

func TestTwinIsAnsweredWithoutSubscription(t *testing.T) {
	for _, level := range []byte{4, 5} {
		f := start(t, Limits{})
		c, _ := f.connect(hello{level: level})
		l := f.link()
		const rid = "a%2fB c=1"
		c.publish(0, getTopic+rid, 0, " ")
		take(f, l.twins, "request")([]byte(`{"desired":{}}`), nil)
		if topic, body := c.received(); topic != "$iothub/twin/res/200/?$rid="+rid || body != `{"desired":{}}` {
			t.Errorf("%s: %s", topic, body)
		}
	}
}

func TestTwinGetWithQoS1IsAcknowledgedAtOnce(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	c.subscribeQoS(1, "$iothub/twin/res/#")
	c.publish(2, getTopic+"1", 7, "")
	c.acked(7)
	take(f, f.link().twins, "request")([]byte("{}"), nil)
	c.received()
}

func TestReportedPatchIsAnswered204WithItsVersion(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	c.publish(2, patchTopic+"5&$version=3", 8, `{"a":1}`)
	p := take(f, l.patches, "patch")
	if string(p.patch) != `{"a":1}` || p.ifVersion != 3 {
		t.Errorf("patch %s of version %d", p.patch, p.ifVersion)
	}
	c.ping() // no PUBACK so far
	p.done(42, nil)
	if topic, body := c.received(); topic != "$iothub/twin/res/204/?$rid=5&$version=42" || body != "" {
		t.Errorf("%s: %q", topic, body)
	}
	c.acked(8)
}

func TestReportedPatchMayDependOnAVersion(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	c.publish(2, patchTopic+"1", 1, "{}")
	if p := take(f, l.patches, "patch"); p.ifVersion != 0 {
		t.Errorf("version %d of a patch that names none", p.ifVersion)
	} else {
		p.done(2, nil)
	}
	c.received()
	c.acked(1)
	for _, bad := range []string{"", "x", "0", "-1", "9223372036854775808"} {
		c.publish(2, patchTopic+"2&$version="+bad, 2, "{}")
		if topic, body := c.received(); topic != "$iothub/twin/res/400/?$rid=2" || !strings.Contains(body, "400004") {
			t.Errorf("$version=%s: %s %s", bad, topic, body)
		}
		c.acked(2)
	}
	if len(l.patches) > 0 {
		t.Error("a patch of a bad version reached the hub")
	}
}

func TestTwinErrorsHaveStatusAndCode(t *testing.T) {
	tests := []struct {
		err    error
		status string
		code   int
	}{
		{fmt.Errorf("$x is no name: %w", ingest.ErrInvalid), "400", 400004},
		{ingest.ErrUnauthorized, "401", 401003},
		{ingest.ErrNotFound, "404", 404001},
		{fmt.Errorf("%w: %w", ingest.ErrInvalid, device.ErrFormat), "400", 400006},
		{ingest.ErrPrecondition, "412", 412001},
		{ingest.ErrTooLarge, "413", 413001},
		{ingest.ErrBusy, "429", 429001},
		{errors.New("secret detail"), "500", 500001},
	}
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	for i, tt := range tests {
		rid := fmt.Sprint(i)
		if i%2 == 0 {
			c.publish(0, getTopic+rid, 0, "")
			take(f, l.twins, "request")(nil, tt.err)
		} else {
			c.publish(0, patchTopic+rid, 0, "{}")
			take(f, l.patches, "patch").done(0, tt.err)
		}
		topic, body := c.received()
		var e struct {
			ErrorCode                         int
			TrackingID, Message, TimestampUTC string
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if topic != "$iothub/twin/res/"+tt.status+"/?$rid="+rid || e.ErrorCode != tt.code || e.TrackingID == "" || e.Message == "" {
			t.Errorf("%v: %s %s", tt.err, topic, body)
		}
		if e.TimestampUTC != "2027-01-15T08:00:00.0000000Z" {
			t.Errorf("timestamp %s", e.TimestampUTC)
		}
		if strings.Contains(body, "secret") {
			t.Errorf("inner error shown: %s", body)
		}
	}
}

func TestTwinRequestsAreBounded(t *testing.T) {
	f := start(t, Limits{TwinRequests: 2})
	c, _ := f.connect(hello{})
	l := f.link()
	c.publish(0, getTopic+"1", 0, "")
	c.publish(0, patchTopic+"2", 0, "{}")
	c.publish(0, getTopic+"3", 0, "")
	if topic, _ := c.received(); topic != "$iothub/twin/res/429/?$rid=3" {
		t.Errorf("%s", topic)
	}
	take(f, l.twins, "request")([]byte("{}"), nil)
	c.received()
	take(f, l.patches, "patch").done(1, nil)
	c.received()
	c.publish(0, getTopic+"4", 0, "")
	take(f, l.twins, "request")([]byte("{}"), nil)
	if topic, _ := c.received(); topic != "$iothub/twin/res/200/?$rid=4" {
		t.Errorf("%s", topic)
	}
}

func TestTwinThatDoesNotFitIsTriedAgain(t *testing.T) {
	f := start(t, Limits{OutboundBytes: 10_000})
	c, _ := f.connect(hello{})
	l := f.link()
	c.publish(0, getTopic+"1", 0, "")
	take(f, l.twins, "request")(make([]byte, 10_000), nil)
	if topic, _ := c.received(); topic != "$iothub/twin/res/429/?$rid=1" {
		t.Errorf("%s", topic)
	}
	c.ping()
}

func TestDesiredPatchReachesSubscribersOnly(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	if notified(c, l, 1) {
		t.Fatal("notified without a subscription")
	}
	c.subscribeQoS(1, desiredFilter)
	l.session.DesiredChanged(7, []byte(`{"a":null,"$version":7}`))
	if topic, body := c.received(); topic != "$iothub/twin/PATCH/properties/desired/?$version=7" || body != `{"a":null,"$version":7}` {
		t.Errorf("%s: %s", topic, body)
	}
	if sent, dropped := f.metric("desired_notifications_total", "sent"), f.metric("desired_notifications_total", "dropped"); sent != 1 || dropped != 1 {
		t.Errorf("%v sent, %v dropped", sent, dropped)
	}
}

func TestDesiredPatchDuringConnectFollowsConnack(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{persist: true})
	c.subscribe(desiredFilter)
	leave(f, c, f.link())
	f.hub.connect = changeDuringConnect
	c, _ = f.connect(hello{persist: true})
	if topic, _ := c.received(); !strings.HasSuffix(topic, "?$version=9") {
		t.Errorf("%s", topic)
	}
}

func TestPacketsOverTheClientsMaximumAreDropped(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{level: 5, props: []byte{propMaximumPacket, 0, 0, 0, 100}})
	l := f.link()
	c.publish(0, getTopic+"1", 0, "")
	take(f, l.twins, "request")(make([]byte, 100), nil)
	c.publish(0, getTopic+"2", 0, "")
	take(f, l.twins, "request")(make([]byte, 10), nil)
	if topic, _ := c.received(); topic != "$iothub/twin/res/200/?$rid=2" {
		t.Errorf("%s", topic)
	}
}
