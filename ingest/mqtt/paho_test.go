package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/paho"
	"github.com/gemello/gemello/ingest"
)

// dialPaho connects a client that knows nothing of this package.
func dialPaho(f *fixture, id string, got func(*paho.Publish)) *paho.Client {
	f.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { nc.Close() })
	c := paho.NewClient(paho.ClientConfig{Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) { got(p.Packet); return true, nil },
	}})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ack, err := c.Connect(ctx, &paho.Connect{ClientID: id, KeepAlive: 30, CleanStart: true,
		UsernameFlag: true, Username: "hub/" + id + "/?api-version=2021-04-12", PasswordFlag: true, Password: []byte("token")})
	if err != nil {
		f.Fatal(err)
	}
	if *ack.Properties.MaximumQoS != 1 || *ack.Properties.ReceiveMaximum != 64 || ack.Properties.SharedSubAvailable {
		f.Errorf("CONNACK %+v", ack.Properties)
	}
	return c
}

func TestPahoPublishesAndReadsItsTwin(t *testing.T) {
	f := start(t, Limits{})
	received := make(chan *paho.Publish, 8)
	c := dialPaho(f, "d", func(p *paho.Publish) { received <- p })
	l := f.link()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ack, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
		{Topic: "$iothub/twin/res/#", QoS: 1}, {Topic: desiredFilter, QoS: 2}}})
	if err != nil || ack.Reasons[0] != 1 || ack.Reasons[1] != 1 {
		t.Fatalf("%v, %v", ack, err)
	}

	// More at once than fit into the receive maximum.
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			resp, err := c.Publish(ctx, &paho.Publish{Topic: events + "n=1", QoS: 1, Payload: fmt.Append(nil, i),
				Properties: &paho.PublishProperties{ContentType: "text/plain", User: paho.UserProperties{{Key: "u", Value: "v"}}}})
			if err != nil || resp.ReasonCode != 0 {
				t.Errorf("publish %d: %v, %v", i, resp, err)
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for range 200 {
		m := take(f, l.published, "message")
		seen[string(m.Body)] = true
		if m.Bag != "n=1&%24.ct=text%2Fplain&u=v" {
			t.Fatalf("bag %q", m.Bag)
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d different messages", len(seen))
	}

	if _, err := c.Publish(ctx, &paho.Publish{Topic: getTopic + "1", QoS: 0}); err != nil {
		t.Fatal(err)
	}
	take(f, l.twins, "request")([]byte(`{"desired":{"$version":1}}`), nil)
	if p := take(f, received, "answer"); p.Topic != "$iothub/twin/res/200/?$rid=1" || string(p.Payload) != `{"desired":{"$version":1}}` || p.QoS != 0 {
		t.Errorf("answer %v", p)
	}
	l.session.DesiredChanged(2, []byte(`{"a":1,"$version":2}`))
	if p := take(f, received, "notice"); p.Topic != "$iothub/twin/PATCH/properties/desired/?$version=2" {
		t.Errorf("notice %v", p)
	}
	if err := c.Disconnect(&paho.Disconnect{}); err != nil {
		t.Error(err)
	}
	if e := take(f, l.ended, "end"); e.reason != ingest.ReasonClient {
		t.Errorf("ended %v", e.reason)
	}
}

func TestPahoIsToldWhatWasRefused(t *testing.T) {
	f := start(t, Limits{})
	c := dialPaho(f, "d", func(*paho.Publish) {})
	f.link()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := c.Publish(ctx, &paho.Publish{Topic: events + "a=%zz", QoS: 1, Payload: []byte("x")})
	if resp == nil || resp.ReasonCode != codePayloadFormat {
		t.Errorf("%+v, %v", resp, err)
	}
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "#"}}}); err == nil {
		t.Error("subscribed to everything")
	}
	c.Disconnect(&paho.Disconnect{})

	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	bad := paho.NewClient(paho.ClientConfig{Conn: nc})
	ack, err := bad.Connect(ctx, &paho.Connect{ClientID: "d", UsernameFlag: true, Username: "hub/d", PasswordFlag: true, Password: []byte("bad")})
	if err == nil || ack == nil || ack.ReasonCode != codeNotAuthorized {
		t.Errorf("%+v, %v", ack, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("no answer")
	}
}
