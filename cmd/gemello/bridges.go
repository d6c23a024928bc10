package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
	"github.com/gemello/gemello/ingest/bridge"
)

// newBridges makes the bridges of the configuration.
func (n *nodeServers) newBridges(ctx context.Context) ([]*bridge.Bridge, error) {
	var list []*bridge.Bridge
	for i := range n.cfg.Bridges {
		c := &n.cfg.Bridges[i]
		b, err := bridge.New(bridge.Options{
			Name: c.Name, Broker: c.Broker, Template: c.Template, Filter: c.Filter, Group: c.Group, ClientID: c.ClientID,
			User: c.User, PasswordFile: c.PasswordFile, CAFile: c.CA, CertFile: c.Cert, KeyFile: c.Key,
			MaxInflight: c.MaxInflight, SessionExpiry: time.Duration(c.Expiry),
			Appender:   &bridgeAppender{ctx: ctx, node: n.node, known: map[string]bridged{}, now: time.Now},
			DeadLetter: n.bridgeRefusal(ctx, c.Name),
			Logger:     n.env.Logger.With("bridge", c.Name),
			Registerer: n.registry,
		})
		if err != nil {
			return nil, usagef("bridges: %v", err)
		}
		list = append(list, b)
	}
	return list, nil
}

// bridgeAppender publishes for devices of this hub. What it knows of a device
// is bounded and a minute old at most, so a disabled device is stopped soon.
type bridgeAppender struct {
	ctx  context.Context
	node *actors.Node
	now  func() time.Time

	mu    sync.Mutex // guards known; nothing is called while it is held
	known map[string]bridged
}

type bridged struct {
	generation string
	err        error
	until      time.Time
}

const (
	bridgeTrust = time.Minute
	maxBridged  = 100_000
)

func (a *bridgeAppender) Publish(deviceID string, m ingest.Message, done func(error)) {
	b := a.lookup(deviceID)
	if b.err != nil {
		done(b.err)
		return
	}
	a.node.Publish(a.ctx, actors.Telemetry{
		DeviceID: deviceID, Bag: m.Bag, Auth: "hub;bridge", GenerationID: b.generation, Body: m.Body,
	}, func(err error) { done(ingestError(err)) })
}

func (a *bridgeAppender) lookup(deviceID string) bridged {
	now := a.now()
	a.mu.Lock()
	b, ok := a.known[deviceID]
	a.mu.Unlock()
	if ok && now.Before(b.until) {
		return b
	}
	ctx, cancel := context.WithTimeout(a.ctx, 10*time.Second)
	defer cancel()
	e, err := a.node.Identity(ctx, device.Ref{Device: deviceID})
	b = bridged{generation: e.Identity.GenerationID, until: now.Add(bridgeTrust)}
	switch {
	case err == nil && e.Identity.Status != device.Enabled:
		b.err = fmt.Errorf("%w: device %s is disabled", ingest.ErrUnauthorized, deviceID)
	case errors.Is(err, device.ErrNotFound):
		b.err = fmt.Errorf("%w: device %s", ingest.ErrNotFound, deviceID)
	case err != nil:
		b.err = ingestError(err)
		return b // for now; the next message asks again
	}
	a.mu.Lock()
	if len(a.known) >= maxBridged {
		clear(a.known)
	}
	a.known[deviceID] = b
	a.mu.Unlock()
	return b
}

// bridgeRefusal keeps refused messages on the dead-letter topic.
func (n *nodeServers) bridgeRefusal(ctx context.Context, name string) func(bridge.Refusal, func(error)) {
	return func(r bridge.Refusal, done func(error)) {
		row := map[string]any{"reason": string(r.Reason), "source": "bridge " + name, "topic": r.Topic, "payloadSize": len(r.Body)}
		if r.Err != nil {
			row["detail"] = r.Err.Error()
		}
		const quoted = 64 << 10
		if body := r.Body[:min(len(r.Body), quoted)]; utf8.Valid(body) {
			row["payload"] = string(body)
		} else {
			row["payloadBase64"] = body
		}
		v, err := json.Marshal(row)
		if err != nil {
			done(err)
			return
		}
		n.node.PutDeadLetter(ctx, r.DeviceID, v, done)
	}
}
