package mqtt

import (
	"log/slog"
	"time"

	"github.com/gemello/gemello/ingest"
	"github.com/prometheus/client_golang/prometheus"
)

// Options configure a Server. Only Hub is required.
type Options struct {
	Hub        ingest.Hub
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
	Clock      func() time.Time      // nil is time.Now; deadlines of sockets are always real
	Limits     Limits
}

// Limits bound what clients can make the server hold. A zero field means its
// default.
type Limits struct {
	// Handshakes is how many connections may be between accept and CONNACK;
	// further ones wait in the listen queue. Default 1000.
	Handshakes int
	// HandshakeTime is how long TLS, CONNECT and the hub's answer may take
	// together. Default 10 s.
	HandshakeTime time.Duration
	// Failures is how many refused CONNECTs a minute an address has before its
	// next refusals are delayed. Default 20.
	Failures int
	// FailureDelay is the first delay; each further failure doubles it, up to
	// 32 times. Default 1 s.
	FailureDelay time.Duration
	// ReceiveMaximum is what clients of MQTT 5 are told. Default 64.
	ReceiveMaximum int
	// InFlight is how many messages of a connection may wait for the hub before
	// it is no longer read. At least ReceiveMaximum. Default 256.
	InFlight int
	// TwinRequests is how many twin requests of a connection may wait for the
	// hub; further ones are answered with 429. Default 16.
	TwinRequests int
	// OutboundBytes and OutboundPackets bound what waits to be written to a
	// connection; beyond, it is closed. Defaults 256 KiB and 4096.
	OutboundBytes   int
	OutboundPackets int
	// WriteTime is how long one write may take before the connection is closed.
	// Default 30 s.
	WriteTime time.Duration
	// Sessions is how many sessions without a connection are kept; beyond, the
	// one that was left first is dropped. Default 100,000.
	Sessions int
	// SessionExpiry caps what clients of MQTT 5 ask for. Default 7 days. The
	// sessions of MQTT 3.1.1 don't expire: their owners don't subscribe again.
	SessionExpiry time.Duration
}

func (l *Limits) ensureDefaults() {
	def(&l.Handshakes, 1000)
	def(&l.HandshakeTime, 10*time.Second)
	def(&l.Failures, 20)
	def(&l.FailureDelay, time.Second)
	def(&l.ReceiveMaximum, 64)
	l.ReceiveMaximum = min(l.ReceiveMaximum, 1<<16-1)
	def(&l.InFlight, 256)
	l.InFlight = max(l.InFlight, l.ReceiveMaximum)
	def(&l.TwinRequests, 16)
	def(&l.OutboundBytes, 256<<10)
	def(&l.OutboundPackets, 4096)
	def(&l.WriteTime, 30*time.Second)
	def(&l.Sessions, 100_000)
	def(&l.SessionExpiry, 7*24*time.Hour)
	l.SessionExpiry = min(l.SessionExpiry, (1<<32-2)*time.Second)
}

func def[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Sizes in bytes. A packet holds a message of the greatest size and the
// greatest topic; other packets than PUBLISH are small.
const (
	maxTopic   = 8 << 10
	maxPacket  = ingest.MaxMessage + maxTopic + 4<<10
	maxControl = 64 << 10 // CONNECT, SUBSCRIBE and all others
	maxFilters = 64       // in one SUBSCRIBE or UNSUBSCRIBE
	preAuth    = 64 << 10 // what a client may send before it is admitted
)
