package main

import (
	"context"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
)

// jobsAdapter gives the node's errors the names that the API knows.
type jobsAdapter struct{ node *actors.Node }

var _ api.Jobs = jobsAdapter{}

func (a jobsAdapter) CreateJob(ctx context.Context, j device.Job, audit device.Audit) (device.JobView, error) {
	v, err := a.node.CreateJob(ctx, j, audit)
	return v, apiError(err)
}

func (a jobsAdapter) CancelJob(ctx context.Context, id string, audit device.Audit) (device.JobView, error) {
	v, err := a.node.CancelJob(ctx, id, audit)
	return v, apiError(err)
}

func (a jobsAdapter) Job(ctx context.Context, id string) (device.JobView, error) {
	v, err := a.node.Job(ctx, id)
	return v, apiError(err)
}

func (a jobsAdapter) Jobs(ctx context.Context, t device.JobType, s device.JobStatus, after string, limit int) ([]device.JobView, error) {
	v, err := a.node.Jobs(ctx, actors.JobFilter{Type: t, Status: s}, after, limit)
	return v, apiError(err)
}
