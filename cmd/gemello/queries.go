package main

import (
	"context"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// queriesAdapter gives the node's errors the names that the API knows.
type queriesAdapter struct{ node *actors.Node }

var (
	_ api.Queries     = queriesAdapter{}
	_ api.LiveQueries = queriesAdapter{}
)

func (a queriesAdapter) Query(ctx context.Context, q *query.Query, from query.Cursor, limit int) (query.Page, error) {
	p, err := a.node.Query(ctx, q, from, limit)
	return p, apiError(err)
}

func (a queriesAdapter) Await(ctx context.Context, positions []device.LogPosition) error {
	return apiError(a.node.Await(ctx, positions))
}

func (a queriesAdapter) Follow(ctx context.Context, q *query.Query, after []device.LogPosition) (api.LiveQuery, error) {
	l, err := a.node.Follow(ctx, q, after)
	if err != nil {
		return nil, apiError(err)
	}
	return l, nil
}
