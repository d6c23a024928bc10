package main

import (
	"context"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
)

// configurationsAdapter gives the node's errors and figures the names that the
// API knows.
type configurationsAdapter struct{ node *actors.Node }

var _ api.Configurations = configurationsAdapter{}

func apiConfiguration(v *actors.ConfigurationView) api.Configuration {
	return api.Configuration{Configuration: v.Configuration, Targeted: v.Counts.Targeted, Applied: v.Counts.Applied, Results: v.Results}
}

func (a configurationsAdapter) PutConfiguration(ctx context.Context, c device.Configuration, ifMatch string, audit device.Audit) (api.Configuration, bool, error) {
	v, created, err := a.node.PutConfiguration(ctx, c, ifMatch, audit)
	return apiConfiguration(&v), created, apiError(err)
}

func (a configurationsAdapter) DeleteConfiguration(ctx context.Context, id, ifMatch string, audit device.Audit) error {
	return apiError(a.node.DeleteConfiguration(ctx, id, ifMatch, audit))
}

func (a configurationsAdapter) Configuration(ctx context.Context, id string) (api.Configuration, error) {
	v, err := a.node.Configuration(ctx, id)
	return apiConfiguration(&v), apiError(err)
}

func (a configurationsAdapter) Configurations(ctx context.Context, limit int) ([]api.Configuration, error) {
	all, err := a.node.Configurations(ctx, limit)
	out := make([]api.Configuration, len(all))
	for i := range all {
		out[i] = apiConfiguration(&all[i])
	}
	return out, apiError(err)
}

func (a configurationsAdapter) ApplyContent(ctx context.Context, id string, content []byte, audit device.Audit) error {
	return apiError(a.node.ApplyContent(ctx, id, content, audit))
}
