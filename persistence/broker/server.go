package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Server is a running log. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	lock     *dirLock
	listener net.Listener
	host     string // what clients are told
	port     int32
	password string // of nodeUser

	table  table
	guard  *guard
	groups *groups

	ctx   context.Context // ends all connections
	stop  context.CancelFunc
	tasks sync.WaitGroup // the listener's goroutine and those of connections
	slots chan struct{}  // one for each open connection

	mu     sync.Mutex // guards conns and closed; not held during I/O
	conns  map[*conn]struct{}
	closed bool

	closeOnce sync.Once
	closeErr  error
}

// Credentials are what a client of the server's own process authenticates
// with; an eventlog.SASL has the same fields.
type Credentials struct{ Mechanism, User, Password string }

// lockFile keeps other processes out of a directory.
const lockFile = "server.lock"

// Start opens the directory and serves. Every error is one line that says what
// to do. ctx bounds the start alone.
func Start(ctx context.Context, o Options) (*Server, error) {
	o = o.ensureDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		opts:     o,
		password: rand.Text(),
		slots:    make(chan struct{}, o.MaxConnections),
		conns:    make(map[*conn]struct{}),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.start(ctx); err != nil {
		s.stop()
		s.lock.release()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	if s.opts.FS == nil {
		if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
			return fmt.Errorf("log data directory: %w; choose another with data or correct its owner", err)
		}
		lock, err := lockDir(s.opts.Dir)
		if err != nil {
			return err
		}
		s.lock = lock
	}
	// The port comes first: it is the likeliest to be refused, and nothing has
	// been touched yet.
	ln, err := listen(ctx, s.opts.Listen)
	if err != nil {
		return err
	}
	s.host, s.port, err = splitHostPort(cmp.Or(s.opts.Advertise, ln.Addr().String()))
	if err == nil {
		s.guard, err = newGuard(s.opts)
	}
	if err != nil {
		ln.Close()
		return err
	}
	if s.opts.TLS != nil {
		ln = tls.NewListener(ln, s.opts.TLS)
	}
	s.listener = ln
	s.groups = newGroups(s)
	s.table = s.handlers()
	s.tasks.Go(s.accept)
	return nil
}

// accept takes connections until the listener is closed. Those above the limit
// wait in the system's queue.
func (s *Server) accept() {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		nc, err := s.listener.Accept()
		if err != nil {
			<-s.slots
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, or the client went away at once.
			s.opts.Logger.Warn("connection not accepted", "error", err)
			if !pause(s.ctx, acceptPause) {
				return
			}
			continue
		}
		if !s.serveConn(nc) {
			<-s.slots
		}
	}
}

// serveConn serves a connection on a goroutine of its own; false if the server
// is closed. The connection's slot is given back at its end.
func (s *Server) serveConn(nc net.Conn) bool {
	c := newConn(s, nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.cancel()
		nc.Close()
		return false
	}
	s.conns[c] = struct{}{}
	s.tasks.Go(func() {
		c.run()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		<-s.slots
	})
	return true
}

// Addr is the host:port that clients connect to.
func (s *Server) Addr() string { return net.JoinHostPort(s.host, strconv.Itoa(int(s.port))) }

// Credentials let a client of this process do everything.
func (s *Server) Credentials() Credentials {
	return Credentials{Mechanism: "SCRAM-SHA-256", User: nodeUser, Password: s.password}
}

// Close ends all connections and closes the storage. What was acknowledged is
// kept whether or not Close is called. Further calls do nothing and return what
// the first one did.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Server) close() error {
	// First no new connections, then an end to those that are open, so that
	// nothing asks the storage any more; then the storage; the lock last.
	s.listener.Close()
	s.mu.Lock()
	s.closed = true
	s.stop()
	for c := range s.conns {
		c.nc.Close()
	}
	s.mu.Unlock()
	s.groups.close()
	s.tasks.Wait()
	s.lock.release()
	return nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("log.listen %s: the port is in use; stop what uses it or choose another", address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("log.listen %s: no right to use the port; choose one above 1023", address)
	}
	return nil, fmt.Errorf("log.listen %s: %w", address, err)
}

func splitHostPort(address string) (host string, port int32, err error) {
	host, name, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(name, 10, 16)
	return host, int32(n), err
}

// acceptPause keeps the listener from spinning while the system has no room.
const acceptPause = 50 * time.Millisecond

// pause waits; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
