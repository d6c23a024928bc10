package mqtt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/gemello/gemello/ingest"
)

func TestShutdownLetsPubacksOut(t *testing.T) {
	f := start(t, Limits{})
	f.hub.hold.Store(true)
	c, _ := f.connect(hello{level: 5})
	l := f.link()
	c.publish(2, events, 1, "x")
	m := take(f, l.published, "message")
	idle, _ := f.connect(hello{id: "idle"})
	idleLink := f.link()

	down := make(chan error, 1)
	go func() { down <- f.s.Shutdown(context.Background()) }()
	idle.closed()
	if e := take(f, idleLink.ended, "end"); e.reason != ingest.ReasonShutdown {
		t.Errorf("idle ended %v", e.reason)
	}
	f.eventually("drain", func() (draining bool) {
		f.s.each(func(c *conn) { draining = c.draining.Load() })
		return draining
	})
	c.write(c.publishPacket(2, events, 2, nil, "late")) // not read any more
	m.done(nil)
	c.acked(1)
	if code := c.closed(); code != codeShuttingDown {
		t.Errorf("DISCONNECT %#x", code)
	}
	if err := take(f, down, "end of Shutdown"); err != nil {
		t.Error(err)
	}
	if len(l.published) != 0 {
		t.Error("a message was taken after Shutdown began")
	}
	if _, err := net.Dial("tcp", f.addr); err == nil {
		t.Error("still listening")
	}
	if got := f.metric("connections"); got != 0 {
		t.Errorf("%v connections", got)
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	f := start(t, Limits{})
	f.hub.hold.Store(true)
	c, _ := f.connect(hello{})
	l := f.link()
	c.publish(2, events, 1, "x")
	m := take(f, l.published, "message")
	pending := f.dial()
	f.eventually("handshake", func() bool { return f.metric("pending_handshakes") == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	c.closed()
	pending.closed()
	m.done(nil) // late, and harmless
}

func TestServeAfterShutdown(t *testing.T) {
	s := New(Options{Hub: newFakeHub()})
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
	a, b := net.Pipe()
	defer b.Close()
	s.ServeConn(a, "mqttws")
	if _, err := a.Read(nil); err == nil {
		t.Error("the connection is open")
	}
}

func TestServeConnNamesTheProtocol(t *testing.T) {
	f := start(t, Limits{})
	a, b := net.Pipe()
	f.s.ServeConn(a, "mqttws")
	c := &client{f: f, nc: b, level: level311}
	c.write(hello{}.packet())
	c.expect(typeConnack)
	if got := f.link().cred.Protocol; got != "mqttws" {
		t.Errorf("protocol %q", got)
	}
	c.ping()
	b.Close()
}

// certificate makes a self-signed certificate for the addresses of the tests.
func certificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 22)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serveTLS(t *testing.T, f *fixture) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- f.s.ServeTLS(l, &tls.Config{Certificates: []tls.Certificate{certificate(t, "hub")}, ClientAuth: tls.RequestClientCert})
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestTLSShowsTheClientsCertificate(t *testing.T) {
	f := start(t, Limits{})
	addr := serveTLS(t, f)
	nc, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate(t, "d")}})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := &client{f: f, nc: nc, level: level311}
	c.write(hello{}.packet())
	c.expect(typeConnack)
	l := f.link()
	if len(l.cred.PeerCertificates) != 1 || l.cred.PeerCertificates[0].Subject.CommonName != "d" || l.cred.Token != "" {
		t.Errorf("credentials %+v", l.cred)
	}
	// More than the budget of a handshake, and the read deadline that takes the
	// buffer away does no harm to TLS.
	for id := uint16(1); id <= 20; id++ {
		c.publish(2, events, id, string(make([]byte, 8<<10)))
		c.acked(id)
		waiting(f)
		f.clock.advance(idleBuffer)
		f.s.sweep(false)
	}
}

func TestTLSHandshakeIsBounded(t *testing.T) {
	f := start(t, Limits{})
	addr := serveTLS(t, f)
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := &client{f: f, nc: nc}
	// A ClientHello of 16 MiB in records of 16 KiB.
	record := append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 16<<10)...)
	copy(record[5:], []byte{1, 0xff, 0xff, 0xff})
	for range 5 {
		if _, err := nc.Write(record); err != nil {
			break
		}
	}
	for err == nil {
		_, err = c.read()
	}
	f.eventually("count", func() bool { return f.metric("connects_total", "failed") == 1 })
}

func TestBudgetEndsReading(t *testing.T) {
	b := &budgetConn{Conn: &bytesConn{in: make([]byte, 100)}}
	b.left.Store(10)
	n, err := 0, error(nil)
	for err == nil {
		var k int
		k, err = b.Read(make([]byte, 6))
		n += k
	}
	if n != 10 || !errors.Is(err, errBudget) {
		t.Errorf("read %d, %v", n, err)
	}
}
