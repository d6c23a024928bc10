package bridge

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/paho"
	"github.com/gemello/gemello/ingest"
)

func TestPacketsBecomeTelemetryOrRefusals(t *testing.T) {
	o := options()
	o.Template = "{site}/{deviceId}/data"
	o.MaxBody = 100
	c, err := o.config()
	if err != nil {
		t.Fatal(err)
	}
	user := func(kv ...string) *paho.PublishProperties {
		p := &paho.PublishProperties{}
		for i := 0; i < len(kv); i += 2 {
			p.User.Add(kv[i], kv[i+1])
		}
		return p
	}
	for _, tc := range []struct {
		rule   string
		packet paho.Publish
		bag    string
		reason Reason
	}{
		{"the placeholder becomes a property", paho.Publish{Topic: "oslo/d/data"}, "site=oslo", ""},
		{"MQTT 5 properties follow", paho.Publish{Topic: "oslo/d/data", Properties: &paho.PublishProperties{
			ContentType: "application/json", CorrelationData: []byte("c 1"), User: paho.UserProperties{{Key: "a b", Value: "ø"}}}},
			"site=oslo&%24.ct=application%2Fjson&%24.cid=c%201&a%20b=%C3%B8", ""},
		{"the topic fits", paho.Publish{Topic: "oslo/d/event"}, "", ReasonTopic},
		{"the id may be a device's", paho.Publish{Topic: "oslo/d e/data"}, "", ReasonDeviceID},
		{"the id is short enough", paho.Publish{Topic: "oslo/" + strings.Repeat("d", 129) + "/data"}, "", ReasonDeviceID},
		{"body and properties count together", paho.Publish{Topic: "oslo/d/data", Payload: make([]byte, 92)}, "site=oslo", ""},
		{"one byte more is too large", paho.Publish{Topic: "oslo/d/data", Payload: make([]byte, 93)}, "", ReasonTooLarge},
		{"properties are bounded", paho.Publish{Topic: "oslo/d/data", Properties: user("k", strings.Repeat("v", 9000))}, "", ReasonTooLarge},
		{"properties have a key", paho.Publish{Topic: "oslo/d/data", Properties: user("", "v")}, "", ReasonProperties},
		{"properties are text", paho.Publish{Topic: "oslo/d/data", Properties: &paho.PublishProperties{CorrelationData: []byte{0xff}}}, "", ReasonProperties},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			id, m, r := c.telemetry(&tc.packet)
			if tc.reason != "" {
				if r == nil || r.Reason != tc.reason || r.Err == nil || r.Topic != tc.packet.Topic {
					t.Fatalf("refusal %+v, want reason %s", r, tc.reason)
				}
				return
			}
			if r != nil {
				t.Fatal(r.Err)
			}
			if id != "d" || m.Bag != tc.bag || len(m.Body) != len(tc.packet.Payload) {
				t.Errorf("device %q, bag %q, %d bytes; want bag %q", id, m.Bag, len(m.Body), tc.bag)
			}
		})
	}
}

func TestOnlyErrorsThatStandRefuse(t *testing.T) {
	for _, c := range []struct {
		err    error
		reason Reason
	}{
		{ingest.ErrTooLarge, ReasonTooLarge},
		{fmt.Errorf("x: %w", ingest.ErrNotFound), ReasonUnknownDevice},
		{ingest.ErrUnauthorized, ReasonNotAuthorized},
		{ingest.ErrInvalid, ReasonInvalid},
		{ingest.ErrBusy, ""},
		{ingest.ErrClosed, ""},
		{errors.New("log is away"), ""},
	} {
		if got, final := refusalOf(c.err); got != c.reason || final != (c.reason != "") {
			t.Errorf("%v: %q, %v; want %q", c.err, got, final, c.reason)
		}
	}
}
