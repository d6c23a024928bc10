package devices

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/gemello/gemello/device/credential"
)

// ErrOptions is returned for options that can't work; the text says which.
var ErrOptions = errors.New("simulate")

// ErrUnauthorized is returned when the hub refuses the credentials.
var ErrUnauthorized = errors.New("the hub refuses the credentials")

// Options say what to simulate and against which hub.
type Options struct {
	// Connection is a policy's connection string, or a device's for one device.
	// With registry rights the devices are created; with the right to connect
	// devices only, they must be there.
	Connection credential.ConnectionString
	// MQTT and HTTPS are addresses to dial in place of the host name's ports
	// 8883 and 443.
	MQTT, HTTPS string
	// TLS is the client's side; nil: the system's roots.
	TLS *tls.Config
	// Devices is their number, 1 or more; they are called Prefix-0001 and so on.
	Devices int
	// Prefix of device ids; empty: "sim".
	Prefix string
	// Rate is messages a second of all devices together, above 0.
	Rate float64
	// Report is called with the figures every ReportEvery, from Run's
	// goroutine; nil: never.
	Report      func(Stats)
	ReportEvery time.Duration // zero: 5 s
	// Logger receives lost connections; nil: discarded.
	Logger *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Stats are the figures of a fleet so far.
type Stats struct {
	Elapsed   time.Duration // since all devices were first connected
	Connected int
	Acked     int64 // messages that the hub acknowledged
	Failed    int64 // messages without an acknowledgement
	Behind    int64 // messages left out because their device still waited
	Reconnect int64 // connections after a device's first
	Methods   int64 // direct methods answered
}

// Rate is acknowledged messages a second.
func (s Stats) Rate() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Acked) / s.Elapsed.Seconds()
}

// ensureDefaults fills what is zero and checks the rest.
func (o *Options) ensureDefaults() error {
	if o.Prefix == "" {
		o.Prefix = "sim"
	}
	if o.ReportEvery <= 0 {
		o.ReportEvery = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	peer := o.peer()
	if o.MQTT == "" {
		o.MQTT = net.JoinHostPort(peer, "8883")
	}
	if o.HTTPS == "" {
		o.HTTPS = net.JoinHostPort(peer, "443")
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	o.TLS = o.TLS.Clone()
	o.TLS.ServerName = peer
	switch c := o.Connection; {
	case o.Devices < 1:
		return fmt.Errorf("%w: devices: %d is not allowed; allowed: 1 or more", ErrOptions, o.Devices)
	case !(o.Rate > 0 && o.Rate <= 1e7):
		return fmt.Errorf("%w: rate: %g is not allowed; allowed: above 0, up to 1e7 messages a second", ErrOptions, o.Rate)
	case c.HostName == "":
		return fmt.Errorf("%w: no connection string", ErrOptions)
	case c.Key.IsZero() && c.Signature == "":
		return fmt.Errorf("%w: the connection string of %s holds no key; use one with SharedAccessKey", ErrOptions, c.HostName)
	case c.ModuleID != "":
		return fmt.Errorf("%w: the connection string is a module's; use one of a device or a policy", ErrOptions)
	case c.DeviceID != "" && o.Devices != 1:
		return fmt.Errorf("%w: devices: %d is not allowed with the connection string of one device; use a policy's", ErrOptions, o.Devices)
	case c.DeviceID == "" && c.Key.IsZero():
		return fmt.Errorf("%w: a service token can't sign for devices; use a connection string with SharedAccessKey", ErrOptions)
	}
	return nil
}

// peer is the host that is dialled and that the certificate must name.
func (o *Options) peer() string {
	host := o.Connection.HostName
	if o.Connection.Gateway != "" {
		host = o.Connection.Gateway
	}
	return strings.Trim(host, "[]")
}
