package storage

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Bounds of topics.
const (
	maxTopicName       = 249
	maxTopicPartitions = 10_000
	maxPartitions      = 100_000 // of the whole log
)

// Topics returns all topics by name.
func (l *Log) Topics() []Topic {
	d := l.directory.Load()
	out := make([]Topic, 0, len(d.topics))
	for _, name := range slices.Sorted(maps.Keys(d.topics)) {
		out = append(out, d.topics[name].Topic)
	}
	return out
}

// Topic returns the topic of that name.
func (l *Log) Topic(name string) (Topic, bool) {
	t := l.directory.Load().topics[name]
	if t == nil {
		return Topic{}, false
	}
	return t.Topic, true
}

// TopicByID returns the topic with that id.
func (l *Log) TopicByID(id [16]byte) (Topic, bool) {
	t := l.directory.Load().byID[id]
	if t == nil {
		return Topic{}, false
	}
	return t.Topic, true
}

// CreateTopic makes a topic of t.Name, t.Partitions and t.Configs, and returns
// it with its id. Errors: TopicAlreadyExists, InvalidTopicException,
// InvalidPartitions, InvalidConfig, PolicyViolation.
func (l *Log) CreateTopic(ctx context.Context, t Topic) (Topic, error) {
	if err := ValidTopicName(t.Name); err != nil {
		return Topic{}, err
	}
	if t.Partitions < 1 || t.Partitions > maxTopicPartitions {
		return Topic{}, kerr.InvalidPartitions
	}
	conf, err := parseConfig(t.Configs)
	if err != nil {
		return Topic{}, kerr.InvalidConfig
	}
	t.Configs = maps.Clone(t.Configs)
	if t.Configs == nil {
		t.Configs = map[string]string{}
	}
	// Read never fails.
	_, _ = rand.Read(t.ID[:])
	err = l.grow(ctx, func(b *build) error {
		st := b.st
		if st.topics[t.Name] != nil {
			return kerr.TopicAlreadyExists
		}
		if len(st.byUID)+int(t.Partitions) > maxPartitions {
			return kerr.PolicyViolation
		}
		b.putTopic(&topic{Topic: t, conf: conf}, nil, int(t.Partitions))
		return nil
	})
	if err != nil {
		return Topic{}, err
	}
	return t, nil
}

// putTopic adds or replaces a topic: with the partitions of an older version of
// it, and new ones up to total.
func (b *build) putTopic(t *topic, old []*partition, total int) {
	t.partitions = slices.Clone(old)
	for i := len(old); i < total; i++ {
		p := newPartition(b.st.uid, TopicPartition{Topic: t.Name, Partition: int32(i)}, t.conf, partitionValue{open: noMark})
		b.st.uid++
		b.counted = true
		b.st.byUID[p.uid] = p
		t.partitions = append(t.partitions, p)
		b.touch(p)
	}
	t.Partitions = int32(total)
	b.st.topics[t.Name] = t
	b.set(keyTopic(t.Name), t.value().encode())
	b.listed = true
}

// ValidTopicName returns InvalidTopicException for a name that Kafka does not
// allow.
func ValidTopicName(name string) error {
	ok := len(name) > 0 && len(name) <= maxTopicName && name != "." && name != ".."
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return kerr.InvalidTopicException
	}
	return nil
}

// DeleteTopic removes a topic with its records, what is known of its producers,
// and the offsets that groups have committed for it. Transactions that are
// under way go on without it.
func (l *Log) DeleteTopic(ctx context.Context, name string) error {
	return l.change(ctx, func(b *build) error {
		st := b.st
		t := st.topics[name]
		if t == nil {
			return kerr.UnknownTopicOrPartition
		}
		for _, p := range t.partitions {
			p.gone = true
			delete(st.byUID, p.uid)
			for _, tag := range []byte{tagBatch, tagMark, tagAborted, tagProducer} {
				b.deleteRange(keyUID(tag, p.uid), keyUID(tag, p.uid+1))
			}
			b.delete(keyPartition(p.uid))
			b.delete(keyCompact(p.uid))
			b.retired = append(b.retired, p)
		}
		for _, tx := range st.txns {
			for p := range tx.open {
				if p.gone {
					delete(tx.open, p)
					b.touchTxn(tx)
				}
			}
			for gname, offsets := range tx.pending {
				for tp := range offsets {
					if tp.Topic == name {
						b.release(tx, gname, tp)
					}
				}
			}
		}
		for gname, g := range st.groups {
			for tp := range g.committed {
				if tp.Topic == name {
					b.removeOffset(gname, g, tp)
				}
			}
			st.tidy(gname)
		}
		delete(st.topics, name)
		b.delete(keyTopic(name))
		b.listed = true
		return nil
	})
}

// AddTopicPartitions raises the number of partitions to total. Errors:
// UnknownTopicOrPartition, InvalidPartitions.
func (l *Log) AddTopicPartitions(ctx context.Context, name string, total int32) error {
	return l.grow(ctx, func(b *build) error {
		t := b.st.topics[name]
		if t == nil {
			return kerr.UnknownTopicOrPartition
		}
		more := int(total) - len(t.partitions)
		if more <= 0 || total > maxTopicPartitions || len(b.st.byUID)+more > maxPartitions {
			return kerr.InvalidPartitions
		}
		b.putTopic(&topic{Topic: t.Topic, conf: t.conf}, t.partitions, int(total))
		return nil
	})
}

// SetTopicConfigs changes configurations: a nil value takes one back to its
// default, replace takes back all that are not named. Errors:
// UnknownTopicOrPartition, InvalidConfig.
func (l *Log) SetTopicConfigs(ctx context.Context, name string, configs map[string]*string, replace bool) error {
	return l.change(ctx, func(b *build) error {
		t := b.st.topics[name]
		if t == nil {
			return kerr.UnknownTopicOrPartition
		}
		set := map[string]string{}
		if !replace {
			maps.Copy(set, t.Configs)
		}
		for k, v := range configs {
			if v == nil {
				delete(set, k)
			} else {
				set[k] = *v
			}
		}
		conf, err := parseConfig(set)
		if err != nil {
			return kerr.InvalidConfig
		}
		n := &topic{Topic: t.Topic, conf: conf}
		n.Configs = set
		b.putTopic(n, t.partitions, len(t.partitions))
		for _, p := range n.partitions {
			p.conf.Store(conf)
		}
		return nil
	})
}
