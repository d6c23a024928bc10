package actors

import (
	"context"
	"fmt"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

// pipelinesCore fits partition.Pipelines to what a host runs.
type pipelinesCore struct {
	*partition.Pipelines
	slow func() // waits before each record; nil: no
}

func (c *pipelinesCore) Apply(r *partition.Record) error {
	if c.slow != nil {
		c.slow()
	}
	return c.Pipelines.Apply(r)
}

func (c *pipelinesCore) Checkpoint(cp *eventlog.Checkpoint) {
	clocks, version := c.Clock()
	cp.SettingsVersion = version
	cp.Arrival, cp.Watermark = int64(windows.Unset), int64(windows.Unset)
	cp.RewindOffset, cp.RewindArrival, cp.RewindWatermark = cp.Offset, int64(windows.Unset), int64(windows.Unset)
	for i := range clocks {
		p := &clocks[i]
		cp.Arrival = max(cp.Arrival, int64(p.Clocks.Arrival))
		if i == 0 || int64(p.Clocks.Watermark) < cp.Watermark {
			cp.Watermark = int64(p.Clocks.Watermark)
		}
		if p.Rewind < cp.RewindOffset {
			cp.RewindOffset = p.Rewind
			cp.RewindArrival, cp.RewindWatermark = int64(p.RewindAt.Arrival), int64(p.RewindAt.Watermark)
		}
		cp.Pipelines = append(cp.Pipelines, eventlog.PipelineClock{
			ID: p.ID, From: p.From,
			MaxTs: int64(p.Clocks.Newest), Watermark: int64(p.Clocks.Watermark), Arrival: int64(p.Clocks.Arrival),
			Rewind: p.Rewind, RewindM: int64(p.RewindAt.Newest), RewindW: int64(p.RewindAt.Watermark), RewindA: int64(p.RewindAt.Arrival),
			OpenWindows: p.OpenWindows, Suspended: p.Suspended, Reason: p.Reason,
		})
	}
}

func (c *pipelinesCore) Check(cp *eventlog.Checkpoint) error {
	return c.Pipelines.Check(pipelineClocks(cp))
}

func pipelineClocks(cp *eventlog.Checkpoint) []partition.PipelineClock {
	list := make([]partition.PipelineClock, len(cp.Pipelines))
	for i := range cp.Pipelines {
		p := &cp.Pipelines[i]
		list[i] = partition.PipelineClock{
			ID: p.ID, From: p.From,
			Clocks:      windows.Clocks{Arrival: windows.Tick(p.Arrival), Newest: windows.Tick(p.MaxTs), Watermark: windows.Tick(p.Watermark)},
			Rewind:      p.Rewind,
			RewindAt:    windows.Clocks{Arrival: windows.Tick(p.RewindA), Newest: windows.Tick(p.RewindM), Watermark: windows.Tick(p.RewindW)},
			OpenWindows: p.OpenWindows, Suspended: p.Suspended, Reason: p.Reason,
		}
	}
	return list
}

// pipelinesHost describes the host of one partition of a source.
func (n *Node) pipelinesHost(s *source, p, partitions int32) hostOptions {
	return hostOptions{
		node: n, name: fmt.Sprintf("%s.p.%s.%d", n.options.Hub, s.topic, p), kind: "pipelines",
		source: s.topic, partition: p, feed: n.pipeFeed,
		restore: func(ctx context.Context, r restoring) (core, int64, error) {
			return n.restorePipelines(ctx, s, p, partitions, r)
		},
		changed: func(c core) (bool, error) {
			plans := s.plans.Load()
			return c.(*pipelinesCore).Switch(plans.pipelines, plans.version, s.refusedBy(p))
		},
	}
}

// restorePipelines brings back the pipelines that the checkpoint names; those
// that were added or changed since come with the switch that follows recovery.
func (n *Node) restorePipelines(ctx context.Context, s *source, p, partitions int32, r restoring) (core, int64, error) {
	scratch, err := r.store.Scratch()
	if err != nil {
		return nil, 0, err
	}
	c := &pipelinesCore{Pipelines: partition.NewPipelines(partition.PipelinesOptions{
		Source: s.topic, Partition: p, SinglePartition: partitions == 1,
		FromDevices: s.topic == n.topics.deviceLog, ProducerTime: s.topic != n.topics.deviceLog,
		State: r.store, Scratch: scratch, Budget: n.budget,
		DeadLetter: n.topics.deadLetter, Late: n.topics.late,
	}, 0)}
	if d := n.options.PipelineDelay; d > 0 {
		c.slow = func() { pause(ctx, d) }
	}
	plans := s.plans.Load()
	switch {
	case r.checkpoint == nil:
		offsets, err := n.log.Offsets(ctx, s.topic)
		if err != nil {
			return nil, 0, err
		}
		c.Skip(offsets[p].Start)
		return c, offsets[p].Start, nil
	case r.usable:
		saved, err := eventlog.DecodeCheckpoint(r.applied.Extra)
		if err != nil {
			return nil, 0, err
		}
		c.Skip(r.applied.Offset)
		err = c.Resume(plans.pipelines, r.checkpoint.SettingsVersion, pipelineClocks(r.checkpoint), pipelineClocks(saved))
		return c, r.applied.Offset, err
	}
	from, err := c.Rebuild(plans.pipelines, r.checkpoint.SettingsVersion, pipelineClocks(r.checkpoint), r.checkpoint.Offset)
	return c, from, err
}

// refusedBy returns the causes of a core's suspended pipelines by name.
func (s *source) refusedBy(p int32) map[string]string {
	by := map[string]string{}
	for _, d := range s.plans.Load().pipelines {
		q, err := partition.Compile(&d, true)
		if err != nil {
			continue
		}
		if cause := (*s.refused.Load())[refusedKey(p, q.Into)]; cause != "" {
			by[d.Name] = cause
		}
	}
	return by
}

func refusedKey(p int32, topic string) string { return fmt.Sprintf("%d/%s", p, topic) }

func partitionOfKey(key string, partitions int) int32 {
	return eventlog.Partition([]byte(key), int32(partitions))
}
