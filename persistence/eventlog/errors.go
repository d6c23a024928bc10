package eventlog

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	// ErrNoTopic: the topic does not exist on the log.
	ErrNoTopic = errors.New("topic does not exist")
	// ErrOffsetOutOfRange: the position is not on the log, since retention or
	// somebody removed it or the topic was made anew. Nothing is skipped; the
	// caller decides.
	ErrOffsetOutOfRange = errors.New("offset is not on the log")
	// ErrFenced: another owner has begun a term on the same transactional id.
	ErrFenced = errors.New("term was fenced by a newer owner of its transactional id")
	// ErrClosed: the Log, Appender, Reader or Term was closed before.
	ErrClosed = errors.New("closed")
)

// SinkError says that the log refuses records for one topic and will refuse
// them again: the topic is gone, the right to write is missing, a record is
// too large or malformed for it. It suspends what writes there (design 3.8).
type SinkError struct {
	Topic string
	Err   error
}

func (e *SinkError) Error() string { return fmt.Sprintf("topic %s: %v", e.Topic, e.Err) }
func (e *SinkError) Unwrap() error { return e.Err }

// termError marks what ended a term, so that Classify never answers Retry for
// something that was part of a transaction.
type termError struct{ err error }

func (e *termError) Error() string { return e.err.Error() }
func (e *termError) Unwrap() error { return e.err }

// Class is what an error asks of the caller.
type Class uint8

const (
	// Retry: the log can't be reached or is busy; the same call may be made
	// again after a pause.
	Retry Class = iota
	// NewTerm: the term is over and another owner is not known of; begin a new
	// term, which learns from the checkpoint what happened.
	NewTerm
	// Fenced: another owner has the transactional id; write nothing local, and
	// begin again only if still meant to own it.
	Fenced
	// Fatal: no repetition helps before somebody changes the log, the rights,
	// or the record. A *SinkError in the chain names the topic if it is one
	// topic's matter.
	Fatal
)

func (c Class) String() string {
	switch c {
	case Retry:
		return "retry"
	case NewTerm:
		return "new term"
	case Fenced:
		return "fenced"
	case Fatal:
		return "fatal"
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// Classify says what err asks of the caller. It must not be called with nil.
// The order of the questions matters: what is fatal or fenced is so whether or
// not it also ended a term.
func Classify(err error) Class {
	if fenced(err) {
		return Fenced
	}
	if _, ok := errors.AsType[*SinkError](err); ok {
		return Fatal
	}
	if errors.Is(err, ErrNoTopic) || errors.Is(err, ErrOffsetOutOfRange) || errors.Is(err, ErrCorrupt) {
		return Fatal
	}
	if refusedForGood(err) {
		return Fatal
	}
	// Whatever else ended a term, the transaction may or may not have been
	// committed, so nothing of it may be tried again.
	if _, ok := errors.AsType[*termError](err); ok {
		return NewTerm
	}
	switch {
	// The broker has forgotten the producer (its transactional id expired, or
	// the data that carried its sequence numbers is gone): a new client asks
	// for a new id.
	case errors.Is(err, kerr.InvalidProducerIDMapping),
		errors.Is(err, kerr.UnknownProducerID),
		errors.Is(err, kerr.OutOfOrderSequenceNumber),
		errors.Is(err, kerr.InvalidTxnState),
		errors.Is(err, kerr.TransactionAbortable):
		return NewTerm
	// The caller's own doing.
	case errors.Is(err, ErrClosed), errors.Is(err, kgo.ErrClientClosed):
		return Fatal
	// Nothing is known about the log but that it did not answer in time.
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kgo.ErrRecordRetries):
		return Retry
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return Retry
	}
	// Brokers' own transient states, and everything unknown: a caller that
	// pauses between tries does no harm with them.
	return Retry
}

// fenced: ProducerFenced is the coordinator's word for it, InvalidProducerEpoch
// the partition leader's. The latter also comes when the coordinator gave up a
// transaction that took too long, and bumped the epoch itself; that can't be
// told apart, and to begin again with care is right for both.
func fenced(err error) bool {
	return errors.Is(err, ErrFenced) ||
		errors.Is(err, kerr.ProducerFenced) ||
		errors.Is(err, kerr.InvalidProducerEpoch) ||
		errors.Is(err, kerr.FencedInstanceID)
}

// refusedForTopic: the broker names the topic or the record as the reason.
func refusedForTopic(err error) bool {
	for _, e := range []*kerr.Error{
		// The topic was deleted, made anew, or never there. A leader that does
		// not know its partition yet answers the same, so the client has tried
		// for some seconds before this is seen.
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InconsistentTopicID,
		kerr.InvalidTopicException, kerr.InvalidPartitions,
		// A right is missing.
		kerr.TopicAuthorizationFailed,
		// The record can't be stored in this topic: larger than
		// max.message.bytes, without a key in a compacted topic, outside the
		// topic's bounds on timestamps, against a policy.
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord,
		kerr.InvalidTimestamp, kerr.PolicyViolation, kerr.UnsupportedForMessageFormat,
		kerr.UnsupportedCompressionType,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// refusedForGood adds what concerns the whole log: credentials, rights on the
// cluster or on the transactional id, a version that lacks transactions.
func refusedForGood(err error) bool {
	if refusedForTopic(err) {
		return true
	}
	for _, e := range []*kerr.Error{
		kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState,
		kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed,
		kerr.GroupAuthorizationFailed, kerr.UnsupportedVersion, kerr.InvalidTransactionTimeout,
		kerr.InvalidReplicationFactor, kerr.InvalidConfig,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// sinkError wraps what the log said about a record of the topic.
func sinkError(topic string, err error) error {
	if refusedForTopic(err) {
		if _, ok := errors.AsType[*SinkError](err); !ok {
			return &SinkError{Topic: topic, Err: err}
		}
	}
	return err
}
