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
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// Server is a running log. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	lock     *dirLock
	listener net.Listener
	host     string // what clients are told
	port     int32
	password string // of nodeUser

	log      *storage.Log
	metrics  *metrics
	inflight *budget // of requests
	fetches  *budget // of responses to fetches
	// remembered counts the partitions that fetch sessions hold.
	remembered atomic.Int64
	buffers    buffers

	table   table
	configs []topicConfig // by name
	guard   *guard
	groups  *groups

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

// The only broker of the cluster, and the only epoch that it leads partitions
// in.
const (
	nodeID      = 1
	leaderEpoch = 0
)

// lockFile keeps other processes out of a directory. oldFile stands in one of
// before logs were kept by package storage.
const (
	lockFile = "server.lock"
	oldFile  = "meta.json"
)

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
		configs:  topicConfigs(),
		inflight: newBudget(o.MaxInflightBytes),
		fetches:  newBudget(o.MaxFetchBytes),
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
		if _, err := os.Stat(filepath.Join(s.opts.Dir, oldFile)); err == nil {
			return fmt.Errorf("log data directory %s holds the log of an earlier version, which this one can't read; take the devices along (gemello device export with that version) and start with a new data directory", s.opts.Dir)
		}
	}
	// The port comes first: it is the likeliest to be refused, and nothing has
	// been touched yet.
	ln, err := listen(ctx, s.opts.Listen)
	if err != nil {
		return err
	}
	s.host, s.port, err = splitHostPort(cmp.Or(s.opts.Advertise, ln.Addr().String()))
	if err == nil {
		s.guard, err = newGuard(s.opts, s.password)
	}
	if err != nil {
		ln.Close()
		return err
	}
	if s.metrics, err = newMetrics(s.opts.Registerer); err != nil {
		ln.Close()
		return fmt.Errorf("log metrics: %w", err)
	}
	s.groups = newGroups(s)
	if s.log, err = storage.Open(ctx, s.storageOptions()); err != nil {
		ln.Close()
		return fmt.Errorf("log data directory %s: %w; restore it from a backup or start with an empty one", s.opts.Dir, err)
	}
	if s.opts.TLS != nil {
		ln = tls.NewListener(ln, s.opts.TLS)
	}
	s.listener = ln
	s.table = s.handlers()
	s.tasks.Go(s.accept)
	return nil
}

func (s *Server) storageOptions() storage.Options {
	return storage.Options{
		Dir:            s.opts.Dir,
		FS:             s.opts.FS,
		NoSync:         !s.opts.SyncWrites,
		Retention:      s.opts.Retention,
		RetentionBytes: s.opts.RetentionBytes,
		Floor:          s.opts.Floor,
		GroupActive:    s.groups.active,
		Housekeeping:   s.opts.Housekeeping,
		CacheBytes:     s.opts.CacheBytes,
		Logger:         s.opts.Logger,
		Registerer:     s.opts.Registerer,
	}
}

// accept takes connections until the listener is closed. Those above the limit
// wait in the system's queue until one has ended or was idle for long enough.
func (s *Server) accept() {
	for {
		if !s.awaitSlot() {
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
			if !sleep(s.ctx, acceptPause) {
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
	s.metrics.accepted.Inc()
	s.metrics.connections.Inc()
	s.tasks.Go(func() {
		c.run()
		s.metrics.connections.Dec()
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
	err := s.log.Close()
	if err != nil {
		err = fmt.Errorf("log data directory %s: %w", s.opts.Dir, err)
	}
	s.lock.release()
	return err
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

// sleep waits; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
