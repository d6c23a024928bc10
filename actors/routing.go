package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

// SettingRouting holds a partition.Routing as JSON.
const SettingRouting = "routing"

// routing is this node's view of where messages go.
type routing struct {
	plan     atomic.Pointer[partition.RoutingPlan]
	turn     sync.Mutex // held while the plan is made of the settings
	mu       sync.Mutex // guards the following; nothing is called while it is held
	refused  map[string]string
	problem  map[string]string   // endpoints that can't be set up, by name
	webhooks map[string]*webhook // that are posted to
}

// routingTopics names where routed messages go.
func (n *Node) routingTopics() partition.RoutingTopics {
	return partition.RoutingTopics{Events: n.topics.events, WebhookPrefix: n.webhookPrefix(), HubName: n.options.Hub}
}

// webhookPrefix begins the names of the topics that webhooks are posted from.
func (n *Node) webhookPrefix() string { return n.options.Hub + ".webhook." }

// webhookRetention is how long a message waits for a webhook that does not
// answer.
const webhookRetention = 7 * 24 * time.Hour

// openRouting makes the plan of the settings that the cores start with. One that
// can't be read is no reason to keep devices waiting: their messages go where
// they go without.
func (n *Node) openRouting() error {
	n.routing.refused, n.routing.problem, n.routing.webhooks = map[string]string{}, map[string]string{}, map[string]*webhook{}
	p, err := n.routingSetting()
	if err != nil {
		return err
	}
	n.routing.plan.Store(p)
	return nil
}

// routingSetting returns the plan of the settings.
func (n *Node) routingSetting() (*partition.RoutingPlan, error) {
	n.settings.mu.Lock()
	v, version := n.settings.values[SettingRouting], n.settings.version
	n.settings.mu.Unlock()
	p := &partition.RoutingPlan{Version: version}
	if v == nil {
		return p, nil
	}
	if err := json.Unmarshal(v, &p.Routing); err != nil {
		return nil, fmt.Errorf("setting %s: %w", SettingRouting, err)
	}
	return p, nil
}

// reconcileRouting makes the plan in force that of the settings.
func (n *Node) reconcileRouting(ctx context.Context) error {
	n.routing.turn.Lock()
	defer n.routing.turn.Unlock()
	p, err := n.routingSetting()
	if err != nil {
		return err
	}
	problem, err := n.ensureEndpoints(ctx, &p.Routing)
	if err != nil {
		return err
	}
	n.routing.mu.Lock()
	n.routing.problem = problem
	suspended := map[string]bool{}
	for e := range problem {
		suspended[e] = true
	}
	for e := range n.routing.refused {
		suspended[e] = true
	}
	n.routing.mu.Unlock()
	p.Suspended = slices.Sorted(maps.Keys(suspended))
	old := n.routing.plan.Load()
	if old.Hash() == p.Hash() && reflect.DeepEqual(old.Routing.Webhooks, p.Routing.Webhooks) {
		n.runWebhooks(p.Routing.Hooks())
		return nil
	}
	n.routing.plan.Store(p)
	for _, h := range n.devices {
		h.tell()
	}
	n.runWebhooks(p.Routing.Hooks())
	return nil
}

// ensureEndpoints makes the topics that routes write to and that are missing. A
// topic that can't be made suspends its endpoint alone.
func (n *Node) ensureEndpoints(ctx context.Context, r *partition.Routing) (problem map[string]string, err error) {
	problem = map[string]string{}
	ensure := func(endpoint string, spec eventlog.TopicSpec) error {
		_, err := n.log.Topic(ctx, spec.Name)
		if err == nil {
			return nil
		}
		if !errors.Is(err, eventlog.ErrNoTopic) {
			return err // the log does not answer: all stays as it is
		}
		spec.Partitions = n.options.Partitions
		if err := n.log.EnsureTopics(ctx, spec); err != nil {
			problem[endpoint] = fmt.Sprintf("topic %s can't be made: %v", spec.Name, err)
		}
		return nil
	}
	for _, t := range r.Topics() {
		if err := ensure("topic:"+t, eventlog.TopicSpec{Name: t}); err != nil {
			return nil, err
		}
	}
	for _, h := range r.Hooks() {
		spec := eventlog.TopicSpec{Name: n.webhookPrefix() + h, Retention: webhookRetention, Internal: true}
		if err := ensure("webhook:"+h, spec); err != nil {
			return nil, err
		}
	}
	return problem, nil
}

// endpointFailed suspends the endpoint whose topic refused records for good; it
// reports false when the topic is none of an endpoint's.
func (n *Node) endpointFailed(err *eventlog.SinkError) bool {
	n.routing.turn.Lock()
	defer n.routing.turn.Unlock()
	p := *n.routing.plan.Load()
	endpoint := ""
	switch {
	case slices.Contains(p.Routing.Topics(), err.Topic):
		endpoint = "topic:" + err.Topic
	case strings.HasPrefix(err.Topic, n.webhookPrefix()):
		endpoint = "webhook:" + strings.TrimPrefix(err.Topic, n.webhookPrefix())
	default:
		return false
	}
	n.routing.mu.Lock()
	n.routing.refused[endpoint] = err.Error()
	n.routing.mu.Unlock()
	if !slices.Contains(p.Suspended, endpoint) {
		p.Suspended = append(slices.Clone(p.Suspended), endpoint)
		slices.Sort(p.Suspended)
	}
	n.routing.plan.Store(&p)
	for _, h := range n.devices {
		h.tell()
	}
	return true
}

// Routing returns the routing of the settings.
func (n *Node) Routing() (partition.Routing, error) {
	p, err := n.routingSetting()
	if err != nil {
		return partition.Routing{}, err
	}
	return p.Routing, nil
}

// ChangeRouting lets change alter the routing and returns when all cores of this
// node route by the new one. The error is change's, or wraps partition.ErrRouting
// when the result is invalid. An endpoint that was suspended is tried again.
func (n *Node) ChangeRouting(ctx context.Context, action, object string, a device.Audit, change func(*partition.Routing) error) error {
	c := SettingChange{Setting: SettingRouting, Action: action, Object: object, Audit: a}
	same := errors.New("same")
	err := n.ChangeSetting(ctx, c, func(old []byte) ([]byte, error) {
		var r partition.Routing
		if old != nil {
			if err := json.Unmarshal(old, &r); err != nil {
				return nil, fmt.Errorf("setting %s: %w", SettingRouting, err)
			}
		}
		if err := change(&r); err != nil {
			return nil, err
		}
		r = r.Canonical()
		if err := r.Validate(n.options.Routing, n.options.Hub+"."); err != nil {
			return nil, err
		}
		v, err := json.Marshal(&r)
		if err == nil && string(v) == string(old) {
			err = same
		}
		return v, err
	})
	if err != nil && !errors.Is(err, same) {
		return err
	}
	n.routing.mu.Lock()
	clear(n.routing.refused)
	n.routing.mu.Unlock()
	if err := n.reconcileRouting(ctx); err != nil {
		return err
	}
	return n.awaitRouting(ctx)
}

// awaitRouting waits until the cores that run here have switched to the plan.
func (n *Node) awaitRouting(ctx context.Context) error {
	for _, h := range n.devices {
		for {
			there := false
			err := h.do(ctx, func(c core) { there = c.(*devicesCore).RoutesHash() == n.routing.plan.Load().Hash() })
			if errors.Is(err, ErrUnavailable) || err == nil && there {
				break // a core that starts does so with the plan
			}
			if err != nil && !errors.Is(err, ErrBusy) {
				return err
			}
			if !pause(ctx, 5*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// RoutingStatus is the routing with what its cores on this node have done since
// they started.
type RoutingStatus struct {
	Routing   partition.Routing
	Figures   partition.RoutingFigures
	Suspended map[string]string // endpoints that get nothing, and why
	Webhooks  []WebhookStatus
}

// RoutingStatus returns the routing and its figures.
func (n *Node) RoutingStatus(ctx context.Context) (RoutingStatus, error) {
	s := RoutingStatus{Suspended: map[string]string{}}
	var err error
	if s.Routing, err = n.Routing(); err != nil {
		return s, err
	}
	routes, endpoints := map[string]int64{}, map[string]int64{}
	for _, h := range n.devices {
		var f partition.Figures
		if err := h.do(ctx, func(c core) { c.Report(&f) }); err != nil {
			if errors.Is(err, ErrUnavailable) {
				continue
			}
			return s, err
		}
		r := &f.Routing
		s.Figures.Routed += r.Routed
		s.Figures.Fallback += r.Fallback
		s.Figures.Unmatched += r.Unmatched
		s.Figures.TooLarge += r.TooLarge
		s.Figures.Suspended += r.Suspended
		for _, x := range r.Routes {
			routes[x.Name] += x.Count
		}
		for _, x := range r.Endpoints {
			endpoints[x.Name] += x.Count
		}
	}
	s.Figures.Routes, s.Figures.Endpoints = figuresOf(routes), figuresOf(endpoints)
	n.routing.mu.Lock()
	maps.Copy(s.Suspended, n.routing.refused)
	maps.Copy(s.Suspended, n.routing.problem)
	n.routing.mu.Unlock()
	s.Webhooks = n.webhookStatus()
	return s, nil
}

func figuresOf(counts map[string]int64) []partition.EndpointFigures {
	list := make([]partition.EndpointFigures, 0, len(counts))
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, partition.EndpointFigures{Name: name, Count: counts[name]})
	}
	return list
}

// TryRouting says where a message would go by the routing of the settings, or by
// the one given, and why. The error may wrap partition.ErrRouting.
func (n *Node) TryRouting(ctx context.Context, with *partition.Routing, m *partition.TrialMessage) (t partition.Trial, err error) {
	plan := *n.routing.plan.Load()
	if with != nil {
		r := with.Canonical()
		if err := r.Validate(n.options.Routing, n.options.Hub+"."); err != nil {
			return t, err
		}
		plan = partition.RoutingPlan{Routing: r}
	}
	m.Arrival = windows.TickOf(n.now())
	if e := n.devicesDo(ctx, m.DeviceID, func(d *partition.Devices) { t, err = d.Try(&plan, m) }); e != nil {
		return t, e
	}
	return t, err
}
