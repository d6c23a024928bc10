package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

func TestErrorsOfTheHub(t *testing.T) {
	tests := []struct {
		err    error
		status int
		code   string
		number int
	}{
		{device.ErrFormat, 400, "IotHubFormatError", 400006},
		{device.ErrArgument, 400, "ArgumentInvalid", 400004},
		{device.ErrNotFound, 404, "DeviceNotFound", 404001},
		{device.ErrExists, 409, "DeviceAlreadyExists", 409001},
		{device.ErrPrecondition, 412, "PreconditionFailed", 412001},
		{device.ErrTooLarge, 413, "MessageTooLarge", 413001},
		{ErrUnauthorized, 401, "IotHubUnauthorizedAccess", 401002},
		{ErrThrottled, 429, "ThrottlingException", 429001},
		{ErrUnavailable, 503, "ServiceUnavailable", 503001},
		{ErrNotYet, 501, "NotImplemented", 501000},
		{errors.New("secret internals"), 500, "ServerError", 500001},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			b := newBench(t)
			b.hub.fail = fmt.Errorf("device d1: %w", tt.err)
			w := b.do("GET", "/devices/d1", "")
			wantError(t, w, tt.status, tt.code)
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the answer shows an internal error: %s", w.Body)
			}
			if retry := w.Header().Get("Retry-After") != ""; retry != (tt.status == 429 || tt.status == 503) {
				t.Errorf("Retry-After: %v", w.Header())
			}
			status, body := DeviceError(b.hub.fail, "t-1", testTime)
			var shape3 struct {
				ErrorCode                         int
				TrackingID, Message, TimestampUTC string
			}
			if err := json.Unmarshal(body, &shape3); err != nil || status != tt.status || shape3.ErrorCode != tt.number ||
				shape3.TrackingID != "t-1" || shape3.Message == "" || shape3.TimestampUTC != "2026-01-02T03:04:05.0000000Z" {
				t.Errorf("shape 3: %d %s %v", status, body, err)
			}
			var shape2 struct{ Message, ExceptionMessage string }
			status, body = MethodError(b.hub.fail, "t-2", testTime)
			if err := json.Unmarshal(body, &shape2); err != nil || status != tt.status || shape2.ExceptionMessage != "" {
				t.Errorf("shape 2: %d %v %v", status, shape2, err)
			}
			var inner map[string]any
			if err := json.Unmarshal([]byte(shape2.Message), &inner); err != nil || inner["errorCode"] != float64(tt.number) {
				t.Errorf("shape 2 inside: %s %v", shape2.Message, err)
			}
		})
	}
}

func TestPanicIsAnsweredAndDoesNotSpread(t *testing.T) {
	b := newBench(t)
	b.service.hub = nil
	wantError(t, b.do("GET", "/devices/d1", ""), 500, "ServerError")
}
