package actors

import (
	"context"
	"time"
)

// lagEvery is how often offsets go to the consumer group of the hub's name.
const lagEvery = 5 * time.Second

// publishOffsets commits the cores' offsets to a consumer group named after the
// hub, for the ecosystem's lag tools. They are never read back, so errors are
// ignored (design 4).
func (n *Node) publishOffsets(ctx context.Context) error {
	t := time.NewTicker(lagEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		offsets := map[string]map[int32]int64{}
		for _, s := range n.Statuses() {
			if s.Committed == 0 {
				continue
			}
			if offsets[s.Source] == nil {
				offsets[s.Source] = map[int32]int64{}
			}
			// The pipelines core of a partition comes after its devices core; the
			// smaller of the two is the lag that matters.
			if old, ok := offsets[s.Source][s.Partition]; !ok || s.Committed < old {
				offsets[s.Source][s.Partition] = s.Committed
			}
		}
		n.checkRetention(ctx)
		if len(offsets) > 0 {
			if err := n.log.CommitGroupOffsets(ctx, n.options.Hub, offsets); err != nil {
				n.logger.Debug("commit offsets to the group", "group", n.options.Hub, "err", err)
			}
		}
	}
}

// checkRetention compares every core's rewind point with where its input begins.
func (n *Node) checkRetention(ctx context.Context) {
	starts := map[string]map[int32]int64{}
	for _, h := range n.allHosts() {
		if starts[h.source] == nil {
			starts[h.source] = map[int32]int64{}
			offsets, err := n.log.Offsets(ctx, h.source)
			if err != nil {
				continue
			}
			for p, o := range offsets {
				starts[h.source][p] = o.Start
			}
		}
		if start, ok := starts[h.source][h.partition]; ok {
			h.checkRetention(start)
		}
	}
}

// Floor returns the oldest offset of an input partition that a replay may still
// need: a log that deletes below it loses nothing. It reports false for topics
// that no core reads.
func (n *Node) Floor(topic string, partition int32) (offset int64, ok bool) {
	for _, h := range n.allHosts() {
		if h.source != topic || h.partition != partition {
			continue
		}
		need := h.flushed.Load()
		if r := h.rewind.Load(); r >= 0 {
			need = min(need, r)
		}
		if !ok || need < offset {
			offset, ok = need, true
		}
	}
	return offset, ok
}
