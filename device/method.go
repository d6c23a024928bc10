package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Limits of direct methods (azure-iot-wire 2.6, 5.4).
const (
	MaxMethodPayload      = 128 << 10 // bytes of JSON, each way
	MaxMethodName         = 512       // bytes
	MaxConnectTimeout     = 300 * time.Second
	MinResponseTimeout    = 5 * time.Second
	MaxResponseTimeout    = 300 * time.Second
	DefaultMethodResponse = 30 * time.Second
)

// Errors of direct methods. The numbers are those of azure-iot-wire 12.
var (
	ErrNotOnline  = errors.New("the device is not online")               // 404103
	ErrConnection = errors.New("the device's connection was closed")     // 404104
	ErrNoAnswer   = errors.New("the device did not answer in time")      // 504101
	ErrBadAnswer  = errors.New("the device's answer can't be passed on") // 502
)

// MethodCall asks a device to run a method.
type MethodCall struct {
	Name    string
	Payload []byte // JSON, passed on byte for byte; empty stands for null
	// ConnectTimeout is how long to wait for the device to come online and
	// subscribe; zero: not at all.
	ConnectTimeout time.Duration
	// ResponseTimeout is how long the device has for its answer, from the
	// moment that the request is sent to it.
	ResponseTimeout time.Duration
}

// Check reports what is wrong with a call: ErrArgument, ErrFormat or
// ErrTooLarge. Time-outs are the caller's business.
func (c *MethodCall) Check() error {
	switch {
	case c.Name == "":
		return fmt.Errorf("%w: the method's name", ErrNull)
	case len(c.Name) > MaxMethodName:
		return fmt.Errorf("%w: the method's name has %d bytes, %d are allowed", ErrArgument, len(c.Name), MaxMethodName)
	case !utf8.ValidString(c.Name):
		return fmt.Errorf("%w: the method's name is not UTF-8", ErrArgument)
	case len(c.Payload) > MaxMethodPayload:
		return fmt.Errorf("%w: the method's payload has %d bytes, %d are allowed", ErrTooLarge, len(c.Payload), MaxMethodPayload)
	case len(c.Payload) > 0 && !json.Valid(c.Payload):
		return fmt.Errorf("%w: the method's payload is not JSON", ErrFormat)
	}
	return nil
}

// MethodResult is the answer of a device.
type MethodResult struct {
	Status  int
	Payload []byte // JSON
}

// ReadMethodResult checks what a device answered; an empty payload stands for
// null. The error wraps ErrBadAnswer.
func ReadMethodResult(status int, payload []byte) (MethodResult, error) {
	payload = bytes.TrimSpace(payload)
	switch {
	case len(payload) > MaxMethodPayload:
		return MethodResult{}, fmt.Errorf("%w: it has %d bytes, %d are allowed", ErrBadAnswer, len(payload), MaxMethodPayload)
	case len(payload) == 0:
		payload = []byte("null")
	case !json.Valid(payload):
		return MethodResult{}, fmt.Errorf("%w: it is not JSON", ErrBadAnswer)
	}
	return MethodResult{status, payload}, nil
}
