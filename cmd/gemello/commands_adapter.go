package main

import (
	"context"

	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
)

var _ api.Commands = hubAdapter{}

func (h hubAdapter) SendCommand(ctx context.Context, c device.NewCommand) (int64, error) {
	seq, err := h.node.SendCommand(ctx, c)
	return seq, apiError(err)
}

func (h hubAdapter) Commands(ctx context.Context, ref device.Ref) ([]device.Command, error) {
	list, err := h.node.Commands(ctx, ref)
	return list, apiError(err)
}

func (h hubAdapter) PurgeCommands(ctx context.Context, ref device.Ref, a device.Audit) (int, error) {
	n, err := h.node.PurgeCommands(ctx, ref, a)
	return n, apiError(err)
}

func (h hubAdapter) ReceiveFeedback(ctx context.Context, a device.Audit) (*device.FeedbackBatch, error) {
	b, err := h.node.ReceiveFeedback(ctx, a)
	return b, apiError(err)
}

func (h hubAdapter) SettleFeedback(ctx context.Context, lock string, o device.Outcome, a device.Audit) error {
	return apiError(h.node.SettleFeedback(ctx, lock, o, a))
}
