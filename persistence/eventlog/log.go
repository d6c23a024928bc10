package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	metadataMinAge = 50 * time.Millisecond
	openPause      = 200 * time.Millisecond

	// unknownTopicRetries times metadataMinAge is how long a missing topic may
	// take to appear before it counts as gone: brokers hear of a new topic, or
	// of a new leader, one after the other.
	unknownTopicRetries = 20

	// fetchKey and fetchMaxVersion pin raw fetches to the last version that
	// names topics instead of giving their ids; all brokers since 2.7 know it.
	fetchKey        = 1
	fetchMaxVersion = 12
)

// Log is the connection to a log. It is safe for concurrent use. Appenders,
// readers and terms made from it have clients of their own and are closed by
// whoever made them.
type Log struct {
	opts    Options
	metrics *metrics
	cl      *kgo.Client // administration and offsets only
	adm     *kadm.Client
}

// Open connects to the log. It returns once a broker has answered with these
// credentials; it tries until ctx ends, except when the credentials or the
// options are wrong. The error is one line that says what to look at.
func Open(ctx context.Context, o Options) (*Log, error) {
	if len(o.Seeds) == 0 {
		return nil, errors.New("log: no seed brokers given; set log.kafka to host:port addresses")
	}
	base, err := o.client()
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(base...)
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", strings.Join(o.Seeds, ","), err)
	}
	l := &Log{opts: o, cl: cl, adm: kadm.NewClient(cl)}
	if err := l.awaitBroker(ctx); err != nil {
		cl.Close()
		return nil, err
	}
	if l.metrics, err = newMetrics(o.Registerer); err != nil {
		cl.Close()
		return nil, fmt.Errorf("log: register metrics: %w", err)
	}
	return l, nil
}

func (l *Log) awaitBroker(ctx context.Context) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	var last error
	for {
		select {
		case <-ctx.Done():
			if last == nil {
				last = ctx.Err()
			}
			return fmt.Errorf("log %s: no broker answers (%w); start it or correct log.kafka, log.tls", strings.Join(l.opts.Seeds, ","), last)
		case <-pause.C:
		}
		err := l.cl.Ping(ctx)
		if err == nil {
			return nil
		}
		if refusedForGood(err) {
			return fmt.Errorf("log %s: refuses %s (%w); correct log.sasl or the broker's users", strings.Join(l.opts.Seeds, ","), l.opts.SASL, err)
		}
		if eof, ok := errors.AsType[*kgo.ErrFirstReadEOF](err); ok {
			return fmt.Errorf("log %s: %w", strings.Join(l.opts.Seeds, ","), eof)
		}
		// The end of ctx says less than what the brokers answered before.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		pause.Reset(openPause)
	}
}

// Close ends the log's own connections.
func (l *Log) Close() { l.cl.Close() }

// client makes a client of its own for an appender, reader, term or read-back.
func (l *Log) client(opts ...kgo.Opt) (*kgo.Client, error) {
	base, err := l.opts.client()
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append(base, opts...)...)
}

// namedFetches limits Fetch to a version that names topics.
func namedFetches() kgo.Opt {
	v := kversion.Stable()
	v.SetMaxKeyVersion(fetchKey, fetchMaxVersion)
	return kgo.MaxVersions(v)
}

// TopicInfo is what the log says about a topic.
type TopicInfo struct {
	Name       string
	Partitions int32
	// Replication is the number of replicas of partition 0.
	Replication int
}

// Topic describes a topic; the error is ErrNoTopic if it does not exist.
func (l *Log) Topic(ctx context.Context, name string) (TopicInfo, error) {
	md, err := l.adm.Metadata(ctx, name)
	if err != nil {
		return TopicInfo{}, fmt.Errorf("describe topic %s: %w", name, err)
	}
	return topicInfo(name, md)
}

func topicInfo(name string, md kadm.Metadata) (TopicInfo, error) {
	t, ok := md.Topics[name]
	switch {
	case !ok, errors.Is(t.Err, kerr.UnknownTopicOrPartition):
		return TopicInfo{}, fmt.Errorf("topic %s: %w", name, ErrNoTopic)
	case t.Err != nil:
		return TopicInfo{}, fmt.Errorf("describe topic %s: %w", name, t.Err)
	}
	return TopicInfo{
		Name:        name,
		Partitions:  int32(len(t.Partitions)),
		Replication: t.Partitions.NumReplicas(),
	}, nil
}

// Range is what of a partition is on the log. Offsets are those of the next
// record: [Start, High) is there, [Start, Stable) is decided, which means that
// no open transaction stands before it.
type Range struct{ Start, Stable, High int64 }

// Offsets returns the ranges of all partitions of a topic. The three bounds of
// a partition are asked for one after the other, Start first, so on a log in
// motion Start <= Stable <= High still holds unless retention passes Stable.
func (l *Log) Offsets(ctx context.Context, topic string) (map[int32]Range, error) {
	info, err := l.Topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	ranges := make(map[int32]Range, info.Partitions)
	for _, bound := range []struct {
		list func(context.Context, ...string) (kadm.ListedOffsets, error)
		set  func(*Range, int64)
	}{
		{l.adm.ListStartOffsets, func(r *Range, at int64) { r.Start = at }},
		{l.adm.ListCommittedOffsets, func(r *Range, at int64) { r.Stable = at }},
		{l.adm.ListEndOffsets, func(r *Range, at int64) { r.High = at }},
	} {
		listed, err := bound.list(ctx, topic)
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("list offsets of topic %s: %w", topic, err)
		}
		listed.Each(func(o kadm.ListedOffset) {
			r := ranges[o.Partition]
			bound.set(&r, o.Offset)
			ranges[o.Partition] = r
		})
	}
	return ranges, nil
}

// OffsetsSince returns for each partition of a topic the offset of the first record
// that is not older than t, by the log's own index; where there is none, the end of
// the partition. On a topic whose records have the time of their append, all later
// records are behind it.
func (l *Log) OffsetsSince(ctx context.Context, topic string, t time.Time) (map[int32]int64, error) {
	listed, err := l.adm.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list offsets of topic %s since %v: %w", topic, t, err)
	}
	since := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { since[o.Partition] = o.Offset })
	return since, nil
}

// Stable returns the last stable offset of each partition of a topic: all that
// was committed when it was asked for lies below.
func (l *Log) Stable(ctx context.Context, topic string) (map[int32]int64, error) {
	listed, err := l.adm.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list offsets of topic %s: %w", topic, err)
	}
	stable := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { stable[o.Partition] = o.Offset })
	return stable, nil
}

// CommitGroupOffsets writes offsets (next to read) to a consumer group, for
// tools that show lag. Nothing reads them back; callers ignore the error but
// for a debug line.
func (l *Log) CommitGroupOffsets(ctx context.Context, group string, offsets map[string]map[int32]int64) error {
	var os kadm.Offsets
	for topic, ps := range offsets {
		for p, at := range ps {
			os.AddOffset(topic, p, at, -1)
		}
	}
	if err := l.adm.CommitAllOffsets(ctx, group, os); err != nil {
		return fmt.Errorf("commit offsets of group %s: %w", group, err)
	}
	return nil
}

// GroupOffsets returns the offsets of a topic that a consumer group has
// committed; partitions without one are left out.
func (l *Log) GroupOffsets(ctx context.Context, group, topic string) (map[int32]int64, error) {
	got, err := l.adm.FetchOffsetsForTopics(ctx, group, topic)
	if err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", group, err)
	}
	offsets := map[int32]int64{}
	for _, o := range got.Offsets()[topic] {
		if o.At >= 0 {
			offsets[o.Partition] = o.At
		}
	}
	return offsets, got.Error()
}
