package embedded

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Options say where a server keeps its data and whom it serves.
type Options struct {
	// Dir holds the data; it is made with mode 0700 if missing. Required.
	Dir string
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
	// Private topics are for holders of Credentials alone, and so are the
	// transactional ids and groups that begin with PrivatePrefix. ReadOnly
	// topics may be read by all and written by those. If both lists are empty
	// everybody may do everything.
	Private, ReadOnly []string
	// PrivatePrefix, when set, begins names that are private, as above.
	PrivatePrefix string
	// Retention and RetentionBytes bound what is kept of topics that are not
	// compacted: age of a segment that is written no more, for topics that
	// don't set their own, and size of all of them together; 0 is 7 days and
	// 10 GiB. Negative is no bound.
	Retention      time.Duration
	RetentionBytes int64
	// SegmentBytes is the size of a file of a partition, and so the grain of
	// retention; 0 is 32 MiB.
	SegmentBytes int64
	// Floor returns the oldest offset of a partition that a replay may still
	// need; nothing from there on is deleted. It is called from the server's
	// goroutine and must not block. Nil is no floor.
	Floor func(topic string, partition int32) (offset int64, ok bool)
	// Housekeeping is the pause between rounds of retention and compaction; 0
	// is a minute.
	Housekeeping time.Duration
	// CompactBytes is how much compacted topics may grow before it is worth
	// while to rewrite them, which stops all writing; 0 is 64 MiB.
	CompactBytes int64
	// MaxConnections bounds open connections; 0 is 4,096. MaxRequestBytes
	// bounds a request; 0 is 64 MiB.
	MaxConnections  int
	MaxRequestBytes int
	// Logger takes what the server decides and what goes wrong; nil discards.
	Logger *slog.Logger
}

// User may connect to a server that wants to know its users.
type User struct{ Name, Password string }

// String leaves the password out.
func (u User) String() string { return u.Name }

// GoString keeps the password out of %#v as well.
func (u User) GoString() string { return u.Name }

// ensureDefaults fills in zero values.
func (o Options) ensureDefaults() Options {
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	o.Retention = cmp.Or(o.Retention, 7*24*time.Hour)
	o.RetentionBytes = cmp.Or(o.RetentionBytes, 10<<30)
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 32<<20)
	o.Housekeeping = cmp.Or(o.Housekeeping, time.Minute)
	o.CompactBytes = cmp.Or(o.CompactBytes, 64<<20)
	o.MaxConnections = cmp.Or(o.MaxConnections, 4096)
	o.MaxRequestBytes = cmp.Or(o.MaxRequestBytes, 64<<20)
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
		if _, _, err := net.SplitHostPort(o.Advertise); err != nil {
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
