package api

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

func TestACommandOfTheAdminAPI(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		in   commandInput
		bag  string
		size int
		err  error
	}{
		"body alone":      {commandInput{Body: "hello"}, "", 5, nil},
		"bytes":           {commandInput{BodyBase64: "AAE="}, "", 2, nil},
		"both bodies":     {commandInput{Body: "x", BodyBase64: "AAE="}, "", 0, device.ErrArgument},
		"no base64":       {commandInput{BodyBase64: "?"}, "", 0, device.ErrArgument},
		"unknown ack":     {commandInput{Ack: "loud"}, "", 0, device.ErrArgument},
		"system property": {commandInput{Properties: map[string]string{"$.mid": "x"}}, "", 0, device.ErrArgument},
		"too large":       {commandInput{Body: strings.Repeat("x", device.MaxCommandBytes+1)}, "", 0, device.ErrTooLarge},
		"largest":         {commandInput{Body: strings.Repeat("x", device.MaxCommandBytes)}, "", device.MaxCommandBytes, nil},
		"properties in order": {
			commandInput{MessageID: "m 1", Ack: "Full", Expiry: &at, Properties: map[string]string{"b": "2", "a": "1/+"}},
			"%24.exp=2026-01-02T03%3A04%3A05.0000000Z&%24.mid=m%201&iothub-ack=full&a=1%2F%2B&b=2", 28 + 3 + 14 + 4 + 2, nil,
		},
	} {
		got, err := c.in.command(device.Ref{Device: "d1"})
		if !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		} else if err == nil && (got.Bag != c.bag || got.Size != c.size) {
			t.Errorf("%s: %q of %d bytes, want %q of %d", name, got.Bag, got.Size, c.bag, c.size)
		}
	}
}
