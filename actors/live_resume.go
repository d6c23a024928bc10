package actors

import (
	"context"
	"errors"
	"fmt"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// liveResume bounds the records of the device log that are read to tell what has
// changed since a position.
const liveResume = 500_000

// resumable says whether the log can tell what has changed since the positions,
// and returns when the cores have applied what is below them: "" or why not. The
// errors are device.ErrArgument and ErrUnavailable.
func (n *Node) resumable(ctx context.Context, after []device.LogPosition) (reason string, err error) {
	ranges, err := n.log.Offsets(ctx, n.topics.deviceLog)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	named := map[int32]bool{}
	records := int64(0)
	for _, at := range after {
		r, ok := ranges[at.Partition]
		switch {
		case !ok:
			return "", fmt.Errorf("%w: partition %d of %d", device.ErrArgument, at.Partition, len(ranges))
		case at.Next < r.Start:
			return "the log no longer holds all that has changed since", nil
		case at.Next > r.High:
			return "the position is beyond the end of the log", nil
		}
		named[at.Partition] = true
		records += r.High - at.Next
	}
	if len(named) < len(ranges) {
		return "the position does not name every partition", nil
	}
	if records > liveResume {
		return fmt.Sprintf("more than %d records have come since", liveResume), nil
	}
	return "", n.Await(ctx, after)
}

// resume begins the query with those rows alone that may have changed since the
// positions. No change is missed: the parts take note of what changes from a point
// on, and then the log is read up to where it ends after that point.
func (s *LiveQuery) resume(ctx context.Context, after []device.LogPosition) error {
	n := s.node
	from := make([]int64, len(n.devices))
	for _, at := range after {
		from[at.Partition] = at.Next
	}
	parts := make([]*livePart, len(n.devices))
	for p, f := range n.live.feeds {
		parts[p] = newLivePart(s)
		parts[p].silent, parts[p].held, parts[p].attached = true, true, make(chan struct{})
		f.join(parts[p])
	}
	for _, p := range parts {
		select {
		case <-p.attached:
		case <-ctx.Done():
			return fmt.Errorf("%w: a partition has no core to follow it", ErrUnavailable)
		case <-n.live.ctx.Done():
			return fmt.Errorf("the node stops: %w", ErrUnavailable)
		}
	}
	ranges, err := n.log.Offsets(ctx, n.topics.deviceLog)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	changed := make([]map[string]bool, len(parts))
	for p := range parts {
		changed[p], err = n.changedSince(ctx, int32(p), from[p], ranges[int32(p)].High, parts[p].modules)
		if errors.Is(err, errUntold) || errors.Is(err, eventlog.ErrOffsetOutOfRange) {
			s.reset("the log can't tell all that has changed since")
			for i, f := range n.live.feeds {
				f.release(parts[i], nil, false)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what has changed since %d:%d: %w: %w", p, from[p], ErrUnavailable, err)
		}
	}
	for p, f := range n.live.feeds {
		f.release(parts[p], changed[p], true)
	}
	return nil
}

// errUntold ends a read of the log that can't tell which documents have changed.
var errUntold = errors.New("the records do not name what they change")

// changedSince returns the keys of the documents that records of a range of the
// log may have changed. For a query of modules, the id of a device stands for all
// its modules.
func (n *Node) changedSince(ctx context.Context, p int32, from, to int64, modules bool) (map[string]bool, error) {
	keys := map[string]bool{}
	var r partition.Record
	err := n.log.ReadRange(ctx, n.topics.deviceLog, p, from, to, func(rec *eventlog.Record) error {
		r.Key, r.Headers = rec.Key, r.Headers[:0]
		for _, h := range rec.Headers {
			r.Headers = append(r.Headers, partition.Header{Key: h.Key, Value: h.Value})
		}
		module := r.Header(device.HeaderModule)
		switch reach := partition.ReachOf(&r); {
		case reach == partition.ReachAll, reach == partition.ReachGone && modules:
			return errUntold
		case reach == partition.ReachNone, reach == partition.ReachEntity && modules && len(module) == 0:
		case modules && len(module) > 0:
			keys[device.Ref{Device: string(rec.Key), Module: string(module)}.Key()] = true
		case !keys[string(rec.Key)]:
			keys[string(rec.Key)] = true
		}
		return nil
	})
	return keys, err
}
