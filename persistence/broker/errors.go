package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// code returns what a client is told of an error of the storage. Errors that
// Kafka has no code for are told as KAFKA_STORAGE_ERROR and logged with what
// was asked.
func (s *Server) code(err error, asked kmsg.Key) int16 {
	var ke *kerr.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ke):
		return ke.Code
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return kerr.RequestTimedOut.Code
	}
	s.opts.Logger.Error("log request failed", "request", asked.Name(), "error", err)
	return kerr.KafkaStorageError.Code
}

// refusal is an error of Kafka's with a text for the client.
type refusal struct {
	kind *kerr.Error
	text string
}

func refuse(kind *kerr.Error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}

func (r *refusal) Error() string { return r.kind.Message + ": " + r.text }
func (r *refusal) Unwrap() error { return r.kind }

// refused returns what a client is told of an error, with its text.
func (s *Server) refused(err error, asked kmsg.Key) (int16, *string) {
	code := s.code(err, asked)
	var r *refusal
	if errors.As(err, &r) {
		return code, &r.text
	}
	return code, message(code)
}

// message is the text that goes with a code, in responses that have one.
func message(code int16) *string {
	if code == 0 {
		return nil
	}
	var ke *kerr.Error
	if errors.As(kerr.ErrorForCode(code), &ke) {
		return &ke.Description
	}
	return nil
}
