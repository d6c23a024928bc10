package api

import (
	"context"
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

// queues keeps commands by whom they are for.
type queues struct {
	sent  []device.NewCommand
	purge []device.Ref
}

func (q *queues) SendCommand(_ context.Context, c device.NewCommand) (int64, error) {
	if len(q.sent) >= 3 {
		return 0, device.ErrQueueFull
	}
	q.sent = append(q.sent, c)
	return int64(len(q.sent)), nil
}

func (q *queues) Commands(_ context.Context, ref device.Ref) (list []device.Command, err error) {
	for i := range q.sent {
		if q.sent[i].Ref() == ref {
			list = append(list, device.Command{Sequence: int64(i + 1), MessageID: q.sent[i].MessageID, Lock: q.sent[i].MessageID})
		}
	}
	return list, nil
}

func (q *queues) PurgeCommands(_ context.Context, ref device.Ref, _ device.Audit) (int, error) {
	q.purge = append(q.purge, ref)
	return 7, nil
}

func (q *queues) ReceiveFeedback(context.Context, device.Audit) (*device.FeedbackBatch, error) {
	return nil, nil
}

func (q *queues) SettleFeedback(context.Context, string, device.Outcome, device.Audit) error {
	return device.ErrLockLost
}

func TestCommandsOfDevicesAndModulesAreManaged(t *testing.T) {
	q := &queues{}
	b := newAdminBench(t, func(o *AdminOptions) { o.Commands = q })
	for _, tt := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/devices/d1/commands", `{"body":"x"}`, 201, `"sequenceNumber":1`},
		{"POST", "/devices/d1/modules/m1/commands", `{"body":"x","messageId":"m"}`, 201, `"sequenceNumber":2`},
		{"POST", "/devices/d1/commands", `{"body":"x","ack":"loud"}`, 400, "loud"},
		{"POST", "/devices/d1/modules/%2F/commands", `{"body":"x"}`, 400, "ArgumentInvalid"},
		{"POST", "/devices/d1/commands", `{"body":"y"}`, 201, ""},
		{"POST", "/devices/d1/commands", `{"body":"z"}`, 403, "DeviceMaximumQueueDepthExceeded"},
		{"GET", "/devices/d1/commands", "", 200, `"state":"enqueued"`},
		{"GET", "/devices/d1/modules/m1/commands", "", 200, `"state":"invisible"`},
		{"GET", "/devices/d1/modules/m2/commands", "", 200, `{"commands":[]}`},
		{"DELETE", "/devices/d1/commands", "", 200, `{"totalMessagesPurged":7,"deviceId":"d1","moduleId":null}`},
		{"DELETE", "/devices/d1/modules/m1/commands", "", 200, `{"totalMessagesPurged":7,"deviceId":"d1","moduleId":"m1"}`},
		{"PUT", "/devices/d1/modules/m1/commands", "{}", 405, ""},
	} {
		w := b.call(tt.method, "/api/v1"+tt.path, tt.body)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s %s %s: %d %s, want %d %s", tt.method, tt.path, tt.body, w.Code, w.Body, tt.status, tt.says)
		}
	}
	if len(q.sent) != 3 || q.sent[1].Ref() != (device.Ref{Device: "d1", Module: "m1"}) || q.sent[1].Audit.Actor != "admin" {
		t.Errorf("sent %+v", q.sent)
	}
	if len(q.purge) != 2 || q.purge[1] != q.sent[1].Ref() {
		t.Errorf("purged %v", q.purge)
	}
}
