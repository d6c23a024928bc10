package mqtt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(idleJob); job != "" {
		os.Exit(idleClients(job))
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// fakeHub admits everyone whose token is not "bad" and acknowledges at once
// unless hold is set.
type fakeHub struct {
	connect func(context.Context, ingest.Credentials, ingest.Session) error
	expires time.Time
	hold    atomic.Bool
	links   chan *fakeLink
}

func newFakeHub() *fakeHub { return &fakeHub{links: make(chan *fakeLink, 64)} }

func (h *fakeHub) Connect(ctx context.Context, c ingest.Credentials, s ingest.Session) (ingest.Link, error) {
	if c.Token == "bad" {
		return nil, ingest.ErrUnauthorized
	}
	if h.connect != nil {
		if err := h.connect(ctx, c, s); err != nil {
			return nil, err
		}
	}
	l := &fakeLink{hub: h, cred: c, session: s, published: make(chan publishCall, 4096), ended: make(chan ended, 1),
		twins: make(chan func([]byte, error), 64), patches: make(chan patchCall, 64),
		replies: make(chan methodReply, 64), ready: make(chan readiness, 64), settled: make(chan string, 64)}
	select {
	case h.links <- l:
	default:
	}
	return l, nil
}

type publishCall struct {
	ingest.Message
	done func(error)
}

type patchCall struct {
	patch     []byte
	ifVersion int64
	done      func(int64, error)
}

type methodReply struct {
	rid    string
	status int
	body   string
}

type readiness struct {
	feature ingest.Feature
	on      bool
}

type ended struct {
	reason ingest.Reason
	will   *ingest.Message
}

type fakeLink struct {
	hub       *fakeHub
	cred      ingest.Credentials
	session   ingest.Session
	published chan publishCall
	twins     chan func([]byte, error)
	patches   chan patchCall
	replies   chan methodReply
	ready     chan readiness
	settled   chan string
	ended     chan ended
}

func (l *fakeLink) ID() string         { return "s-1" }
func (l *fakeLink) Expires() time.Time { return l.hub.expires }
func (l *fakeLink) Publish(m ingest.Message, done func(error)) {
	if !l.hub.hold.Load() {
		done(nil)
	}
	l.published <- publishCall{m, done}
}
func (l *fakeLink) Twin(done func([]byte, error)) { l.twins <- done }
func (l *fakeLink) PatchReported(p []byte, ifVersion int64, done func(int64, error)) {
	l.patches <- patchCall{p, ifVersion, done}
}
func (l *fakeLink) MethodResponse(rid string, status int, body []byte) {
	l.replies <- methodReply{rid, status, string(body)}
}
func (l *fakeLink) Settle(lock string, o device.Outcome, done func(error)) {
	l.settled <- o.String() + " " + lock
	done(nil)
}
func (l *fakeLink) Ready(f ingest.Feature, on bool)             { l.ready <- readiness{f, on} }
func (l *fakeLink) Close(r ingest.Reason, will *ingest.Message) { l.ended <- ended{r, will} }

// fixture is a server on loopback with a fake hub.
type fixture struct {
	*testing.T
	hub   *fakeHub
	s     *Server
	reg   *prometheus.Registry
	addr  string
	clock *fakeClock
}

type fakeClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func start(t *testing.T, l Limits) *fixture {
	t.Helper()
	f := &fixture{T: t, hub: newFakeHub(), reg: prometheus.NewRegistry(), clock: &fakeClock{t: time.Unix(1_800_000_000, 0)}}
	f.s = New(Options{Hub: f.hub, Registerer: f.reg, Clock: f.clock.now, Limits: l})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		f.hub.hold.Store(false)
		if err := f.s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

// metric sums the series of a metric whose labels contain all of the values.
func (f *fixture) metric(name string, values ...string) float64 {
	f.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		f.Fatal(err)
	}
	sum := 0.0
	for _, fam := range families {
		if fam.GetName() != "gemello_mqtt_"+name {
			continue
		}
	series:
		for _, m := range fam.Metric {
			for _, v := range values {
				found := false
				for _, l := range m.Label {
					found = found || l.GetValue() == v
				}
				if !found {
					continue series
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// eventually waits for a condition that another goroutine brings about.
func (f *fixture) eventually(what string, cond func() bool) {
	f.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			f.Fatalf("%s did not happen", what)
		}
	}
}

func take[T any](f *fixture, c <-chan T, what string) T {
	f.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		f.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

func (f *fixture) link() *fakeLink { f.Helper(); return take(f, f.hub.links, "link") }

// packet is what a client received.
type packet struct {
	first byte
	body  []byte
}

func (p packet) kind() byte { return p.first >> 4 }

// client sends hand-made packets.
type client struct {
	f     *fixture
	nc    net.Conn
	level byte
}

func (f *fixture) dial() *client {
	f.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { nc.Close() })
	return &client{f: f, nc: nc, level: level311}
}

// hello describes a CONNECT; the zero value of a field is left out or usual.
type hello struct {
	level    byte // 4
	name     string
	id       string // "d"
	user     string // from id
	noUser   bool
	password string
	persist  bool // no clean session
	keep     uint16
	flags    byte // more
	props    []byte
	will     string // topic
	willBody string
	willProp []byte
}

func str(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func frame(first byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(appendVarint([]byte{first}, len(body)), body...)
}

func block(props ...[]byte) []byte {
	p := bytes.Join(props, nil)
	return append(appendVarint(nil, len(p)), p...)
}

func (h hello) packet() []byte {
	if h.level == 0 {
		h.level = level311
	}
	if h.name == "" {
		h.name = "MQTT"
	}
	if h.id == "" {
		h.id = "d"
	}
	if h.user == "" {
		h.user = "hub.local/" + h.id + "/?api-version=2021-04-12&DeviceClientType=test%2F1"
	}
	flags := h.flags
	var tail []byte
	tail = append(tail, str(strings.TrimPrefix(h.id, "-"))...)
	if h.will != "" {
		flags |= 0x04
		if h.level == level5 {
			tail = append(tail, block(h.willProp)...)
		}
		tail = append(tail, str(h.will)...)
		tail = append(tail, str(h.willBody)...)
	}
	if !h.noUser {
		flags |= 0x80
		tail = append(tail, str(h.user)...)
	}
	if h.password != "" {
		flags |= 0x40
		tail = append(tail, str(h.password)...)
	}
	if !h.persist {
		flags |= 0x02
	}
	var props []byte
	if h.level == level5 {
		props = block(h.props)
	}
	return frame(0x10, str(h.name), []byte{h.level, flags, byte(h.keep >> 8), byte(h.keep)}, props, tail)
}

// connect makes the handshake and returns CONNACK's flags and properties.
func (f *fixture) connect(h hello) (*client, packet) {
	f.Helper()
	c := f.dial()
	if h.level != 0 {
		c.level = h.level
	}
	c.write(h.packet())
	p := c.expect(typeConnack)
	if p.body[1] != 0 {
		f.Fatalf("CONNACK %x", p.body)
	}
	return c, p
}

func (c *client) write(b ...[]byte) {
	c.f.Helper()
	c.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.nc.Write(bytes.Join(b, nil)); err != nil {
		c.f.Fatalf("write: %v", err)
	}
}

func (c *client) read() (packet, error) {
	c.nc.SetReadDeadline(time.Now().Add(patience))
	var first [2]byte
	if _, err := io.ReadFull(c.nc, first[:1]); err != nil {
		return packet{}, err
	}
	n, shift := 0, 0
	for {
		if _, err := io.ReadFull(c.nc, first[1:]); err != nil {
			return packet{}, err
		}
		n |= int(first[1]&0x7f) << shift
		shift += 7
		if first[1] < 0x80 {
			break
		}
	}
	body := make([]byte, n)
	_, err := io.ReadFull(c.nc, body)
	return packet{first[0], body}, err
}

func (c *client) expect(kind byte) packet {
	c.f.Helper()
	p, err := c.read()
	if err != nil {
		c.f.Fatalf("no packet of type %d: %v", kind, err)
	}
	if p.kind() != kind {
		c.f.Fatalf("packet %x %.80q, want type %d", p.first, p.body, kind)
	}
	return p
}

// closed expects the end of the stream; at level 5 after a DISCONNECT whose
// code it returns.
func (c *client) closed() (code byte) {
	c.f.Helper()
	for {
		p, err := c.read()
		if err == nil && p.kind() == typeDisconnect {
			code = p.body[0]
			continue
		}
		if err == nil {
			c.f.Fatalf("packet %x %.80q, want the end", p.first, p.body)
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			c.f.Fatal("the connection is still open")
		}
		return code
	}
}

// ping makes sure that all before it has been handled.
func (c *client) ping() {
	c.f.Helper()
	c.write([]byte{0xc0, 0})
	c.expect(typePingresp)
}

func (c *client) publish(flags byte, topic string, id uint16, body string) {
	c.f.Helper()
	c.write(c.publishPacket(flags, topic, id, nil, body))
}

func (c *client) publishPacket(flags byte, topic string, id uint16, props []byte, body string) []byte {
	var ids, prop []byte
	if flags&6 != 0 {
		ids = binary.BigEndian.AppendUint16(nil, id)
	}
	if c.level == level5 {
		prop = block(props)
	}
	return frame(0x30|flags, str(topic), ids, prop, []byte(body))
}

// acked expects the PUBACK of a message and returns its reason code.
func (c *client) acked(id uint16) byte {
	c.f.Helper()
	p := c.expect(typePuback)
	if got := binary.BigEndian.Uint16(p.body); got != id {
		c.f.Fatalf("PUBACK %d, want %d", got, id)
	}
	if len(p.body) > 2 {
		return p.body[2]
	}
	return 0
}

func (c *client) subscribe(filters ...string) []byte {
	c.f.Helper()
	return c.subscribeQoS(0, filters...)
}

func (c *client) subscribeQoS(qos byte, filters ...string) []byte {
	c.f.Helper()
	b := []byte{0, 9}
	if c.level == level5 {
		b = append(b, 0)
	}
	for _, s := range filters {
		b = append(append(b, str(s)...), qos)
	}
	c.write(frame(0x82, b))
	p := c.expect(typeSuback)
	if c.level == level5 {
		return p.body[3:]
	}
	return p.body[2:]
}

// received expects a PUBLISH with QoS 0.
func (c *client) received() (topic, body string) {
	c.f.Helper()
	p := c.expect(typePublish)
	if p.first&0x0f != 0 {
		c.f.Fatalf("PUBLISH with flags %x", p.first&15)
	}
	n := int(binary.BigEndian.Uint16(p.body))
	rest := p.body[2+n:]
	if c.level == level5 {
		rest = rest[1:]
	}
	return string(p.body[2 : 2+n]), string(rest)
}

// bytesConn is a stream of given bytes; what is written goes nowhere.
type bytesConn struct {
	net.Conn
	in []byte
}

func (b *bytesConn) Read(p []byte) (int, error) {
	if len(b.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.in[:min(len(b.in), 7)])
	b.in = b.in[n:]
	return n, nil
}

func (b *bytesConn) SetReadDeadline(time.Time) error { return nil }

func changeDuringConnect(_ context.Context, _ ingest.Credentials, s ingest.Session) error {
	s.DesiredChanged(9, []byte("{}"))
	return nil
}
