package eventlog

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Record is a record of the log. Fields that the log fills (Offset, Attrs,
// producer id) are ignored when writing.
type Record = kgo.Record

// Header is a header of a record.
type Header = kgo.RecordHeader

// SASL names the credentials for the log. The zero value is none.
type SASL struct {
	Mechanism string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty is none
	User      string
	Password  string
}

// String leaves the password out.
func (s SASL) String() string {
	if s.Mechanism == "" {
		return "none"
	}
	return s.Mechanism + " as " + s.User
}

// GoString keeps the password out of %#v as well.
func (s SASL) GoString() string { return s.String() }

func (s SASL) mechanism() (sasl.Mechanism, error) {
	switch strings.ToUpper(s.Mechanism) {
	case "":
		return nil, nil
	case "PLAIN":
		return plain.Auth{User: s.User, Pass: s.Password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("log.sasl.mechanism %q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism)
}

// Options say how to reach a log.
type Options struct {
	// Seeds are host:port addresses of at least one broker.
	Seeds []string
	// ClientID is what brokers log and quota; empty is "gemello".
	ClientID string
	// TLS, when set, is used for every connection.
	TLS *tls.Config
	// SASL credentials; the zero value is none.
	SASL SASL
	// Logger takes the client's warnings; nil discards them.
	Logger *slog.Logger
	// Registerer takes the metrics; nil keeps them private.
	Registerer prometheus.Registerer
	// DialContext replaces the network's dialer; nil is net.Dialer with a
	// time-out of 10 s. TLS is not applied to what it returns.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Replication of topics that EnsureTopics creates; 0 is the log's default.
	Replication int16
	// MinInsync is min.insync.replicas of those topics; 0 is the log's default.
	MinInsync int16
}

// client returns the options that every client of this log starts from.
func (o Options) client() ([]kgo.Opt, error) {
	mech, err := o.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	id := o.ClientID
	if id == "" {
		id = "gemello"
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Seeds...),
		kgo.ClientID(id),
		// A broker that dies while it answers the first request of a connection
		// looks like one that wants TLS, for which a client gives up.
		kgo.AlwaysRetryEOF(),
		kgo.WithLogger(clientLogger{o.Logger}),
		// Telemetry about ourselves goes to our own metrics, not to the broker.
		kgo.DisableClientMetrics(),
		// The age below which metadata is not asked for again bounds how soon a
		// moved leader or a deleted topic is noticed; the default of seconds
		// would hold up commits.
		kgo.MetadataMinAge(metadataMinAge),
	}
	if mech != nil {
		opts = append(opts, kgo.SASL(mech))
	}
	switch {
	case o.DialContext != nil:
		opts = append(opts, kgo.Dialer(o.DialContext))
	case o.TLS != nil:
		opts = append(opts, kgo.DialTLSConfig(o.TLS))
	}
	return opts, nil
}
