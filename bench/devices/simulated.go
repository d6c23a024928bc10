package devices

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/gemello/gemello/device/credential"
)

const (
	keepAlive  = 60 // seconds
	receiveMax = 8  // messages from the hub; the library reserves room for each
	minBackoff = 500 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// simulated is one device. Its fields belong to the goroutine that connects it
// and afterwards to the one that sends.
type simulated struct {
	fleet  *fleet
	id     string
	key    credential.Key
	policy string // signs with this policy's key; empty: the device's own
	due    chan struct{}
	sky    *weather
	seq    int64
	client *paho.Client // nil: not connected
}

func newSimulated(f *fleet, number int, id string, key credential.Key, policy string) *simulated {
	return &simulated{fleet: f, id: id, key: key, policy: policy, due: make(chan struct{}, maxDue), sky: newWeather(number)}
}

// connect opens the device's connection; ctx bounds the attempt only.
func (d *simulated) connect(ctx context.Context) error {
	o := d.fleet.o
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	dialer := &tls.Dialer{NetDialer: &net.Dialer{}, Config: o.TLS}
	conn, err := dialer.DialContext(ctx, "tcp", o.MQTT)
	if err != nil {
		return fmt.Errorf("reach the hub's MQTT at %s: %w", o.MQTT, err)
	}
	client := paho.NewClient(paho.ClientConfig{
		ClientID:          d.id,
		Conn:              packets.NewThreadSafeConn(conn),
		PacketTimeout:     callTimeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){d.answer},
	})
	most := uint16(receiveMax)
	ack, err := client.Connect(ctx, &paho.Connect{
		ClientID: d.id, KeepAlive: keepAlive, CleanStart: true,
		Username: o.Connection.HostName + "/" + d.id + "/?api-version=" + apiVersion + "&DeviceClientType=gemello-simulate", UsernameFlag: true,
		Password: []byte(d.password(o)), PasswordFlag: true,
		Properties: &paho.ConnectProperties{ReceiveMaximum: &most},
	})
	if err != nil {
		conn.Close()
		if ack != nil && (ack.ReasonCode == packets.ConnackBadUsernameOrPassword || ack.ReasonCode == packets.ConnackNotAuthorized) {
			return fmt.Errorf("connect %s: %w", d.id, ErrUnauthorized)
		}
		if ack != nil {
			return fmt.Errorf("connect %s: refused with reason 0x%02x", d.id, ack.ReasonCode)
		}
		return fmt.Errorf("connect %s: %w", d.id, err)
	}
	if _, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: methodPrefix + "#"}}}); err != nil {
		_ = client.Disconnect(&paho.Disconnect{}) // the connection may be gone already
		<-client.Done()
		return fmt.Errorf("subscribe %s to methods: %w", d.id, err)
	}
	d.client = client
	d.fleet.connected.Add(1)
	return nil
}

// password is a SAS token for the device (azure-iot-wire 1.2).
func (d *simulated) password(o *Options) string {
	if o.Connection.Signature != "" {
		return o.Connection.Signature
	}
	return credential.Sign(o.Connection.HostName+"/devices/"+d.id, o.Now().Add(tokenLife), d.key, d.policy)
}

// send sends what is due until ctx ends, and connects again after a loss.
func (d *simulated) send(ctx context.Context) {
	for {
		var lost <-chan struct{}
		if d.client != nil {
			lost = d.client.Done()
		} else if !d.reconnect(ctx) {
			return
		} else {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-lost:
			d.drop(errors.New("the hub closed the connection"))
		case <-d.due:
			if ctx.Err() != nil {
				return // both were ready
			}
			if err := d.publish(ctx); err != nil && ctx.Err() == nil {
				d.fleet.failed.Add(1)
				d.drop(err)
			}
		}
	}
}

// publish sends one reading and waits for its acknowledgement.
func (d *simulated) publish(ctx context.Context) error {
	d.seq++
	_, err := d.client.Publish(ctx, &paho.Publish{
		QoS:     1,
		Topic:   "devices/" + d.id + "/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8",
		Payload: d.sky.appendReading(make([]byte, 0, 128), d.id, d.seq, d.fleet.o.Now()),
	})
	if err == nil {
		d.fleet.acked.Add(1)
	}
	return err
}

// drop gives a broken connection up.
func (d *simulated) drop(err error) {
	d.fleet.o.Logger.Debug("simulated device lost its connection", "error", err)
	d.fleet.connected.Add(-1)
	d.close()
}

// reconnect tries until it is connected; false: ctx has ended.
func (d *simulated) reconnect(ctx context.Context) bool {
	for wait := minBackoff; ; wait = min(2*wait, maxBackoff) {
		// Devices that come back all at once are what overloads a hub.
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
		err := d.connect(ctx)
		if err == nil {
			d.fleet.reconnects.Add(1)
			return true
		}
		if ctx.Err() == nil {
			d.fleet.o.Logger.Debug("simulated device can't connect", "device", d.id, "error", err)
		}
	}
}

// close says goodbye and waits until the client's goroutines are gone.
func (d *simulated) close() {
	if d.client == nil {
		return
	}
	_ = d.client.Disconnect(&paho.Disconnect{}) // the connection may be gone already
	<-d.client.Done()
	d.client = nil
}
