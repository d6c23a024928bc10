package device

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Limits of commands, that is of cloud-to-device messages (azure-iot-wire 2.9, 11).
const (
	MaxCommands     = 50              // that a device may have queued
	MaxCommandBytes = 64 << 10        // of body and properties, counted as azure-iot-wire 2.6 does
	MaxDeliveries   = 10              // after which a command is given up on
	CommandTTL      = time.Hour       // of a command that names no expiry
	MaxCommandTTL   = 48 * time.Hour  // that a later expiry is cut to
	CommandLock     = 1 * time.Minute // how long a device has to settle what it was given
	FeedbackTTL     = time.Hour       // how long feedback waits for a service
)

// CommandRules are what a hub sets about its commands; zero values are the
// defaults. They go along in the records of the device log, so that a change of
// them changes nothing that was sent before.
type CommandRules struct {
	TTL           time.Duration // 1 min to MaxCommandTTL; 0: CommandTTL
	MaxDeliveries int           // 1 to 100; 0: MaxDeliveries
	Lock          time.Duration // 5 s to 300 s; 0: CommandLock
	FeedbackTTL   time.Duration // 1 min to MaxCommandTTL; 0: FeedbackTTL
}

// maxDeliveries is the most that CommandRules.MaxDeliveries may be.
const maxDeliveries = 100

// OrDefaults returns r with zero values replaced.
func (r CommandRules) OrDefaults() CommandRules {
	return CommandRules{
		cmp.Or(r.TTL, CommandTTL), cmp.Or(r.MaxDeliveries, MaxDeliveries),
		cmp.Or(r.Lock, CommandLock), cmp.Or(r.FeedbackTTL, FeedbackTTL),
	}
}

// Validate checks the bounds of all that is not zero (azure-iot-wire 11). The
// error wraps ErrArgument.
func (r CommandRules) Validate() error {
	for _, d := range [...]struct {
		what     string
		v        time.Duration
		from, to time.Duration
	}{
		{"time to live", r.TTL, time.Minute, MaxCommandTTL},
		{"lock time", r.Lock, 5 * time.Second, 300 * time.Second},
		{"time to live of feedback", r.FeedbackTTL, time.Minute, MaxCommandTTL},
	} {
		if d.v != 0 && (d.v < d.from || d.v > d.to) {
			return fmt.Errorf("%w: %s of %v, allowed are %v to %v", ErrArgument, d.what, d.v, d.from, d.to)
		}
	}
	if n := r.MaxDeliveries; n < 0 || n > maxDeliveries {
		return fmt.Errorf("%w: %d deliveries, allowed are 1 to %d", ErrArgument, n, maxDeliveries)
	}
	return nil
}

// Ack says which ends of a command the sender wants to hear of.
type Ack uint8

// The kinds of feedback that iothub-ack may ask for.
const (
	AckNone     Ack = iota
	AckPositive     // of completion
	AckNegative     // of any other end
	AckFull         // of both
)

var ackNames = [...]string{"none", "positive", "negative", "full"}

// String returns the spelling that is used on the wire.
func (a Ack) String() string {
	if int(a) < len(ackNames) {
		return ackNames[a]
	}
	return ackNames[AckNone]
}

// ParseAck reads an ack without regard to case; empty is none.
func ParseAck(s string) (Ack, error) {
	if s == "" {
		return AckNone, nil
	}
	for i, n := range ackNames {
		if strings.EqualFold(s, n) {
			return Ack(i), nil
		}
	}
	return 0, fmt.Errorf("%w: ack %.20q, allowed are none, positive, negative and full", ErrArgument, s)
}

// Outcome is what a device does with a command that it was given.
type Outcome uint8

// The outcomes.
const (
	OutcomeComplete Outcome = iota // it is done
	OutcomeAbandon                 // it shall be delivered again
	OutcomeReject                  // it shall never be delivered again
)

var outcomeNames = [...]string{"complete", "abandon", "reject"}

// String returns the name of the outcome, as the device log has it.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// ParseOutcome reads the name of an outcome.
func ParseOutcome(s string) (Outcome, error) {
	for i, n := range outcomeNames {
		if s == n {
			return Outcome(i), nil
		}
	}
	return 0, fmt.Errorf("%w: outcome %.20q, allowed are complete, abandon and reject", ErrArgument, s)
}

// CommandEnd is how a command ended, by the name that feedback has for it.
type CommandEnd string

// The ends of a command.
const (
	EndSuccess    CommandEnd = "Success"
	EndExpired    CommandEnd = "Expired"
	EndDeliveries CommandEnd = "DeliveryCountExceeded"
	EndRejected   CommandEnd = "Rejected"
	EndPurged     CommandEnd = "Purged"
)

// wants reports whether feedback of the end was asked for.
func (a Ack) wants(e CommandEnd) bool {
	if e == EndSuccess {
		return a == AckPositive || a == AckFull
	}
	return a == AckNegative || a == AckFull
}

// Command is the head of a queued command: all but its properties and its body,
// which never change and are kept apart.
type Command struct {
	Sequence   int64 // log offset of the record that sent it; unique for a device
	MessageID  string
	Ack        Ack
	Size       int       // bytes, as the limit counts them
	Enqueued   time.Time // arrival of the record that sent it
	Expires    time.Time
	Deliveries int

	// MaxDeliveries and FeedbackTTL are the hub's rules of when it was sent.
	MaxDeliveries int
	FeedbackTTL   time.Duration

	// Lock is the token of the delivery under way, empty while the command waits
	// for one. Session is whose delivery it is; a poll over HTTP has none.
	Lock, Session string
	LockedUntil   time.Time
}

// Locked says that the command is being delivered.
func (c *Command) Locked() bool { return c.Lock != "" }

// EndedCommand is a command that has left its queue.
type EndedCommand struct {
	Command
	End CommandEnd
}

// Feedback says that the sender asked to hear of this end.
func (e *EndedCommand) Feedback() bool { return e.Ack.wants(e.End) }

// Content is what a command consists of beside its head.
type Content struct {
	Bag  string // property bag in the canonical encoding
	Body []byte
}

// Delivery is a command on its way to its device.
type Delivery struct {
	Command
	Content
}

// NewCommand asks for a command to be queued.
type NewCommand struct {
	DeviceID  string
	ModuleID  string // of the device; empty for the device itself
	MessageID string
	Ack       Ack
	Expires   time.Time // zero: as the hub's rules say
	Size      int       // bytes, as the limit counts them
	Content
	Audit Audit
}

// Validate checks what needs no queue. The error wraps ErrArgument or ErrTooLarge.
func (n *NewCommand) Validate() error {
	switch {
	case n.Size > MaxCommandBytes:
		return fmt.Errorf("%w: the command has %d bytes of body and properties, %d are allowed", ErrTooLarge, n.Size, MaxCommandBytes)
	case len(n.MessageID) > MaxMessageID:
		return fmt.Errorf("%w: the message id has %d bytes, %d are allowed", ErrArgument, len(n.MessageID), MaxMessageID)
	}
	return n.Ref().Valid()
}

// Ref names whom the command is for.
func (n *NewCommand) Ref() Ref { return Ref{n.DeviceID, n.ModuleID} }

// MaxMessageID bounds a command's message id, in bytes.
const MaxMessageID = 128
