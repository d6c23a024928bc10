package ingest

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"time"

	"github.com/gemello/gemello/device"
)

// Errors that a Hub answers with. A protocol maps each to its own code; any
// other error means that the hub is unavailable for now (MQTT CONNACK 3).
var (
	ErrUnauthorized = errors.New("not authorized")
	ErrBusy         = errors.New("busy")
	ErrNotFound     = errors.New("not found")
	ErrTooLarge     = errors.New("too large")
	ErrInvalid      = errors.New("invalid request")
	ErrPrecondition = errors.New("version does not match")
	ErrClosed       = errors.New("session is closed")
)

// Credentials are what a client showed when it connected. Token is the SAS text
// as received; PeerCertificates is the TLS chain, leaf first. DeviceID and
// ModuleID come from the client id (azure-iot-wire 1.5), Host from the user name.
type Credentials struct {
	Protocol         string // "mqtt", "mqttws", "amqp", "https"
	DeviceID         string
	ModuleID         string
	Host             string
	ModelID          string
	Agent            string // DeviceClientType or User-Agent
	Token            string
	PeerCertificates []*x509.Certificate
	Remote           netip.AddrPort
}

// Hub admits sessions. Connect is called from the connection's own goroutine
// and may block until ctx ends.
type Hub interface {
	Connect(ctx context.Context, c Credentials, s Session) (Link, error)
}

// Reason says why a session ends; protocols map it to their codes and metrics
// use it as a label.
type Reason string

// Reasons of a disconnect.
const (
	ReasonClient    Reason = "client"     // the client said goodbye
	ReasonLost      Reason = "lost"       // the connection broke or went silent
	ReasonTakenOver Reason = "taken_over" // a newer connection of the same identity
	ReasonExpired   Reason = "expired"    // its token expired
	ReasonDisabled  Reason = "disabled"   // the identity was disabled, deleted or re-keyed
	ReasonProtocol  Reason = "protocol"   // it broke the protocol
	ReasonForbidden Reason = "forbidden"  // it used a topic that is not its own
	ReasonTooLarge  Reason = "too_large"  // it exceeded a size limit
	ReasonShutdown  Reason = "shutdown"   // the node stops
	ReasonSlow      Reason = "slow"       // it did not read what was sent to it
	ReasonBusy      Reason = "busy"       // the hub could not take its message; it may try again
)

// Session is what the hub may do to a live connection. Its methods never block
// and may be called from any goroutine, also before Connect has returned.
type Session interface {
	// Close ends the connection for the reason given; it is idempotent.
	Close(Reason)
	// DesiredChanged delivers a patch of desired properties that already
	// carries $version; it is dropped when the client has not subscribed.
	DesiredChanged(version int64, patch []byte)
	// Method asks the client to run a method. payload is JSON and not changed
	// any more. false means that the request can't reach the client: it is not
	// subscribed, its connection ends, or it takes no message of that size.
	Method(rid, name string, payload []byte) bool
	// Command delivers a command under its lock. false means that it can't reach
	// the client for now: it stays locked, and is delivered again afterwards.
	Command(c Command) bool
}

// Command is a cloud-to-device message on its way to a client. Bag is canonical;
// neither it nor Body is changed any more.
type Command struct {
	Lock string
	Bag  string
	Body []byte
}

// Feature is what a client can be sent beside answers, once it asks for it.
type Feature uint8

// The features.
const (
	FeatureMethods  Feature = iota // direct methods
	FeatureCommands                // cloud-to-device messages
	Features                       // how many there are
)

// Message is one piece of telemetry. Bag is the canonical property bag; Body and
// Bag belong to the hub from the call on.
type Message struct {
	Body []byte
	Bag  string
}

// Link is what an admitted session asks of the hub. done callbacks run on any
// goroutine, exactly once, also after Close; they must not block.
type Link interface {
	// ID names the session uniquely over all nodes and restarts.
	ID() string
	// Expires is when the credential ends; the zero time means never.
	Expires() time.Time
	// Publish appends telemetry to the device log and calls done after the log
	// has acknowledged it with acks=all, or with the error that refused it. It
	// blocks while the node is over its buffer limits: that is how a fast
	// sender is slowed down.
	Publish(m Message, done func(error))
	// Twin answers with {"desired":{…},"reported":{…}} as azure-iot-wire 2.4 has it.
	Twin(done func(body []byte, err error))
	// PatchReported merges a JSON patch; version is the new reported version. With
	// an ifVersion above 0 the patch depends on the reported version being that
	// one, else the error is ErrPrecondition.
	PatchReported(patch []byte, ifVersion int64, done func(version int64, err error))
	// MethodResponse is the client's answer to a method; payload belongs to the
	// hub from the call on. A rid that no call has is dropped and counted.
	MethodResponse(rid string, status int, payload []byte)
	// Ready says that the client has subscribed to a feature, or has taken a
	// session up again that had, or no longer has. It does not block.
	Ready(f Feature, on bool)
	// Settle ends the delivery of the command that has the lock; the error says
	// that the lock is not in force any more.
	Settle(lock string, o device.Outcome, done func(error))
	// Close tells the hub that the connection has ended. will is published as
	// telemetry first, when not nil.
	Close(r Reason, will *Message)
}
