package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/ingest"
)

func TestConnectIsAnsweredByCode(t *testing.T) {
	tests := []struct {
		rule string
		h    hello
		err  error // of the hub
		code byte
	}{
		{"user name with /?", hello{}, nil, 0},
		{"user name without /?", hello{user: "hub/d/api-version=2016-11-14"}, nil, 0},
		{"bare user name", hello{user: "hub/d"}, nil, 0},
		{"bare user name with /", hello{user: "hub/d/"}, nil, 0},
		{"host with port", hello{user: "hub:8883/d/?api-version=2021-04-12"}, nil, 0},
		{"module", hello{id: "d/m"}, nil, 0},
		{"all characters of ids", hello{id: "aZ0-:.+%_#*?!(),=@;$'/m"}, nil, 0},
		{"id with an escape is not decoded", hello{id: "%41"}, nil, 0},
		{"MQTT 3.1", hello{name: "MQIsdp", level: 3}, nil, 1},
		{"level 3 by the new name", hello{level: 3}, nil, 1},
		{"space in id", hello{id: "a b"}, nil, 2},
		{"empty id", hello{id: "-", user: "hub/d"}, nil, 2},
		{"empty module id", hello{id: "d/"}, nil, 2},
		{"three segments", hello{id: "d/m/x"}, nil, 2},
		{"id too long", hello{id: strings.Repeat("x", 129)}, nil, 2},
		{"no user name", hello{noUser: true}, nil, 4},
		{"user name without host", hello{user: "d"}, nil, 4},
		{"user name of another device", hello{user: "hub/e/?api-version=2021-04-12"}, nil, 5},
		{"user name of a longer id", hello{user: "hub/dd/?api-version=2021-04-12"}, nil, 5},
		{"user name of a module", hello{user: "hub/d/m/?api-version=2021-04-12"}, nil, 5},
		{"user name of the device for its module", hello{id: "d/m", user: "hub/d/?api-version=2021-04-12"}, nil, 5},
		{"provisioning user name", hello{user: "0ne00/registrations/d/api-version=2019-03-31"}, nil, 5},
		{"will on a foreign topic", hello{will: "devices/e/messages/events/"}, nil, 5},
		{"will on a twin topic", hello{will: "$iothub/twin/GET/?$rid=1"}, nil, 5},
		{"will with bad properties", hello{will: "devices/d/messages/events/a=%zz"}, nil, 5},
		{"hub: unauthorized", hello{}, ingest.ErrUnauthorized, 5},
		{"hub: not found tells no more", hello{}, fmt.Errorf("device d: %w", ingest.ErrNotFound), 5},
		{"hub: malformed", hello{}, ingest.ErrInvalid, 4},
		{"hub: busy", hello{}, ingest.ErrBusy, 3},
		{"hub: anything else", hello{}, errors.New("no log"), 3},
	}
	f := start(t, Limits{Failures: 1000})
	var answer error
	f.hub.connect = func(context.Context, ingest.Credentials, ingest.Session) error { return answer }
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			f.T = t
			answer = tt.err
			c := f.dial()
			c.write(tt.h.packet())
			if p := c.expect(typeConnack); !bytes.Equal(p.body, []byte{0, tt.code}) {
				t.Fatalf("CONNACK %x, want code %d", p.body, tt.code)
			}
			if tt.code != 0 {
				c.closed()
			}
		})
	}
}

func TestConnectOfLevel5IsAnsweredByReasonCode(t *testing.T) {
	tests := []struct {
		rule string
		h    hello
		err  error
		code byte
	}{
		{"unknown level", hello{level: 6}, nil, 0x84},
		{"bad client id", hello{level: 5, id: "a b"}, nil, 0x85},
		{"malformed user name", hello{level: 5, user: "d"}, nil, 0x86},
		{"unauthorized", hello{level: 5}, ingest.ErrUnauthorized, 0x87},
		{"unavailable", hello{level: 5}, errors.New("no log"), 0x88},
		{"busy", hello{level: 5}, ingest.ErrBusy, 0x89},
		{"extended authentication", hello{level: 5, props: append([]byte{propAuthMethod}, str("SCRAM")...)}, nil, 0x8c},
	}
	f := start(t, Limits{})
	var answer error
	f.hub.connect = func(context.Context, ingest.Credentials, ingest.Session) error { return answer }
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			f.T = t
			answer = tt.err
			c := f.dial()
			c.write(tt.h.packet())
			if p := c.expect(typeConnack); !bytes.Equal(p.body, []byte{0, tt.code, 0}) {
				t.Fatalf("CONNACK %x, want code %#x", p.body, tt.code)
			}
			c.closed()
		})
	}
}

func TestCredentialsReachTheHub(t *testing.T) {
	f := start(t, Limits{})
	f.connect(hello{id: "d/m", user: "Hub.local:8883/d/m/?api-version=2021-04-12&model-id=dtmi:x:y;1&DeviceClientType=node%2F1.0", password: "SharedAccessSignature sr=x"})
	got := f.link().cred
	if got.Protocol != "mqtt" || got.DeviceID != "d" || got.ModuleID != "m" || got.Host != "Hub.local:8883" || got.ModelID != "dtmi:x:y;1" ||
		got.Agent != "node/1.0" || got.Token != "SharedAccessSignature sr=x" || !got.Remote.Addr().IsLoopback() || got.Remote.Port() == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestMalformedConnectIsClosedWithoutAnswer(t *testing.T) {
	good := hello{password: "x"}.packet()
	cut := func(n int) []byte {
		b := append([]byte(nil), good...)
		b[1] -= byte(n)
		return b[:len(b)-n]
	}
	tests := []struct {
		rule   string
		b      []byte
		reason string
	}{
		{"another packet first", []byte{0xc0, 0}, "first_packet_not_connect"},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), "first_packet_not_connect"},
		{"flags in the fixed header", append([]byte{0x11}, good[1:]...), "first_packet_not_connect"},
		{"truncated", cut(1), "malformed_packet"},
		{"bytes behind", append(append([]byte{0x10, good[1] + 1}, good[2:]...), 0), "malformed_packet"},
		{"another protocol", hello{name: "MQTX"}.packet(), "malformed_packet"},
		{"reserved flag", hello{flags: 1}.packet(), "malformed_packet"},
		{"password without user name", hello{noUser: true, password: "x"}.packet(), "malformed_packet"},
		{"will flags without will", hello{flags: 0x20}.packet(), "malformed_packet"},
		{"will of QoS 3", hello{will: "devices/d/messages/events/", flags: 0x18}.packet(), "malformed_packet"},
		{"client id is not UTF-8", hello{id: "\xff"}.packet(), "malformed_packet"},
		{"remaining length of five bytes", []byte{0x10, 0xff, 0xff, 0xff, 0xff, 1}, "malformed_packet"},
		{"over the budget", []byte{0x10, 0xff, 0xff, 0x7f}, "packet_too_large"},
		{"property of another packet", hello{level: 5, props: []byte{propTopicAlias, 0, 1}}.packet(), "malformed_packet"},
		{"property twice", hello{level: 5, props: []byte{propReceiveMaximum, 0, 1, propReceiveMaximum, 0, 1}}.packet(), "protocol_error"},
		{"receive maximum 0", hello{level: 5, props: []byte{propReceiveMaximum, 0, 0}}.packet(), "protocol_error"},
		{"authentication data alone", hello{level: 5, props: []byte{propAuthData, 0, 0}}.packet(), "protocol_error"},
	}
	f := start(t, Limits{})
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			f.T = t
			before := f.metric("connects_total", "failed", tt.reason)
			c := f.dial()
			c.write(tt.b)
			c.closed()
			f.eventually("count of "+tt.reason, func() bool { return f.metric("connects_total", "failed", tt.reason) == before+1 })
		})
	}
	f.T = t
	c, _ := f.connect(hello{})
	c.ping()
}

func TestConnackOfLevel5TellsLimits(t *testing.T) {
	f := start(t, Limits{ReceiveMaximum: 10, SessionExpiry: time.Hour})
	_, p := f.connect(hello{level: 5, keep: 0, props: []byte{propSessionExpiry, 0xff, 0xff, 0xff, 0xff}})
	want := []byte{0, 0, byte(len(p.body) - 3),
		propReceiveMaximum, 0, 10, propMaximumQoS, 1, propMaximumPacket, 0, 4, 0x30, 0,
		propSubscriptionIDs, 0, propSharedSubscripts, 0,
		propSessionExpiry, 0, 0, 0x0e, 0x10, propServerKeepAlive, 0x04, 0x9a}
	if !bytes.Equal(p.body, want) {
		t.Errorf("CONNACK\n %x, want\n %x", p.body, want)
	}
}

func TestSlowHandshakeIsCut(t *testing.T) {
	f := start(t, Limits{HandshakeTime: 20 * time.Millisecond})
	c := f.dial()
	c.write(hello{}.packet()[:5])
	c.closed()
	f.eventually("count", func() bool { return f.metric("connects_total", "failed", "timeout") == 1 })
}

func TestHubHasTheHandshakesTime(t *testing.T) {
	f := start(t, Limits{HandshakeTime: 50 * time.Millisecond})
	f.hub.connect = func(ctx context.Context, _ ingest.Credentials, _ ingest.Session) error {
		<-ctx.Done()
		return ctx.Err()
	}
	c := f.dial()
	c.write(hello{}.packet())
	if p := c.expect(typeConnack); p.body[1] != connUnavailable {
		t.Errorf("CONNACK %x", p.body)
	}
}

func TestPendingHandshakesAreBounded(t *testing.T) {
	f := start(t, Limits{Handshakes: 1})
	first := f.dial()
	f.eventually("first handshake", func() bool { return f.metric("pending_handshakes") == 1 })
	second := f.dial()
	second.write(hello{}.packet())
	// The second waits in the queue, and is served when the first is gone.
	if got := f.metric("connects_total"); got != 0 {
		t.Fatalf("%v connects", got)
	}
	first.nc.Close()
	second.expect(typeConnack)
}

func TestRefusalsOfAnAddressAreDelayedAfterTooMany(t *testing.T) {
	f := start(t, Limits{Failures: 2, FailureDelay: time.Millisecond})
	for range 4 {
		c := f.dial()
		c.write(hello{password: "bad"}.packet())
		c.expect(typeConnack)
	}
	if got := f.metric("refusals_delayed_total"); got != 2 {
		t.Errorf("%v delayed, want 2", got)
	}
	c, _ := f.connect(hello{password: "good"})
	c.ping()
}

func TestHubMayCloseBeforeConnectReturns(t *testing.T) {
	f := start(t, Limits{})
	f.hub.connect = func(_ context.Context, _ ingest.Credentials, s ingest.Session) error {
		s.Close(ingest.ReasonDisabled)
		s.Close(ingest.ReasonShutdown)
		return nil
	}
	c := f.dial()
	c.write(hello{}.packet())
	if p := c.expect(typeConnack); p.body[1] != connNotAuthorized {
		t.Errorf("CONNACK %x", p.body)
	}
	c.closed()
	if e := take(f, f.link().ended, "Link.Close"); e.reason != ingest.ReasonDisabled {
		t.Errorf("ended %v", e.reason)
	}
}
