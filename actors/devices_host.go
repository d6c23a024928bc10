package actors

import (
	"context"
	"fmt"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

// devicesCore fits partition.Devices to what a host runs.
type devicesCore struct {
	*partition.Devices
}

func (c *devicesCore) Checkpoint(cp *eventlog.Checkpoint) {
	cp.Arrival = int64(c.Arrival())
	cp.Watermark = int64(windows.Unset)
	cp.RewindOffset = cp.Offset
	cp.SettingsVersion, cp.PlanHash = c.RoutesVersion(), c.RoutesHash()
}

// Check has nothing to compare: a devices core has no windows.
func (c *devicesCore) Check(*eventlog.Checkpoint) error { return nil }

// devicesHost describes the host of one partition of the device log.
func (n *Node) devicesHost(p int32) hostOptions {
	due := &dueLook{node: n}
	return hostOptions{
		node: n, name: fmt.Sprintf("%s.d.%d", n.options.Hub, p), kind: "devices",
		source: n.topics.deviceLog, partition: p, feed: n.deviceFeed, current: true,
		restore: func(ctx context.Context, r restoring) (core, int64, error) {
			return n.restoreDevices(ctx, p, r)
		},
		applied: n.deviceEffects,
		look:    due.look,
		began:   func(c core) { n.live.feeds[p].began(c.(*devicesCore)) },
		noted:   func(c core) { n.live.feeds[p].note(c.(*devicesCore)) },
		changed: func(c core) (bool, error) { return c.(*devicesCore).SwitchRoutes(n.routing.plan.Load()) },
		differs: func(c core) bool { return c.(*devicesCore).RoutesHash() != n.routing.plan.Load().Hash() },
	}
}

// restoreDevices opens the store's state, or rebuilds a lost store from the
// state topic: its records were committed with the checkpoint, so the newest
// ones are the state at exactly that point.
func (n *Node) restoreDevices(ctx context.Context, p int32, r restoring) (core, int64, error) {
	from := int64(0)
	if r.usable {
		from = r.applied.Offset
	}
	d, err := partition.NewDevices(partition.DevicesOptions{
		Partition: p, State: r.store,
		StateTopic: n.topics.state, TwinsTopic: n.topics.twins,
		DeadLetter: n.topics.deadLetter, Source: n.topics.deviceLog, Routing: n.routingTopics(),
	}, from)
	if err != nil {
		return nil, 0, err
	}
	c := &devicesCore{d}
	var routes [32]byte
	if r.checkpoint != nil {
		routes = r.checkpoint.PlanHash
	}
	if err := d.RestoreRoutes(n.routing.plan.Load(), routes); err != nil {
		return nil, 0, err
	}
	if r.usable {
		return c, from, nil
	}
	offsets, err := n.log.Offsets(ctx, n.topics.deviceLog)
	if err != nil {
		return nil, 0, err
	}
	if r.checkpoint == nil {
		d.Skip(offsets[p].Start)
		return c, offsets[p].Start, nil
	}
	state, err := n.log.Offsets(ctx, n.topics.state)
	if err != nil {
		return nil, 0, err
	}
	err = n.log.ReadRange(ctx, n.topics.state, p, state[p].Start, state[p].High, func(rec *eventlog.Record) error {
		return d.Restore(string(rec.Key), rec.Value)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("rebuild from %s: %w", n.topics.state, err)
	}
	d.Skip(r.checkpoint.Offset)
	return c, r.checkpoint.Offset, nil
}

// deviceEffects sends what depends on the log prefix alone.
func (n *Node) deviceEffects(e *partition.Effects) {
	n.waiters.answer(e.Replies)
	clear(e.Replies)
	e.Replies = e.Replies[:0]
	for _, notice := range e.Notices {
		// They are for sessions, which only an actor that is there can have: one
		// that comes later reads what is told here.
		if err := n.cluster.Notify(notice.Ref.String(), notice); err != nil {
			n.metrics.busy.Inc()
		}
		if n.options.Break == FaultNotice && notice.Kind == partition.NoticeDesired {
			_ = n.cluster.Notify(notice.Ref.String(), notice) // what is lost here is no fault
		}
	}
	clear(e.Notices)
	e.Notices = e.Notices[:0]
}
