package bridge

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

const (
	dialTimeout = 10 * time.Second
	// ackInterval is how often the client sends acknowledgements that are due. Its
	// own default of 50 ms would bound the bridge to 20 windows a second.
	ackInterval = 5 * time.Millisecond
	// drainTimeout bounds the wait for the log when the bridge stops.
	drainTimeout = 5 * time.Second
)

// Bridge takes messages from one broker. Make it with New, run it with Run, once.
type Bridge struct {
	config
	metrics *metrics

	slots   chan struct{} // one for each message in flight
	settled chan outcome  // has room for all messages in flight, so sending never blocks
	drain   chan struct{} // closed when Run is to end: no message is taken any more

	link    atomic.Pointer[link]
	lost    atomic.Int32 // connections and subscriptions that failed in a row
	untaken atomic.Int32 // times in a row that the log could not take a message
}

// link is one connection to the broker, below TLS: closing it waits for nobody.
type link struct {
	net.Conn
	// broken: a message could not be taken, so later ones are left to the broker
	// as well and come again in the old order.
	broken atomic.Bool
}

// delivery is a message in flight.
type delivery struct {
	client *paho.Client
	link   *link
	packet *paho.Publish
	device string
}

// outcome of a delivery: nil once the log, or the dead letters, have it.
type outcome struct {
	delivery
	err    error
	letter bool // it went to the dead letters
}

// New checks the options, reads the certificates and registers the metrics. It
// connects to nothing. The error names everything that is wrong.
func New(o Options) (*Bridge, error) {
	c, err := o.config()
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", c.Name, err)
	}
	m, err := newMetrics(c.Name, c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("bridge %s: registering metrics: %w", c.Name, err)
	}
	return &Bridge{
		config:  c,
		metrics: m,
		slots:   make(chan struct{}, c.MaxInflight),
		settled: make(chan outcome, c.MaxInflight),
		drain:   make(chan struct{}),
	}, nil
}

// Run takes messages until ctx ends, and connects again whenever the connection
// is lost. It then takes no more, waits up to 5 s for the log to acknowledge what
// is in flight, and disconnects; the broker keeps what comes meanwhile. An
// Appender whose Publish still blocks at that time is left behind.
func (b *Bridge) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	drained := make(chan struct{})
	var settling sync.WaitGroup
	settling.Go(func() { b.settleAll(stopped, drained) })
	defer settling.Wait()
	defer close(stopped)

	manager, err := autopaho.NewConnection(context.WithoutCancel(ctx), b.clientConfig(ctx))
	if err != nil {
		return fmt.Errorf("bridge %s: %w", b.Name, err)
	}

	<-ctx.Done()
	close(b.drain)
	timeout := time.NewTimer(drainTimeout)
	defer timeout.Stop()
	select {
	case <-drained:
		// The client sends acknowledgements by its own clock and can't be told to
		// do it now; what it has not sent would come again.
		sent := time.NewTimer(2 * ackInterval)
		defer sent.Stop()
		<-sent.C
	case <-timeout.C:
		b.Logger.Warn("bridge stops before the log has acknowledged all; the broker will send the rest again", "messages", len(b.slots))
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err = manager.Disconnect(bounded)
	b.metrics.connected.Set(0)
	if err != nil {
		return fmt.Errorf("bridge %s: disconnecting: %w", b.Name, err)
	}
	return nil
}

func (b *Bridge) clientConfig(ctx context.Context) autopaho.ClientConfig {
	return autopaho.ClientConfig{
		ServerUrls:            []*url.URL{b.server},
		KeepAlive:             30,
		SessionExpiryInterval: uint32(min(b.SessionExpiry/time.Second, 1<<32-1)),
		ReconnectBackoff:      b.pause,
		ConnectTimeout:        dialTimeout,
		AttemptConnection:     b.dial,
		ConnectPacketBuilder:  b.connectPacket,
		OnConnectionUp: func(m *autopaho.ConnectionManager, _ *paho.Connack) {
			b.subscribe(ctx, m)
		},
		OnConnectionDown: func() bool {
			b.metrics.connected.Set(0)
			b.Logger.Warn("connection to the broker lost", "broker", b.address)
			return true
		},
		OnConnectError: func(err error) {
			b.lost.Add(1)
			b.metrics.failures.Inc()
			b.Logger.Warn("broker can't be reached; will try again", "broker", b.address, "err", err)
		},
		ClientConfig: paho.ClientConfig{
			ClientID:                   b.ClientID,
			EnableManualAcknowledgment: true,
			SendAcksInterval:           ackInterval,
			OnPublishReceived:          []func(paho.PublishReceived) (bool, error){b.receive},
		},
	}
}

// dial opens a connection that the bridge can close when it wants to begin anew.
func (b *Bridge) dial(ctx context.Context, _ autopaho.ClientConfig, _ *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := &net.Dialer{}
	raw, err := d.DialContext(ctx, "tcp", b.address)
	if err != nil {
		return nil, err
	}
	conn := raw
	if b.tls != nil {
		t := tls.Client(raw, b.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		conn = t
	}
	b.link.Store(&link{Conn: raw})
	return packets.NewThreadSafeConn(conn), nil
}

func (b *Bridge) connectPacket(p *paho.Connect, _ *url.URL) (*paho.Connect, error) {
	if p.Properties == nil {
		p.Properties = &paho.ConnectProperties{}
	}
	inflight, packet := uint16(b.MaxInflight), uint32(2*b.MaxBody+64<<10)
	p.Properties.ReceiveMaximum = &inflight
	p.Properties.MaximumPacketSize = &packet
	p.CleanStart = false
	if b.User == "" {
		return p, nil
	}
	password, err := b.password()
	if err != nil {
		return nil, err
	}
	p.Username, p.UsernameFlag = b.User, true
	p.Password, p.PasswordFlag = password, password != nil
	return p, nil
}

// subscribe runs on the manager's goroutine and waits for the broker's answer
// there: until then nothing else is to be done.
func (b *Bridge) subscribe(ctx context.Context, m *autopaho.ConnectionManager) {
	b.metrics.connects.Inc()
	l := b.link.Load()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	topic := "$share/" + b.Group + "/" + b.Filter
	_, err := m.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 1}}})
	if err != nil {
		if ctx.Err() != context.Canceled {
			b.lost.Add(1)
			b.metrics.failures.Inc()
			b.Logger.Warn("broker refuses the subscription; will try again", "topic", topic, "err", err)
		}
		b.restart(l)
		return
	}
	b.lost.Store(0)
	b.metrics.connected.Set(1)
	b.Logger.Info("bridge takes messages", "broker", b.address, "topic", topic)
}

// restart closes the connection, so that the manager opens the next one.
func (b *Bridge) restart(l *link) {
	l.broken.Store(true)
	if err := l.Close(); err != nil {
		b.Logger.Debug("closing the connection to the broker", "err", err)
	}
}

// pause is the time before the attempt, which counts from 0 for each connection.
func (b *Bridge) pause(int) time.Duration {
	n := b.lost.Load() + b.untaken.Load()
	if n == 0 {
		return 0
	}
	d := b.RetryMax
	if n <= 16 {
		d = min(b.RetryMin<<(n-1), b.RetryMax)
	}
	return d/2 + rand.N(d/2+1)
}

// receive runs on the connection's own goroutine, one message after the other;
// while it waits the broker is slowed down.
func (b *Bridge) receive(pr paho.PublishReceived) (bool, error) {
	d := delivery{client: pr.Client, link: b.link.Load(), packet: pr.Packet}
	if d.link.broken.Load() {
		return true, nil
	}
	select {
	case <-b.drain:
		return true, nil
	default:
	}
	select {
	case b.slots <- struct{}{}:
	case <-b.drain:
		return true, nil
	}
	if d.link.broken.Load() {
		<-b.slots
		return true, nil
	}
	b.metrics.inflight.Inc()
	id, m, refusal := b.telemetry(pr.Packet)
	if refusal != nil {
		b.refuse(d, *refusal)
		return true, nil
	}
	d.device = id
	b.Appender.Publish(id, m, func(err error) { b.settled <- outcome{d, err, false} })
	return true, nil
}

func (b *Bridge) refuse(d delivery, r Refusal) {
	b.metrics.refused.WithLabelValues(string(r.Reason)).Inc()
	b.Logger.Debug("message refused", "topic", r.Topic, "reason", r.Reason, "err", r.Err)
	if b.DeadLetter == nil {
		b.settled <- outcome{d, nil, true}
		return
	}
	b.DeadLetter(r, func(err error) { b.settled <- outcome{d, err, true} })
}

// settleAll acknowledges what has an outcome, on a goroutine of its own since
// the log's callbacks must not block on the broker. It closes drained when
// nothing is in flight after drain.
func (b *Bridge) settleAll(stopped, drained chan struct{}) {
	drain := b.drain
	for {
		select {
		case o := <-b.settled:
			b.settle(o)
		case <-drain:
			drain = nil
		case <-stopped:
			return
		}
		if drain == nil && drained != nil && len(b.slots) == 0 {
			close(drained)
			drained = nil
		}
	}
}

func (b *Bridge) settle(o outcome) {
	if o.err != nil && !o.letter {
		if reason, final := refusalOf(o.err); final {
			b.refuse(o.delivery, Refusal{o.packet.Topic, o.device, o.packet.Payload, reason, o.err})
			return // its slot stays taken
		}
	}
	defer func() {
		b.metrics.inflight.Dec()
		<-b.slots
	}()
	if o.err != nil {
		b.metrics.retried.Inc()
		if !o.link.broken.Load() {
			b.untaken.Add(1)
			b.Logger.Warn("message could not be taken; the broker will send it again",
				slog.String("device", o.device), slog.Bool("dead_letter", o.letter), slog.Any("err", o.err))
			b.restart(o.link)
		}
		return
	}
	b.untaken.Store(0)
	if !o.letter {
		b.metrics.appended.Inc()
		b.metrics.bytes.Add(float64(len(o.packet.Payload)))
	}
	if err := o.client.Ack(o.packet); err != nil {
		// Its connection is gone, and the broker sends the message again.
		b.Logger.Debug("acknowledgement came too late", "err", err)
	}
}
