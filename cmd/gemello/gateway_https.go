package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
	"github.com/gemello/gemello/ingest/https"
)

// requests admits devices by request: over HTTPS there is no session.
type requests struct{ *gateway }

var _ https.Hub = requests{}

// Admit verifies the credential of one request.
func (g requests) Admit(ctx context.Context, c ingest.Credentials) (https.Device, error) {
	if !g.accepts(c.Remote.Addr()) {
		return nil, fmt.Errorf("%w: the IP filter rejects %s", ingest.ErrUnauthorized, c.Remote.Addr())
	}
	v, err := g.verifier(c)
	if err != nil {
		return nil, err
	}
	r := &request{gateway: g.gateway, ref: device.Ref{Device: c.DeviceID, Module: c.ModuleID}, remote: c.Remote.String()}
	id, err := g.node.SealedIdentity(ctx, r.ref)
	if errors.Is(err, device.ErrNotFound) || errors.Is(err, device.ErrModuleNotFound) {
		return nil, fmt.Errorf("%w: %w", ingest.ErrUnauthorized, err)
	}
	if err != nil {
		return nil, ingestError(err)
	}
	if r.admitted, err = v.verify(id); err != nil {
		return nil, err
	}
	return r, nil
}

// request is a device for the time of one request.
type request struct {
	*gateway
	ref      device.Ref
	remote   string
	admitted admitted
}

func (r *request) audit() device.Audit {
	return device.Audit{Actor: "device:" + r.ref.String(), Credential: r.admitted.credential, Address: r.remote}
}

// Publish appends messages in order and waits for the log.
func (r *request) Publish(ctx context.Context, batch []ingest.Message) error {
	if err := r.limiter.post(r.ref.String(), len(batch)); err != nil {
		return err
	}
	done := make(chan error, len(batch))
	for i := range batch {
		r.node.Publish(ctx, actors.Telemetry{
			DeviceID: r.ref.Device, ModuleID: r.ref.Module, Bag: batch[i].Bag,
			Auth: r.admitted.auth, GenerationID: r.admitted.generation, Body: batch[i].Body,
		}, func(err error) { done <- err })
	}
	for range batch {
		select {
		case err := <-done:
			if err != nil {
				return ingestError(err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Receive locks the next command, nil when none waits.
func (r *request) Receive(ctx context.Context) (*device.Delivery, error) {
	if err := r.limiter.poll(); err != nil {
		return nil, err
	}
	d, err := r.node.ReceiveCommand(ctx, r.ref.Device, r.audit())
	if err != nil || d != nil {
		return d, ingestError(err)
	}
	again, err := r.limiter.idle(ctx, r.ref.String())
	if err != nil || !again || ctx.Err() != nil {
		return nil, err
	}
	d, err = r.node.ReceiveCommand(ctx, r.ref.Device, r.audit())
	return d, ingestError(err)
}

// Settle ends the delivery that has the lock.
func (r *request) Settle(ctx context.Context, lock string, o device.Outcome) error {
	return ingestError(r.node.SettleCommand(ctx, r.ref.Device, lock, o, r.audit()))
}
