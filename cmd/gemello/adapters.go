package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
	"github.com/gemello/gemello/windows/sql"
)

// discardLog takes what net/http has to say of clients that break off.
var discardLog = stdlog.New(io.Discard, "", 0)

// hubAdapter gives the node's errors the names that the API knows.
type hubAdapter struct{ node *actors.Node }

var _ api.Hub = hubAdapter{}

func apiError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, actors.ErrBusy):
		return fmt.Errorf("%w: %w", api.ErrThrottled, err)
	case errors.Is(err, actors.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return err
}

func (h hubAdapter) Identity(ctx context.Context, ref device.Ref) (device.Entry, error) {
	e, err := h.node.Identity(ctx, ref)
	return e, apiError(err)
}

func (h hubAdapter) Modules(ctx context.Context, deviceID string) ([]device.Entry, error) {
	e, err := h.node.Modules(ctx, deviceID)
	return e, apiError(err)
}

func (h hubAdapter) Identities(ctx context.Context, after string, limit int) ([]device.Entry, error) {
	e, err := h.node.Identities(ctx, after, limit)
	return e, apiError(err)
}

func (h hubAdapter) PutIdentity(ctx context.Context, c device.Change) (device.Entry, error) {
	e, err := h.node.PutIdentity(ctx, c)
	return e, apiError(err)
}

func (h hubAdapter) DeleteIdentity(ctx context.Context, ref device.Ref, ifMatch string, a device.Audit) error {
	return apiError(h.node.DeleteIdentity(ctx, ref, ifMatch, a))
}

func (h hubAdapter) Twin(ctx context.Context, ref device.Ref) (device.Document, error) {
	d, err := h.node.Twin(ctx, ref)
	return d, apiError(err)
}

func (h hubAdapter) PatchTwin(ctx context.Context, c device.TwinChange) (device.Document, error) {
	d, err := h.node.PatchTwin(ctx, c)
	return d, apiError(err)
}

func (h hubAdapter) Statistics(ctx context.Context) (device.Statistics, error) {
	s, err := h.node.Statistics(ctx)
	return s, apiError(err)
}

func (h hubAdapter) InvokeMethod(ctx context.Context, ref device.Ref, c device.MethodCall) (device.MethodResult, error) {
	r, err := h.node.InvokeMethod(ctx, ref, c)
	return r, apiError(err)
}

// pipelinesAdapter is the stream processor as the admin API sees it.
type pipelinesAdapter struct{ node *actors.Node }

var _ api.Pipelines = pipelinesAdapter{}

func (p pipelinesAdapter) List(ctx context.Context) ([]api.Pipeline, error) {
	list, err := p.node.Pipelines(ctx)
	if err != nil {
		return nil, apiError(err)
	}
	out := make([]api.Pipeline, len(list))
	for i := range list {
		out[i] = apiPipeline(&list[i])
	}
	return out, nil
}

func (p pipelinesAdapter) Apply(ctx context.Context, s api.PipelineSpec, a device.Audit) (api.Pipeline, error) {
	d, err := definitionOf(&s)
	if err == nil {
		err = p.node.ApplyPipeline(ctx, d, a)
	}
	var bad *sql.Error
	if errors.As(err, &bad) || errors.Is(err, partition.ErrDefinition) {
		return api.Pipeline{}, fmt.Errorf("%w: %w", api.ErrSQL, err)
	}
	if err != nil {
		return api.Pipeline{}, apiError(err)
	}
	st, _, err := p.node.Pipeline(ctx, s.Name)
	if err != nil {
		return api.Pipeline{}, err
	}
	return apiPipeline(&st), nil
}

func (p pipelinesAdapter) Delete(ctx context.Context, name string, a device.Audit) error {
	err := p.node.DeletePipeline(ctx, name, a)
	if errors.Is(err, actors.ErrNoPipeline) {
		return fmt.Errorf("%w: %w", api.ErrNoObject, err)
	}
	return apiError(err)
}

func (p pipelinesAdapter) Explain(ctx context.Context, name string) (api.Explanation, error) {
	st, q, err := p.node.Pipeline(ctx, name)
	if errors.Is(err, actors.ErrNoPipeline) {
		return api.Explanation{}, fmt.Errorf("%w: %w", api.ErrNoObject, err)
	}
	if err != nil {
		return api.Explanation{}, apiError(err)
	}
	detail, err := json.Marshal(apiPipeline(&st))
	if err != nil {
		return api.Explanation{}, err
	}
	var b strings.Builder
	b.WriteString(q.Explain())
	fmt.Fprintf(&b, "\nstate %s", st.State)
	if st.Cause != "" {
		fmt.Fprintf(&b, ": %s", st.Cause)
	}
	d := &st.Definition
	fmt.Fprintf(&b, "\npolicies: late %s, out of order %s, early %s", d.Late.Duration(), d.OutOfOrder.Duration(), d.Early.Duration())
	b.WriteString("\npartition  position       lag  watermark                     open windows   keys\n")
	for _, pt := range st.Partitions {
		mark := "none"
		if w := pt.Figures.Watermark; w != windows.Unset {
			mark = w.String()
		}
		fmt.Fprintf(&b, "%9d  %8d  %8d  %-28s  %12d  %5d\n", pt.Partition, pt.Position, pt.Lag, mark, pt.Figures.OpenWindows, pt.Figures.OpenKeys)
	}
	return api.Explanation{Text: b.String(), Detail: detail}, nil
}

func (p pipelinesAdapter) Why(ctx context.Context, name, key string, end time.Time) (api.Explanation, error) {
	w, err := p.node.Why(ctx, name, key, end)
	if errors.Is(err, actors.ErrNoPipeline) {
		return api.Explanation{}, fmt.Errorf("%w: %w", api.ErrNoObject, err)
	}
	if err != nil {
		return api.Explanation{}, apiError(err)
	}
	detail, err := json.Marshal(&w)
	return api.Explanation{Text: w.Text, Detail: detail}, err
}

// applyConfigured makes the pipelines of the configuration those of the hub;
// pipelines that were applied by hand stay.
func applyConfigured(ctx context.Context, node *actors.Node, list []PipelineConfig) error {
	for i := range list {
		if err := node.ApplyPipeline(ctx, list[i].definition(), device.Audit{Actor: "configuration"}); err != nil {
			return usagef("pipelines: %v", err)
		}
	}
	return nil
}

func ticks(d time.Duration) windows.Tick { return windows.Tick(d / 100) }

func definitionOf(s *api.PipelineSpec) (partition.Definition, error) {
	d := partition.Definition{
		Name: s.Name, Query: s.Query, Late: partition.DefaultLate, Early: partition.DefaultEarly,
		OnLate: s.OnLate, OnOutOfOrder: s.OnOutOfOrder, OnEarly: s.OnEarly, Key: s.Key, Arrival: s.Arrival,
	}
	for _, f := range []struct {
		name, text string
		to         *windows.Tick
	}{{"late", s.Late, &d.Late}, {"outOfOrder", s.OutOfOrder, &d.OutOfOrder}, {"early", s.Early, &d.Early}} {
		if f.text == "" {
			continue
		}
		v, err := time.ParseDuration(f.text)
		if err != nil {
			return d, fmt.Errorf("pipeline %q: %s is %q, want a duration like 5s: %w", s.Name, f.name, f.text, partition.ErrDefinition)
		}
		*f.to = ticks(v)
	}
	return d, nil
}

func apiPipeline(s *actors.PipelineStatus) api.Pipeline {
	d := &s.Definition
	p := api.Pipeline{
		PipelineSpec: api.PipelineSpec{
			Name: d.Name, Query: d.Query,
			Late: d.Late.Duration().String(), OutOfOrder: d.OutOfOrder.Duration().String(), Early: d.Early.Duration().String(),
			OnLate: cmp.Or(d.OnLate, "adjust"), OnOutOfOrder: cmp.Or(d.OnOutOfOrder, "adjust"), OnEarly: cmp.Or(d.OnEarly, "side_output"),
			Key: d.Key, Arrival: cmp.Or(d.Arrival, "record"),
		},
		Source: s.Source, State: s.State, Cause: s.Cause,
	}
	if s.Into != "" {
		p.Into = []string{s.Into}
	}
	for i := range s.Partitions {
		pt := &s.Partitions[i]
		one := api.PipelinePartition{
			Partition: pt.Partition, Offset: pt.Position, Lag: pt.Lag,
			OpenWindows: int64(pt.Figures.OpenWindows), Keys: int64(pt.Figures.OpenKeys),
			Late: pt.Figures.Late, DeadLetters: pt.Figures.DeadLetters,
		}
		if w := pt.Figures.Watermark; w != windows.Unset && w >= windows.MinTick && w <= windows.MaxTick {
			one.Watermark = w.Time()
		}
		p.Partitions = append(p.Partitions, one)
	}
	return p
}

// adminHosts are the names that a request to the admin listener may carry.
func adminHosts(cfg *Config) []string {
	hosts := append(slices.Clone(cfg.Hostnames), "localhost", "127.0.0.1", "::1")
	if host, _, err := net.SplitHostPort(cfg.Listeners.Admin); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	return hosts
}
