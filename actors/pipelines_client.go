package actors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
	"github.com/gemello/gemello/windows/sql"
)

// ErrNoPipeline: there is no pipeline of that name.
var ErrNoPipeline = errors.New("no such pipeline")

// PipelineStatus is a pipeline with its state on this node.
type PipelineStatus struct {
	Definition partition.Definition
	Source     string // topic
	Into       string
	State      string // "running", "starting", "suspended", "waiting"
	Cause      string
	Partitions []PipelinePartition
}

// PipelinePartition is where a pipeline stands on one partition.
type PipelinePartition struct {
	Partition int32
	Position  int64
	Lag       int64
	Figures   partition.PipelineFigures
}

// ApplyPipeline creates or changes a pipeline; the error is a *sql.Error or
// wraps partition.ErrDefinition when the definition is wrong. A change is noted for
// the audit trail before it is made.
func (n *Node) ApplyPipeline(ctx context.Context, d partition.Definition, a device.Audit) error {
	d = d.EnsureDefaults()
	if _, err := n.prepare(ctx, &d); err != nil && !errors.Is(err, errNoSource) {
		return err
	}
	v, err := json.Marshal(&d)
	if err != nil {
		return err
	}
	if old := n.settings.get(settingPipeline + d.Name); !bytes.Equal(old, v) {
		action := "change"
		if old == nil {
			action = "create"
		}
		if err := n.notePipeline(ctx, action, d.Name, a); err != nil {
			return err
		}
	}
	n.forgive(&d)
	return n.settings.put(ctx, settingPipeline+d.Name, v)
}

func (n *Node) notePipeline(ctx context.Context, action, name string, a device.Audit) error {
	return n.NoteSetting(ctx, SettingChange{Setting: settingPipeline + name, Action: action, Object: "pipelines/" + name, Audit: a})
}

// DeletePipeline removes a pipeline and its open windows; it is noted first.
func (n *Node) DeletePipeline(ctx context.Context, name string, a device.Audit) error {
	if n.settings.get(settingPipeline+name) == nil {
		return fmt.Errorf("%w: %q", ErrNoPipeline, name)
	}
	if err := n.notePipeline(ctx, "delete", name, a); err != nil {
		return err
	}
	if err := n.settings.put(ctx, settingPipeline+name, nil); err != nil {
		return err
	}
	n.metrics.forget(name)
	return nil
}

// forgive lets a suspended pipeline try its result topic again.
func (n *Node) forgive(d *partition.Definition) {
	q, err := partition.Compile(d, true)
	if err != nil {
		return
	}
	n.mu.Lock()
	s := n.sources[n.sourceTopic(q)]
	n.mu.Unlock()
	if s == nil {
		return
	}
	left := map[string]string{}
	for k, v := range *s.refused.Load() {
		left[k] = v
	}
	for i := range s.hosts {
		delete(left, refusedKey(int32(i), q.Into))
	}
	s.refused.Store(&left)
	for _, h := range s.hosts {
		h.tell()
	}
}

// Pipelines returns all pipelines of the settings.
func (n *Node) Pipelines(ctx context.Context) ([]PipelineStatus, error) {
	defs, _, err := n.settings.pipelines()
	if err != nil {
		return nil, err
	}
	list := make([]PipelineStatus, len(defs))
	for i := range defs {
		list[i] = n.pipelineStatus(ctx, defs[i])
	}
	return list, nil
}

// Pipeline returns one pipeline with its compiled query.
func (n *Node) Pipeline(ctx context.Context, name string) (PipelineStatus, *sql.Query, error) {
	defs, _, err := n.settings.pipelines()
	if err != nil {
		return PipelineStatus{}, nil, err
	}
	for _, d := range defs {
		if d.Name == name {
			q, err := partition.Compile(&d, true)
			return n.pipelineStatus(ctx, d), q, err
		}
	}
	return PipelineStatus{}, nil, fmt.Errorf("%w: %q", ErrNoPipeline, name)
}

func (n *Node) pipelineStatus(ctx context.Context, d partition.Definition) PipelineStatus {
	s := PipelineStatus{Definition: d, State: "starting"}
	q, err := partition.Compile(&d, true)
	if err != nil {
		s.State, s.Cause = "waiting", err.Error()
		return s
	}
	s.Source, s.Into = n.sourceTopic(q), q.Into
	n.mu.Lock()
	s.Cause = n.problem[d.Name]
	src := n.sources[s.Source]
	n.mu.Unlock()
	if s.Cause != "" {
		s.State = "waiting"
		return s
	}
	if src == nil {
		return s
	}
	running := 0
	for _, h := range src.hosts {
		st := h.status.Load()
		p := PipelinePartition{Partition: h.partition, Position: st.Position, Lag: st.Lag}
		p.Figures.Watermark, p.Figures.Arrival = windows.Unset, windows.Unset
		if st.State != "running" {
			if st.Cause != "" {
				s.Cause = fmt.Sprintf("partition %d is %s: %s", h.partition, st.State, st.Cause)
			}
			s.Partitions = append(s.Partitions, p)
			continue
		}
		err := h.do(ctx, func(c core) {
			var f partition.Figures
			c.(*pipelinesCore).Report(&f)
			for _, one := range f.Pipelines {
				if one.Name == d.Name {
					p.Figures = one
					running++
				}
			}
		})
		if err != nil {
			s.Cause = err.Error()
		}
		s.Partitions = append(s.Partitions, p)
	}
	// A record that comes before its partition has begun is not counted: who
	// waits for a new pipeline waits for all of them.
	if running == len(src.hosts) {
		s.State = "running"
	}
	for k, cause := range *src.refused.Load() {
		if q.Into != "" && len(k) > len(q.Into) && k[len(k)-len(q.Into):] == q.Into {
			s.State, s.Cause = "suspended", cause+"; apply the pipeline again when the topic takes rows"
		}
	}
	return s
}

// Why explains a window of a pipeline: on the partition of a key, else on the
// partition whose watermark is the smallest.
func (n *Node) Why(ctx context.Context, name, key string, end time.Time) (partition.Why, error) {
	s, q, err := n.Pipeline(ctx, name)
	if err != nil {
		return partition.Why{}, err
	}
	n.mu.Lock()
	src := n.sources[s.Source]
	n.mu.Unlock()
	if src == nil {
		return partition.Why{Pipeline: name, Text: fmt.Sprintf("Pipeline %q does not run: %s\n", name, s.Cause)}, nil
	}
	hosts := src.hosts
	if key != "" && len(q.Keys) > 0 {
		hosts = hosts[partitionOfKey(key, len(hosts)):][:1]
	}
	var at windows.Tick
	if !end.IsZero() {
		at = windows.TickOf(end)
	}
	var found *partition.Why
	var least windows.Tick
	for _, h := range hosts {
		lag := h.status.Load().Lag
		var w partition.Why
		var ok bool
		var mark windows.Tick
		err := h.do(ctx, func(c core) {
			p := c.(*pipelinesCore)
			w, ok = p.Why(name, key, at, lag)
			mark = p.Watermark(name)
		})
		if err != nil {
			st := h.status.Load()
			return partition.Why{Pipeline: name, Partition: h.partition, Lag: lag,
				Text: fmt.Sprintf("Partition %d of %s is %s: %s\n", h.partition, s.Source, st.State, st.Cause)}, nil
		}
		if ok && (found == nil || mark < least) {
			found, least = &w, mark
		}
	}
	if found == nil {
		return partition.Why{Pipeline: name, Text: "The pipeline starts.\n"}, nil
	}
	return *found, nil
}
