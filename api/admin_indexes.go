package api

import (
	"context"
	"net/http"

	"github.com/gemello/gemello/device"
)

// Indexes keeps the secondary indexes of queries. Errors wrap ErrNoObject or
// device.ErrArgument.
type Indexes interface {
	List(ctx context.Context) ([]Index, error)
	// Create makes an index, which is built after the return, and returns its path
	// as indexes are named.
	Create(ctx context.Context, path string, a device.Audit) (text string, created bool, err error)
	Drop(ctx context.Context, path string, a device.Audit) error
}

// Index is a secondary index.
type Index struct {
	Path string `json:"path"`
	// By says what it is there for: operator, configurations (their target
	// conditions), queries (seen often).
	By         []string `json:"by"`
	Ready      bool     `json:"ready"`      // built, and used in every partition
	Partitions int      `json:"partitions"` // in which it is used
}

func (a *Admin) indexRoutes(c *call) map[string]adminOperation {
	none := a.o.Indexes == nil
	switch len(c.path) {
	case 3:
		return map[string]adminOperation{"GET": {"list_indexes", none, a.listIndexes}}
	case 4:
		return map[string]adminOperation{
			"PUT":    {"create_index", none, a.createIndex},
			"DELETE": {"drop_index", none, a.dropIndex},
		}
	}
	return nil
}

func (a *Admin) listIndexes(ctx context.Context, c *call) error {
	list, err := a.o.Indexes.List(ctx)
	if err != nil {
		return err
	}
	if list == nil {
		list = []Index{}
	}
	return c.reply(http.StatusOK, marshal(struct {
		Indexes []Index `json:"indexes"`
	}{list}))
}

func (a *Admin) createIndex(ctx context.Context, c *call) error {
	text, created, err := a.o.Indexes.Create(ctx, c.path[3], c.audit)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.reply(status, marshal(struct {
		Path string `json:"path"`
	}{text}))
}

func (a *Admin) dropIndex(ctx context.Context, c *call) error {
	if err := a.o.Indexes.Drop(ctx, c.path[3], c.audit); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
