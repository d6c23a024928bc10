package bridge

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gemello/gemello/ingest"
	"github.com/prometheus/client_golang/prometheus"
)

// Appender takes telemetry to the device log; the one who builds a bridge gives
// it. Publish may block while the node is over its limits. It may keep the message
// and must not change it: refused, it becomes a Refusal. done runs exactly once, on any goroutine, after the log has
// acknowledged with acks=all or with the error. An error that wraps
// ingest.ErrInvalid, ErrTooLarge, ErrNotFound or ErrUnauthorized refuses the
// message for good; with any other it will be tried again.
type Appender interface {
	Publish(deviceID string, m ingest.Message, done func(error))
}

// Options of a Bridge. Broker, ClientID, Group, Template and Appender are
// required.
type Options struct {
	// Name tells bridges of one node apart in logs and metrics; "" is "bridge".
	Name string

	// Broker is where to connect: mqtt://host[:1883], mqtts://host[:8883]; tcp,
	// ssl and tls are other names for the two. User and password do not belong here.
	Broker string

	// CAFile has the PEM certificates to trust in place of the system's; CertFile
	// and KeyFile are the client's own pair. All are for mqtts only.
	CAFile, CertFile, KeyFile string

	// User and PasswordFile authenticate; the file is read at each connection and
	// one line end is cut off. Empty means without.
	User, PasswordFile string

	// ClientID names this bridge to the broker: different for each node, and the
	// same over restarts, since the broker keeps undelivered messages under it. It
	// keeps the subscription as well: after a change of Group or Filter the old
	// one stays until the session expires, so take another ClientID then.
	ClientID string

	// Group is the shared subscription's name, the same on all nodes.
	Group string

	// Template maps topics to devices; Filter is what to subscribe to and may be
	// narrower or wider. "" is the template's own filter. Messages that pass the
	// filter and do not fit the template are refused.
	Template, Filter string

	// MaxInflight bounds the messages between broker and log; 0 means 512, at
	// most 65535. In bytes this is up to MaxInflight times twice MaxBody.
	MaxInflight int

	// MaxBody bounds body and properties of a message in bytes; 0 means 256 KiB,
	// the limit of devices. The broker is told to send no packet of more than
	// twice that and 64 KiB; it drops larger ones itself, as MQTT-3.1.2-25 wants.
	MaxBody int

	// SessionExpiry is how long the broker keeps messages while the bridge is
	// away; 0 means one hour. Brokers may keep a share of the group's messages for
	// a node that is away, and drop it when the time is over.
	SessionExpiry time.Duration

	// RetryMin and RetryMax bound the pause before a new connection; 0 means
	// 200 ms and 30 s. It doubles with each failure in a row and is jittered.
	RetryMin, RetryMax time.Duration

	Appender Appender

	// DeadLetter keeps a refusal and calls done exactly once, with nil when it is
	// kept; with an error the message is tried again. It must not block. nil:
	// refusals are counted only.
	DeadLetter func(r Refusal, done func(error))

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: metrics are kept but not exported
}

// config is what New makes of Options.
type config struct {
	Options
	template Template
	address  string
	server   *url.URL
	tls      *tls.Config // nil: without TLS
}

func (o Options) config() (config, error) {
	o.Name = cmp.Or(o.Name, "bridge")
	o.MaxInflight = cmp.Or(o.MaxInflight, 512)
	o.MaxBody = cmp.Or(o.MaxBody, ingest.MaxMessage)
	o.SessionExpiry = cmp.Or(o.SessionExpiry, time.Hour)
	o.RetryMin = cmp.Or(o.RetryMin, 200*time.Millisecond)
	o.RetryMax = max(cmp.Or(o.RetryMax, 30*time.Second), o.RetryMin)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("bridge", o.Name)
	c := config{Options: o}
	var errs []error
	fault := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }

	if err := c.parseBroker(); err != nil {
		errs = append(errs, err)
	}
	if o.ClientID == "" {
		fault("client id is empty; give each node its own")
	}
	if o.Group == "" || strings.ContainsAny(o.Group, "/+#") {
		fault("group %q: give a name without / + and #", o.Group)
	}
	var err error
	if c.template, err = ParseTemplate(o.Template); err != nil {
		errs = append(errs, err)
	} else if c.Filter == "" {
		c.Filter = c.template.Filter()
	}
	if c.Filter != "" {
		if err := checkFilter(c.Filter); err != nil {
			fault("topic filter %q %w", c.Filter, err)
		}
	}
	if o.PasswordFile != "" && o.User == "" {
		fault("a password file without a user; give the user")
	}
	if o.MaxInflight < 1 || o.MaxInflight > 65535 {
		fault("%d messages in flight; 1 to 65535 are allowed", o.MaxInflight)
	}
	if o.MaxBody < 1 || o.MaxBody > 64<<20 {
		fault("%d bytes a message; 1 to 64 MiB are allowed", o.MaxBody)
	}
	if o.SessionExpiry < time.Second || o.RetryMin < 0 {
		fault("session expiry and pauses must be positive, and a session lasts at least 1 s")
	}
	if o.Appender == nil {
		fault("no appender")
	}
	return c, errors.Join(errs...)
}

func (c *config) parseBroker() error {
	u, err := url.Parse(c.Broker)
	if err != nil || u.Hostname() == "" {
		// The URL itself is not repeated: it may hold a password.
		return errors.New("broker is not a URL; write mqtts://host:8883 or mqtt://host:1883")
	}
	if u.User != nil {
		return fmt.Errorf("broker %s: leave user and password out of the URL; give a user and a password file", u.Redacted())
	}
	port := u.Port()
	switch u.Scheme {
	case "mqtt", "tcp":
		if c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" {
			return fmt.Errorf("broker %s: certificates are given, but the connection would be in clear; write mqtts://", c.Broker)
		}
		port = cmp.Or(port, "1883")
	case "mqtts", "ssl", "tls":
		port = cmp.Or(port, "8883")
		if c.tls, err = c.tlsConfig(u.Hostname()); err != nil {
			return err
		}
	default:
		return fmt.Errorf("broker %s: scheme %q is not known; write mqtts:// or mqtt://", c.Broker, u.Scheme)
	}
	c.server = u
	c.address = net.JoinHostPort(u.Hostname(), port)
	return nil
}

func (c *config) tlsConfig(host string) (*tls.Config, error) {
	t := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the broker's CA: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no PEM certificate", c.CAFile)
		}
	}
	if c.CertFile == "" && c.KeyFile == "" {
		return t, nil
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the client certificate: %w", err)
	}
	t.Certificates = []tls.Certificate{pair}
	return t, nil
}

func (c *config) password() ([]byte, error) {
	if c.PasswordFile == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("reading the broker's password: %w", err)
	}
	s := strings.TrimSuffix(string(b), "\n")
	return []byte(strings.TrimSuffix(s, "\r")), nil
}
