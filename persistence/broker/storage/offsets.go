package storage

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// maxMetadata bounds what a group keeps with an offset, as in Kafka.
const maxMetadata = 4096

func checkOffsets(group string, offsets []Offset) error {
	if len(group) > math.MaxInt16 {
		return kerr.InvalidGroupID
	}
	for _, o := range offsets {
		if len(o.Metadata) > maxMetadata {
			return kerr.OffsetMetadataTooLarge
		}
	}
	return nil
}

// group returns a group, which it makes when needed.
func (s *state) group(name string) *group {
	g := s.groups[name]
	if g == nil {
		g = &group{committed: map[TopicPartition]offsetValue{}, pending: map[TopicPartition]int{}}
		s.groups[name] = g
	}
	return g
}

// tidy forgets a group that has nothing left.
func (s *state) tidy(name string) {
	if g := s.groups[name]; g != nil && len(g.committed) == 0 && len(g.pending) == 0 {
		delete(s.groups, name)
	}
}

// hold notes an offset that waits for the end of t.
func (s *state) hold(t *txn, name string, tp TopicPartition, v offsetValue) {
	m := t.pending[name]
	if m == nil {
		m = map[TopicPartition]offsetValue{}
		t.pending[name] = m
	}
	if _, again := m[tp]; !again {
		s.group(name).pending[tp]++
	}
	m[tp] = v
}

// release takes an offset back that waited for the end of t.
func (b *build) release(t *txn, name string, tp TopicPartition) {
	delete(t.pending[name], tp)
	g := b.st.group(name)
	if g.pending[tp]--; g.pending[tp] <= 0 {
		delete(g.pending, tp)
	}
	b.delete(keyPending(t.id, name, tp))
}

// offset makes the stored form of an offset of this moment.
func (b *build) offset(o Offset) offsetValue {
	b.st.sequence++
	b.counted = true
	return offsetValue{offset: o.Offset, leaderEpoch: o.LeaderEpoch, sequence: b.st.sequence, time: b.now, metadata: o.Metadata}
}

// commitOffset stores v unless a later one is there.
func (b *build) commitOffset(name string, tp TopicPartition, v offsetValue) {
	g := b.st.group(name)
	if old, ok := g.committed[tp]; ok && old.sequence > v.sequence {
		return
	}
	g.committed[tp] = v
	g.active = b.now
	b.set(keyOffset(name, tp), v.encode())
}

func (b *build) removeOffset(name string, g *group, tp TopicPartition) {
	delete(g.committed, tp)
	b.delete(keyOffset(name, tp))
}

// CommitOffsets stores offsets of a group; all or none. Errors:
// UnknownTopicOrPartition, OffsetMetadataTooLarge, InvalidGroupID,
// KafkaStorageError.
func (l *Log) CommitOffsets(ctx context.Context, group string, offsets []Offset) error {
	if err := checkOffsets(group, offsets); err != nil {
		return err
	}
	return l.change(ctx, func(b *build) error {
		for _, o := range offsets {
			if b.st.partition(o.TopicPartition) == nil {
				return kerr.UnknownTopicOrPartition
			}
		}
		for _, o := range offsets {
			b.commitOffset(group, o.TopicPartition, b.offset(o))
		}
		return nil
	})
}

// CommittedOffsets lists the offsets of a group by topic and partition. A
// partition for which only an open transaction holds an offset has Offset -1.
func (l *Log) CommittedOffsets(name string) []CommittedOffset {
	var out []CommittedOffset
	// The only error is that of a closed log.
	_ = l.look(context.Background(), func(b *build) {
		out = nil
		g := b.st.groups[name]
		if g == nil {
			return
		}
		for tp, v := range g.committed {
			out = append(out, CommittedOffset{
				Offset:     Offset{TopicPartition: tp, Offset: v.offset, LeaderEpoch: v.leaderEpoch, Metadata: v.metadata},
				CommitTime: time.UnixMilli(v.time),
				Pending:    g.pending[tp] > 0,
			})
		}
		for tp := range g.pending {
			if _, ok := g.committed[tp]; !ok {
				out = append(out, CommittedOffset{Offset: Offset{TopicPartition: tp, Offset: -1, LeaderEpoch: -1}, Pending: true})
			}
		}
	})
	slices.SortFunc(out, func(a, b CommittedOffset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}

// Groups lists the groups that have offsets, by name.
func (l *Log) Groups() []string {
	var out []string
	// The only error is that of a closed log.
	_ = l.look(context.Background(), func(b *build) { out = slices.Sorted(maps.Keys(b.st.groups)) })
	return out
}

// DeleteOffsets removes offsets of a group; those that are not there are no
// error. What open transactions hold for them is dropped, too.
func (l *Log) DeleteOffsets(ctx context.Context, name string, tps []TopicPartition) error {
	return l.change(ctx, func(b *build) error {
		g := b.st.groups[name]
		if g == nil {
			return nil
		}
		for _, tp := range tps {
			if _, ok := g.committed[tp]; ok {
				b.removeOffset(name, g, tp)
			}
			if g.pending[tp] > 0 {
				b.drop(name, tp)
			}
		}
		b.st.tidy(name)
		return nil
	})
}

// drop takes an offset out of all open transactions.
func (b *build) drop(name string, tp TopicPartition) {
	for _, t := range b.st.txns {
		if _, ok := t.pending[name][tp]; ok {
			b.release(t, name, tp)
		}
	}
}

// DeleteGroup removes all offsets of a group. Error: GroupIDNotFound.
func (l *Log) DeleteGroup(ctx context.Context, name string) error {
	return l.change(ctx, func(b *build) error {
		g := b.st.groups[name]
		if g == nil {
			return kerr.GroupIDNotFound
		}
		for tp := range g.committed {
			b.removeOffset(name, g, tp)
		}
		for tp := range g.pending {
			b.drop(name, tp)
		}
		delete(b.st.groups, name)
		return nil
	})
}
