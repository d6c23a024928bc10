package main

import (
	"context"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
)

// movesAdapter is the registry as exports and imports see it.
type movesAdapter struct{ node *actors.Node }

var _ api.Moves = movesAdapter{}

func (m movesAdapter) Partitions() int32 { return m.node.Partitions() }

func (m movesAdapter) Documents(ctx context.Context, partition int32, after device.Ref, limit int) ([]device.Document, error) {
	docs, err := m.node.Documents(ctx, partition, after, limit)
	return docs, apiError(err)
}

func (m movesAdapter) PatchReported(ctx context.Context, ref device.Ref, patch []byte, a device.Audit) error {
	return apiError(m.node.ImportReported(ctx, ref, patch, a))
}
