package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/ingest"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("mqtt: server is closed")

// Server accepts MQTT connections for a hub.
type Server struct {
	hub       ingest.Hub
	log       *slog.Logger
	clock     func() time.Time
	limits    Limits
	metrics   *metrics
	started   time.Time
	packetIDs atomic.Uint32 // of commands that were sent

	sessions *sessions
	failures *failures
	shards   [shards]shard
	coarse   atomic.Int64 // server clock of the last sweep

	slots   chan struct{} // one for each handshake
	delays  chan struct{} // one for each refusal that is held back
	stop    chan struct{} // closed when Shutdown begins
	quit    chan struct{} // closed when it ends: flushers and sweep go
	flushes chan *conn    // to a flusher that waits
	outPool sync.Pool     // *[outBuffer]byte
	bigPool sync.Pool     // *[bigBuffer]byte

	flushers atomic.Int32   // that wait
	conns    sync.WaitGroup // admitted connections
	wg       sync.WaitGroup // all goroutines

	mu        sync.Mutex // guards the following; shard locks come after it
	closed    bool
	sweeping  bool
	listeners map[net.Listener]struct{}
	pending   map[*conn]net.Conn // in their handshake
}

// New returns a Server that accepts nothing until Serve or ServeConn is called.
// Options.Hub must be set.
func New(o Options) *Server {
	o.Limits.ensureDefaults()
	s := &Server{
		hub:       o.Hub,
		log:       o.Logger,
		clock:     o.Clock,
		limits:    o.Limits,
		metrics:   newMetrics(o.Registerer),
		failures:  newFailures(o.Limits.Failures, o.Limits.FailureDelay),
		slots:     make(chan struct{}, o.Limits.Handshakes),
		delays:    make(chan struct{}, o.Limits.Handshakes),
		stop:      make(chan struct{}),
		quit:      make(chan struct{}),
		flushes:   make(chan *conn),
		listeners: make(map[net.Listener]struct{}),
		pending:   make(map[*conn]net.Conn),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	s.started = s.clock()
	s.sessions = newSessions(o.Limits.Sessions, s.metrics)
	s.coarse.Store(int64(s.now()))
	return s
}

// now is the server's clock: time since an hour before New, so that zero is
// never reached.
func (s *Server) now() time.Duration { return s.clock().Sub(s.started) + time.Hour }

// Serve accepts connections of l until Shutdown, then returns ErrServerClosed.
// l may be a TLS listener; ServeTLS guards its handshakes better. Serve closes l.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, nil) }

// ServeTLS is Serve with TLS on top of l. What a client may send before it is
// admitted is bounded, the TLS handshake included. Client certificates are
// asked for if cfg says so.
func (s *Server) ServeTLS(l net.Listener, cfg *tls.Config) error { return s.serve(l, cfg) }

func (s *Server) serve(l net.Listener, cfg *tls.Config) error {
	defer l.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err != nil {
			select {
			case <-s.stop:
				return ErrServerClosed
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("mqtt: accept: %w", err)
			}
			// Out of files or memory: wait for some connection to end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Error("mqtt accept", "err", err, "retry", pause)
			select {
			case <-s.stop:
				return ErrServerClosed
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		s.begin(nc, cfg, "mqtt")
	}
}

// ServeConn takes a connection that was accepted elsewhere, such as a
// WebSocket, and returns while it is served. protocol is what
// ingest.Credentials names it. Like a net.Conn, nc must survive a read that
// ends at its deadline. If it has a method ConnectionState, the peer's
// certificates are taken from there.
func (s *Server) ServeConn(nc net.Conn, protocol string) { s.begin(nc, nil, protocol) }

// begin waits for a free handshake and starts it.
func (s *Server) begin(nc net.Conn, cfg *tls.Config, protocol string) {
	select {
	case s.slots <- struct{}{}:
	case <-s.stop:
		nc.Close()
		return
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.slots
		nc.Close()
		return
	}
	if !s.sweeping {
		s.sweeping = true
		s.wg.Add(1)
		go s.sweepAll()
	}
	c := newConn(s, nc)
	s.pending[c] = nc
	s.wg.Add(1)
	s.mu.Unlock()
	s.metrics.handshakes.Inc()
	go s.handshake(c, cfg, protocol)
}

// Shutdown stops accepting and reading, lets the PUBACKs of messages that the
// hub has leave, and closes all connections with ReasonShutdown. When ctx ends
// first the rest is closed at once. It returns ctx's error if something still
// runs then, for example a Link that blocks.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	for l := range s.listeners {
		l.Close()
	}
	// Who is not admitted yet has nothing to lose.
	for _, nc := range s.pending {
		nc.Close()
	}
	s.mu.Unlock()

	s.each(func(c *conn) { c.startDrain() })
	gone := make(chan struct{})
	go func() {
		s.conns.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		s.each(func(c *conn) { c.close(errStopped) })
	}
	s.mu.Lock()
	select {
	case <-s.quit:
	default:
		close(s.quit)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(closeGrace):
		return errors.Join(errors.New("mqtt: connections still run"), ctx.Err())
	}
}

// startDrain makes the reader stop reading and wait for the hub.
func (c *conn) startDrain() {
	c.draining.Store(true)
	c.nc.SetReadDeadline(time.Unix(1, 0))
}
