package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/ingest"
)

// handshake leads a connection from accept to CONNACK. Then a goroutine of its
// own, with a small stack, reads on.
func (s *Server) handshake(c *conn, cfg *tls.Config, protocol string) {
	defer s.wg.Done()
	budget := &budgetConn{Conn: c.nc}
	if cfg != nil {
		budget.left.Store(preAuth)
		c.nc = tls.Server(budget, cfg)
	}
	deadline := time.Now().Add(s.limits.HandshakeTime)
	c.nc.SetDeadline(deadline)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	err := s.admit(ctx, c, budget, protocol)

	s.mu.Lock()
	delete(s.pending, c)
	s.mu.Unlock()
	<-s.slots
	s.metrics.handshakes.Dec()

	if err == nil {
		return
	}
	c.release()
	var no *refusal
	if !errors.As(err, &no) {
		s.metrics.failed(handshakeFailure(err))
		c.nc.Close()
		return
	}
	s.metrics.rejected(no.label)
	s.log.Info("mqtt connect refused", "client", c.clientID, "cause", no.label, "remote", c.nc.RemoteAddr().String(), "err", err)
	s.deny(c, no)
}

// admit runs the handshake. The error is a *refusal when the client shall have
// a CONNACK. After success the connection lives on by itself.
func (s *Server) admit(ctx context.Context, c *conn, budget *budgetConn, protocol string) error {
	certs, err := peerCertificates(ctx, c.nc)
	if err != nil {
		return err
	}
	packet, err := c.firstPacket()
	if err != nil {
		return err
	}
	msg, err := decodeConnect(packet)
	c.level = msg.level
	if err != nil {
		return err
	}
	cred, err := msg.identify()
	if err != error(refuseClientID) {
		c.clientID = msg.clientID // fit to be logged
	}
	if err != nil {
		return err
	}
	cred.Protocol, cred.PeerCertificates, cred.Remote = protocol, certs, addrPort(c.nc.RemoteAddr())
	c.id = identity{cred.DeviceID, cred.ModuleID}
	c.java = isJava(cred.Agent)
	if c.will, err = msg.will(c.id); err != nil {
		return err
	}
	c.delayed = msg.willProps.willDelay > 0
	c.expiry = msg.sessionExpiry(&s.limits)
	c.silence = time.Duration(msg.grantedKeepAlive()) * 1500 * time.Millisecond
	c.maxOut = 1 << 28
	if msg.props.has(propMaximumPacket) {
		c.maxOut = int(min(msg.props.maximumPacket, 1<<28))
	}

	link, err := s.hub.Connect(ctx, cred, c)
	if err != nil {
		return &refusedByHub{refusalOf(err), err}
	}
	c.link = link
	if e := link.Expires(); !e.IsZero() {
		c.expires = e.UnixNano()
		if c.expires <= s.clock().UnixNano() {
			c.Close(ingest.ReasonExpired)
		}
	}
	budget.left.Store(unlimited)
	return s.enter(c, &msg)
}

// enter makes an admitted connection the one of its client id.
func (s *Server) enter(c *conn, msg *connect) error {
	c.nc.SetDeadline(time.Time{})
	now := s.now()
	c.lastSeen.Store(int64(now))
	c.busy.Store(true)
	if !s.add(c) {
		c.link.Close(ingest.ReasonShutdown, nil)
		return refuseOther
	}
	present, old, flapping := s.sessions.attach(c, msg.clean, c.expiry, now)
	if old != nil {
		old.Close(ingest.ReasonTakenOver)
	}
	if flapping {
		s.log.Warn("mqtt clients fight for one id", "client", c.clientID, "remote", c.nc.RemoteAddr().String())
	}
	if !c.admit(msg.connack(nil, present, &s.limits)) {
		s.remove(c)
		s.sessions.detach(c, nil, now)
		c.link.Close(c.reason, nil)
		switch c.reason {
		case ingest.ReasonDisabled, ingest.ReasonExpired:
			return refuseAuth
		}
		return refuseOther
	}
	s.metrics.accepted()
	c.announce(0)
	s.wg.Add(1)
	go c.run()
	return nil
}

// refusedByHub keeps the hub's own error for the log.
type refusedByHub struct {
	no  *refusal
	err error
}

func (r *refusedByHub) Error() string   { return r.err.Error() }
func (r *refusedByHub) Unwrap() []error { return []error{r.no, r.err} }

// firstPacket reads the first packet, which must be a CONNECT of bounded size.
func (c *conn) firstPacket() ([]byte, error) {
	c.buf = make([]byte, smallBuffer)
	for {
		n, err := c.nc.Read(c.buf[c.w:])
		c.w += n
		if c.w > 0 && c.buf[0] != typeConnect<<4 {
			return nil, errFirstPacket
		}
		h, ok, herr := parseHeader(c.buf[:c.w])
		if herr != nil {
			return nil, herr
		}
		if ok && h.length > preAuth {
			return nil, errPacketSize
		}
		if ok && c.w >= h.size+h.length {
			c.r = h.size + h.length
			return c.buf[h.size:c.r], nil
		}
		if err != nil {
			return nil, err
		}
		if ok {
			c.room(h.size + h.length)
		}
	}
}

// deny sends the CONNACK that says no. Addresses that were wrong too often wait
// for it, without a slot of the handshakes; while too many wait the others are
// closed without an answer.
func (s *Server) deny(c *conn, no *refusal) {
	defer c.nc.Close()
	if no.v3 != connUnavailable {
		if d := s.failures.add(addrPort(c.nc.RemoteAddr()).Addr(), s.now()); d > 0 {
			select {
			case s.delays <- struct{}{}:
				defer func() { <-s.delays }()
			default:
				return
			}
			s.metrics.delayed.Inc()
			t := time.NewTimer(d)
			defer t.Stop()
			select {
			case <-t.C:
			case <-s.stop:
				return
			}
		}
	}
	c.nc.SetDeadline(time.Now().Add(denyTime))
	if _, err := c.nc.Write(appendRefusal(nil, c.level, no)); err != nil {
		return
	}
	// A close with unread bytes would reset the connection and could take the
	// answer with it.
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		select {
		case s.delays <- struct{}{}:
			io.CopyN(io.Discard, c.nc, preAuth)
			<-s.delays
		default:
		}
	}
}

// denyTime is how long a refused client has to read its answer and go.
const denyTime = time.Second

// peerCertificates completes TLS, if there is any.
func peerCertificates(ctx context.Context, nc net.Conn) ([]*x509.Certificate, error) {
	if t, ok := nc.(interface{ HandshakeContext(context.Context) error }); ok {
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, &tlsFailure{err}
		}
	}
	if t, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		return t.ConnectionState().PeerCertificates, nil
	}
	return nil, nil
}

type tlsFailure struct{ err error }

func (e *tlsFailure) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *tlsFailure) Unwrap() error { return e.err }

// handshakeFailure is the metric's label for a handshake without an answer.
func handshakeFailure(err error) string {
	var t *tlsFailure
	var n net.Error
	switch {
	case errors.Is(err, errBudget):
		return "budget"
	case errors.As(err, &n) && n.Timeout():
		return "timeout"
	case errors.As(err, &t):
		return "tls"
	}
	return asBreach(err).label
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return ap
}

// budgetConn bounds what is read from a client before it is admitted, TLS
// included.
type budgetConn struct {
	net.Conn
	left atomic.Int64 // bytes, or unlimited
}

const unlimited = -1 << 62

var errBudget = errors.New("client sent too much before it was admitted")

func (b *budgetConn) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left < 0 {
		return b.Conn.Read(p)
	}
	if left == 0 {
		return 0, errBudget
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.CompareAndSwap(left, left-int64(n))
	return n, err
}
