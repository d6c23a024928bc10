package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gemello/gemello/device"
)

// maxPipelineBody is room for a long query.
const maxPipelineBody = 256 << 10

// maxPipelineName and validPipelineName keep names fit for paths, labels and
// topics.
const maxPipelineName = 64

func (c *call) pipeline() (string, error) {
	name := c.path[3]
	ok := name != "" && len(name) <= maxPipelineName
	for i := 0; ok && i < len(name); i++ {
		b := name[i]
		ok = 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '_' || b == '.'
	}
	if !ok {
		return "", fmt.Errorf("%w: the pipeline name %.70q has 1 to %d letters, digits and - _ .", device.ErrArgument, name, maxPipelineName)
	}
	return name, nil
}

func (a *Admin) listPipelines(ctx context.Context, c *call) error {
	list, err := a.o.Pipelines.List(ctx)
	if err != nil {
		return err
	}
	if list == nil {
		list = []Pipeline{}
	}
	return c.reply(http.StatusOK, marshal(struct {
		Pipelines []Pipeline `json:"pipelines"`
	}{list}))
}

func (a *Admin) applyPipeline(ctx context.Context, c *call) error {
	name, err := c.pipeline()
	if err != nil {
		return err
	}
	var spec PipelineSpec
	if err := c.decode(maxPipelineBody, &spec); err != nil {
		return err
	}
	if spec.Name != "" && spec.Name != name {
		return fmt.Errorf("%w: the body is of pipeline %.70q, the path of %q", device.ErrArgument, spec.Name, name)
	}
	if spec.Name = name; spec.Query == "" {
		return fmt.Errorf("%w: query is missing", device.ErrArgument)
	}
	p, err := a.o.Pipelines.Apply(ctx, spec, c.audit)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, marshal(p))
}

func (a *Admin) deletePipeline(ctx context.Context, c *call) error {
	name, err := c.pipeline()
	if err != nil {
		return err
	}
	if err := a.o.Pipelines.Delete(ctx, name, c.audit); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (a *Admin) explainPipeline(ctx context.Context, c *call) error {
	name, err := c.pipeline()
	if err != nil {
		return err
	}
	e, err := a.o.Pipelines.Explain(ctx, name)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, marshal(e))
}

func (a *Admin) whyPipeline(ctx context.Context, c *call) error {
	name, err := c.pipeline()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	end, err := time.Parse(time.RFC3339Nano, q.Get("end"))
	if err != nil {
		return fmt.Errorf("%w: end %.40q is no time like 2026-01-02T03:04:05Z", device.ErrArgument, q.Get("end"))
	}
	e, err := a.o.Pipelines.Why(ctx, name, q.Get("key"), end.UTC())
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, marshal(e))
}
