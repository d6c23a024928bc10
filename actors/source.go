package actors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows/sql"
)

// source is an input topic with the hosts of its pipelines cores.
type source struct {
	topic string
	hosts []*host
	plans atomic.Pointer[plans]
	// refused names pipelines whose result topic refused rows for good, by core.
	refused atomic.Pointer[map[string]string]
}

// plans are the pipelines of one source as of a version of the settings.
type plans struct {
	version   uint64
	pipelines []partition.Definition
}

var errNoSource = errors.New("no source topic")

// reconcileLoop makes the running pipelines those of the settings: after each
// change, and every few seconds, since a topic that was missing may have come.
func (n *Node) reconcileLoop(ctx context.Context) error {
	t := time.NewTicker(3 * time.Second)
	defer t.Stop()
	for {
		if err := n.reconcile(ctx); err != nil && ctx.Err() == nil {
			n.logger.Warn("apply the pipelines of the settings", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.settings.changed:
		case <-t.C:
		}
	}
}

// reconcile starts, changes and stops sources. A pipeline that can't run has
// its cause in problem; it hinders no other.
func (n *Node) reconcile(ctx context.Context) error {
	if err := n.reconcileRouting(ctx); err != nil && ctx.Err() == nil {
		n.logger.Warn("apply the routing of the settings", "err", err)
	}
	defs, version, err := n.settings.pipelines()
	if err != nil {
		return err
	}
	problem := map[string]string{}
	wanted := map[string][]partition.Definition{}
	running := n.running()
	for _, d := range defs {
		topic, err := n.prepare(ctx, &d)
		if err != nil {
			// Its open windows must not be dropped because the log does not
			// answer, or because a topic is gone for now.
			problem[d.Name] = err.Error()
			old, ok := running[d.Name]
			if !ok {
				continue
			}
			topic, d = old.topic, old.definition
		}
		wanted[topic] = append(wanted[topic], d)
	}
	n.mu.Lock()
	n.problem = problem
	var gone []*source
	for topic, s := range n.sources {
		if wanted[topic] == nil {
			gone = append(gone, s)
			delete(n.sources, topic)
		}
	}
	n.mu.Unlock()
	for _, s := range gone {
		// A last switch to no pipelines commits that they are gone.
		s.plans.Store(&plans{version: version})
		for _, h := range s.hosts {
			h.gone.Store(true)
		}
		for _, h := range s.hosts {
			h.cancel()
		}
		for _, h := range s.hosts {
			<-h.stopped
		}
	}
	for topic, list := range wanted {
		if err := n.ensureSource(ctx, topic, &plans{version: version, pipelines: list}); err != nil {
			for _, d := range list {
				n.mu.Lock()
				n.problem[d.Name] = err.Error()
				n.mu.Unlock()
			}
		}
	}
	return nil
}

// runningPipeline is a pipeline that hosts have, by its source.
type runningPipeline struct {
	topic      string
	definition partition.Definition
}

// running returns the pipelines that hosts have, by name.
func (n *Node) running() map[string]runningPipeline {
	all := map[string]runningPipeline{}
	n.mu.Lock()
	defer n.mu.Unlock()
	for topic, s := range n.sources {
		for _, d := range s.plans.Load().pipelines {
			all[d.Name] = runningPipeline{topic, d}
		}
	}
	return all
}

// prepare compiles a pipeline and sees to its topics; it returns the input's
// name.
func (n *Node) prepare(ctx context.Context, d *partition.Definition) (string, error) {
	q, err := partition.Compile(d, false)
	if err != nil {
		return "", err
	}
	topic := n.sourceTopic(q)
	info, err := n.log.Topic(ctx, topic)
	if err != nil {
		if errors.Is(err, eventlog.ErrNoTopic) {
			return "", fmt.Errorf("source topic %q does not exist; create it, the pipeline starts by itself then: %w", topic, errNoSource)
		}
		return "", err
	}
	if _, err := partition.Compile(d, info.Partitions == 1); err != nil {
		return "", err
	}
	if _, err := n.log.Topic(ctx, q.Into); errors.Is(err, eventlog.ErrNoTopic) {
		err = n.log.EnsureTopics(ctx, eventlog.TopicSpec{Name: q.Into, Partitions: info.Partitions})
		if err != nil {
			return "", fmt.Errorf("create result topic %q: %w", q.Into, err)
		}
	} else if err != nil {
		return "", err
	}
	return topic, nil
}

func (n *Node) sourceTopic(q *sql.Query) string {
	if q.FromDevices {
		return n.topics.deviceLog
	}
	return q.Source
}

func (n *Node) ensureSource(ctx context.Context, topic string, p *plans) error {
	n.mu.Lock()
	s := n.sources[topic]
	n.mu.Unlock()
	if s != nil {
		old := s.plans.Swap(p)
		if !slices.Equal(old.pipelines, p.pipelines) {
			for _, h := range s.hosts {
				h.tell()
			}
		}
		return nil
	}
	info, err := n.log.Topic(ctx, topic)
	if err != nil {
		return err
	}
	s = &source{topic: topic}
	s.plans.Store(p)
	s.refused.Store(&map[string]string{})
	for i := range info.Partitions {
		s.hosts = append(s.hosts, newHost(n.pipelinesHost(s, i, info.Partitions)))
	}
	return n.begin(s)
}

// begin runs the cores of a source, unless the node stops.
func (n *Node) begin(s *source) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return fmt.Errorf("the node stops: %w", ErrUnavailable)
	}
	n.sources[s.topic] = s
	for _, h := range s.hosts {
		n.run(h)
	}
	return nil
}

// sinkFailed suspends the pipelines of a core whose result topic refuses rows
// for good; it reports false when the topic is the hub's own, which is no
// pipeline's fault.
func (n *Node) sinkFailed(h *host, err *eventlog.SinkError) bool {
	if h.kind == "devices" {
		return n.endpointFailed(err)
	}
	n.mu.Lock()
	s := n.sources[h.source]
	n.mu.Unlock()
	if s == nil || h.kind != "pipelines" {
		return false
	}
	found := false
	for _, d := range s.plans.Load().pipelines {
		q, e := partition.Compile(&d, true)
		if e == nil && q.Into == err.Topic {
			found = true
		}
	}
	if !found {
		return false
	}
	refused := maps.Clone(*s.refused.Load())
	refused[refusedKey(h.partition, err.Topic)] = err.Error()
	s.refused.Store(&refused)
	return true
}
