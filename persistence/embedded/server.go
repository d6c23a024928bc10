package embedded

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Server is a running log. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	dir      string
	lock     *dirLock
	gate     *gate
	cluster  *kfake.Cluster
	password string // of nodeUser

	saveFailed atomic.Bool // the broker could not write its state at Close
	closeOnce  sync.Once
	closeErr   error

	stop      context.CancelFunc
	stopped   chan struct{} // closed when housekeeping has ended
	compacted int64         // bytes of compacted topics after the last compaction; housekeeping's own
}

// Credentials are what a client of the server's own process authenticates
// with; an eventlog.SASL has the same fields.
type Credentials struct{ Mechanism, User, Password string }

// cleanFile stands in a directory whose server was closed in order.
const cleanFile = "clean"

// Start opens the directory, repairs it if its last server was killed, and
// serves. Every error is one line that says what to do. ctx bounds the start
// alone.
func Start(ctx context.Context, o Options) (*Server, error) {
	o = o.ensureDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("log data directory: %w; choose another with data or correct its owner", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, dir: o.Dir, lock: lock, password: rand.Text()}
	if err := s.start(ctx); err != nil {
		lock.release()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	// The port comes first: it is the likeliest to be refused, and nothing has
	// been touched yet.
	ln, err := listen(ctx, s.opts.Listen)
	if err != nil {
		return err
	}
	if s.opts.TLS != nil {
		ln = tls.NewListener(ln, s.opts.TLS)
	}
	if err := s.prepare(ctx); err != nil {
		ln.Close()
		return err
	}
	s.gate = newGate(ln, s.opts)
	if s.opts.SyncWrites {
		// Not by the broker, which would sync each file in turn and do nothing
		// else meanwhile.
		s.gate.flush = newFlusher(s.dir)
	}
	s.cluster, err = kfake.NewCluster(s.brokerOptions()...)
	if err != nil {
		s.gate.close()
		s.gate.flush.close()
		return fmt.Errorf("log data directory %s: %w; restore it from a backup or start with an empty one", s.dir, err)
	}
	keepRetention(s.cluster)
	hctx, stop := context.WithCancel(context.Background())
	s.stop, s.stopped = stop, make(chan struct{})
	go s.housekeep(hctx)
	return nil
}

// prepare brings the directory into a state that the broker may load.
func (s *Server) prepare(ctx context.Context) error {
	clean := filepath.Join(s.dir, cleanFile)
	_, err := os.Stat(clean)
	switch {
	case err == nil:
		// From here on it is not.
		if err := os.Remove(clean); err != nil {
			return fmt.Errorf("log data directory: %w", err)
		}
	case errors.Is(err, os.ErrNotExist):
		if err := recoverDir(ctx, s.dir, s.opts.Logger); err != nil {
			return err
		}
	default:
		return fmt.Errorf("log data directory: %w; correct its owner", err)
	}
	return writeAccess(s.dir, s.opts)
}

func (s *Server) brokerOptions() []kfake.Opt {
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("gemello"),
		kfake.DataDir(s.dir),
		kfake.WithLogger(brokerLogger{s.opts.Logger, &s.saveFailed}),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return s.gate, nil }),
		kfake.DefaultNumPartitions(1),
		kfake.BrokerConfigs(map[string]string{
			"default.replication.factor": "1",
			// The broker deletes after seven days whatever the topic, compacted
			// or not, and compacts over open transactions; both are done here.
			"log.retention.ms":       "-1",
			"log.retention.bytes":    "-1",
			"log.cleaner.backoff.ms": strconv.FormatInt(100*365*24*3600*1000, 10),
			"log.segment.bytes":      strconv.FormatInt(s.opts.SegmentBytes, 10),
		}),
		// Never PLAIN: the broker takes an empty password for any name that has
		// none.
		kfake.Superuser(scram256, nodeUser, s.password),
	}
	if len(s.opts.Users) > 0 {
		opts = append(opts, kfake.EnableSASL())
		for _, u := range s.opts.Users {
			opts = append(opts,
				kfake.Superuser(scram256, u.Name, u.Password),
				kfake.Superuser(scram512, u.Name, u.Password))
		}
	}
	if restricted(s.opts) {
		opts = append(opts, kfake.EnableACLs(),
			// A user of that name is how rules for it are given; nobody knows
			// the password.
			kfake.User(scram256, anonymousUser, rand.Text(), anonymousRules(s.opts)...))
	}
	return opts
}

// Addr is the host:port that clients connect to.
func (s *Server) Addr() string { return s.gate.Addr().String() }

// Credentials let a client of this process do everything.
func (s *Server) Credentials() Credentials {
	return Credentials{Mechanism: scram256, User: nodeUser, Password: s.password}
}

// Close ends all connections and writes what makes the next start fast. What
// was acknowledged is kept whether or not Close is called. Further calls do
// nothing and return what the first one did.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Server) close() error {
	s.stop()
	<-s.stopped
	// First the broker, which refuses requests from then on; then what is left
	// of the connections, so that nothing touches the directory any more; then
	// the word that it is whole; the lock last.
	s.cluster.Close()
	s.gate.close()
	err := s.gate.flush.close()
	if err != nil {
		err = fmt.Errorf("log data directory %s: %w", s.dir, err)
	} else if s.saveFailed.Load() {
		err = fmt.Errorf("log data directory %s: state was not written; the next start will repair it", s.dir)
	} else {
		err = os.WriteFile(filepath.Join(s.dir, cleanFile), nil, 0o600)
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

// brokerLogger hands the broker's warnings to slog and remembers errors, of
// which there is one kind: state that could not be written at Close.
type brokerLogger struct {
	log    *slog.Logger
	failed *atomic.Bool
}

func (l brokerLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.failed.Store(true)
		l.log.Error("embedded log: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		// kfake calls a commit slow after 5 ms, which any sync to disk may take.
		if strings.HasPrefix(format, "txn: EndTxn slow") {
			l.log.Debug("embedded log: " + fmt.Sprintf(format, args...))
			return
		}
		l.log.Warn("embedded log: " + fmt.Sprintf(format, args...))
	}
}
