package broker

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/gemello/gemello/persistence/broker/access"
	"github.com/prometheus/client_golang/prometheus"
)

// Options say where a server keeps its data and whom it serves.
type Options struct {
	// Dir holds the data; it is made with mode 0700 if missing. Required.
	Dir string
	// FS holds Dir; nil is the disk. On another one the directory is not
	// locked.
	FS vfs.FS
	// Listen is the address to serve on; empty is 127.0.0.1 and a free port.
	Listen string
	// Advertise is the host:port that clients are told; empty is the address
	// served on. Needed if Listen names no host.
	Advertise string
	// SyncWrites makes every acknowledgement wait for the disk. Without it
	// acknowledged records survive the end of the process only.
	SyncWrites bool
	// TLS, when set, is used for every connection.
	TLS *tls.Config
	// Users, when set, are the only ones who may connect, with
	// SCRAM-SHA-256 or -512; they may do everything. Required unless Listen is
	// a loopback address.
	Users []User
	// Grants say what a user may do; one without any may do everything.
	Grants map[string][]access.Grant
	// Private topics are for holders of Credentials alone, and so are the
	// transactional ids and groups that begin with PrivatePrefix. ReadOnly
	// topics may be read by all and written by those. If both lists are empty
	// everybody may do everything.
	Private, ReadOnly []string
	// PrivatePrefix, when set, begins names that are private, as above.
	PrivatePrefix string
	// Retention and RetentionBytes bound what is kept of topics that are not
	// compacted: age, for topics that don't set their own, and size of all of
	// them together; 0 is 7 days and 10 GiB. Negative is no bound.
	Retention      time.Duration
	RetentionBytes int64
	// Floor returns the oldest offset of a partition that a replay may still
	// need; nothing from there on is deleted. It must not block. Nil is no
	// floor.
	Floor func(topic string, partition int32) (offset int64, ok bool)
	// AutoCreateTopics lets a client that asks for it create a topic by asking
	// for its metadata.
	AutoCreateTopics bool
	// DefaultPartitions is what a topic gets that is created without a number;
	// 0 is 1.
	DefaultPartitions int32
	// InitialRebalanceDelay is how long the first members of an empty group
	// wait for others; 0 is none.
	InitialRebalanceDelay time.Duration
	// MaxConnections bounds open connections; 0 is 4,096. MaxRequestBytes
	// bounds a request that produces; 0 is 64 MiB. Other requests are bounded
	// to a sixteenth of it.
	MaxConnections  int
	MaxRequestBytes int
	// MaxInflightBytes bounds the requests under way of all connections
	// together; 0 is four times MaxRequestBytes.
	MaxInflightBytes int64
	// MaxFetchBytes bounds the records that responses under way hold in memory;
	// 0 is 128 MiB.
	MaxFetchBytes int64
	// IdleTimeout ends a connection that asks nothing; 0 is 10 minutes. A
	// twentieth of it is enough when there are MaxConnections.
	// WriteTimeout ends one that does not read its responses, and a tenth of it
	// one that stands still in a request or response while others wait for the
	// memory that it holds; 0 is 30 seconds.
	IdleTimeout, WriteTimeout time.Duration
	// Housekeeping is the pause between rounds of expiry, retention and
	// compaction; 0 is the storage's default.
	Housekeeping time.Duration
	// CacheBytes is the storage's cache; 0 is its default.
	CacheBytes int64
	// Logger takes what the server decides and what goes wrong; nil discards.
	Logger *slog.Logger
	// Registerer takes the metrics; nil is none.
	Registerer prometheus.Registerer
}

// User may connect to a server that wants to know its users.
type User struct{ Name, Password string }

// String leaves the password out.
func (u User) String() string { return u.Name }

// GoString keeps the password out of %#v as well.
func (u User) GoString() string { return u.Name }

const (
	// nodeUser is who clients of the server's own process are.
	nodeUser = "gemello-node"
	// anonymousUser is who a client is that does not authenticate.
	anonymousUser = "ANONYMOUS"
)

// ensureDefaults fills in zero values.
func (o Options) ensureDefaults() Options {
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	o.Retention = cmp.Or(o.Retention, 7*24*time.Hour)
	o.RetentionBytes = cmp.Or(o.RetentionBytes, 10<<30)
	o.DefaultPartitions = cmp.Or(o.DefaultPartitions, 1)
	o.MaxConnections = cmp.Or(o.MaxConnections, 4096)
	o.MaxRequestBytes = cmp.Or(o.MaxRequestBytes, 64<<20)
	o.MaxInflightBytes = cmp.Or(o.MaxInflightBytes, 4*int64(o.MaxRequestBytes))
	o.MaxFetchBytes = cmp.Or(o.MaxFetchBytes, 128<<20)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 10*time.Minute)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) validate() error {
	if o.Dir == "" {
		return errors.New("log: no data directory given; set data")
	}
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return fmt.Errorf("log.listen %q: want host:port, such as 127.0.0.1:9092", o.Listen)
	}
	if len(o.Users) == 0 && !loopback(host) {
		return fmt.Errorf("log.listen %q: an open log serves loopback addresses only; listen on 127.0.0.1 or give users with --auth", o.Listen)
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		if o.Advertise == "" {
			return fmt.Errorf("log.listen %q: clients must be told a host to connect to; name one or set the advertised address", o.Listen)
		}
	}
	if o.Advertise != "" {
		if _, _, err := splitHostPort(o.Advertise); err != nil {
			return fmt.Errorf("log advertised address %q: want host:port", o.Advertise)
		}
	}
	for _, u := range o.Users {
		if u.Name == "" || u.Password == "" {
			return fmt.Errorf("log user %q: name and password must not be empty", u.Name)
		}
		if u.Name == nodeUser || u.Name == anonymousUser {
			return fmt.Errorf("log user %q: the name is taken; choose another", u.Name)
		}
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
