package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TopicSpec says what a topic must be. The zero value of a limit leaves it to
// the log's default.
type TopicSpec struct {
	Name       string
	Partitions int32
	// Compacted keeps the newest record of each key instead of deleting by age.
	Compacted bool
	// Retention and RetentionBytes (of a partition) bound what is kept; a
	// negative value keeps everything.
	Retention      time.Duration
	RetentionBytes int64
	// CompactionLag is how long a superseded record stays readable at least.
	CompactionLag time.Duration
	// LogAppendTime lets the log stamp records, where it can.
	LogAppendTime bool
	// MaxMessageBytes bounds a record batch.
	MaxMessageBytes int
	// FlushMessages is after how many records a Kafka syncs at the latest; 1
	// makes its acknowledgements wait for its disk.
	FlushMessages int64
	// Internal topics belong to the nodes alone; analysts have no business
	// there. The node that runs the log says so to it.
	Internal bool
}

func (s TopicSpec) configs(o Options) map[string]*string {
	c := make(map[string]*string)
	set := func(k, v string) { c[k] = &v }
	if s.Compacted {
		set("cleanup.policy", "compact")
		// The active segment is never compacted, so a segment of the default
		// size of 1 GiB would hold a topic of small states uncompacted.
		set("segment.bytes", strconv.Itoa(compactedSegmentBytes))
	} else {
		set("cleanup.policy", "delete")
	}
	if s.Retention != 0 {
		ms := s.Retention.Milliseconds()
		if s.Retention < 0 {
			ms = -1
		}
		set("retention.ms", strconv.FormatInt(ms, 10))
	}
	if s.RetentionBytes != 0 {
		set("retention.bytes", strconv.FormatInt(max(-1, s.RetentionBytes), 10))
	}
	if s.CompactionLag > 0 {
		set("min.compaction.lag.ms", strconv.FormatInt(s.CompactionLag.Milliseconds(), 10))
	}
	if s.LogAppendTime {
		set("message.timestamp.type", "LogAppendTime")
	}
	if s.MaxMessageBytes > 0 {
		set("max.message.bytes", strconv.Itoa(s.MaxMessageBytes))
	}
	if s.FlushMessages > 0 {
		set("flush.messages", strconv.FormatInt(s.FlushMessages, 10))
	}
	if o.MinInsync > 0 {
		set("min.insync.replicas", strconv.Itoa(int(o.MinInsync)))
	}
	return c
}

const (
	compactedSegmentBytes = 64 << 20
	createTimeout         = 15 * time.Second
)

// EnsureTopics creates the topics that are missing. An existing topic is left
// as it is; it is an error if its number of partitions is not the wanted one,
// since keys would then be where nobody looks for them.
func (l *Log) EnsureTopics(ctx context.Context, specs ...TopicSpec) error {
	if len(specs) == 0 {
		return nil
	}
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	md, err := l.adm.Metadata(ctx, names...)
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	var created []string
	var missing []TopicSpec
	for _, s := range specs {
		if _, err := topicInfo(s.Name, md); errors.Is(err, ErrNoTopic) {
			missing = append(missing, s)
			created = append(created, s.Name)
		}
	}
	if len(missing) > 0 {
		if err := l.createTopics(ctx, missing); err != nil {
			return err
		}
		if md, err = l.awaitTopics(ctx, names); err != nil {
			return fmt.Errorf("topics were created but are not ready (%s): %w", strings.Join(created, ", "), err)
		}
	}
	for _, s := range specs {
		info, err := topicInfo(s.Name, md)
		if err != nil {
			return err
		}
		if info.Partitions != s.Partitions {
			return fmt.Errorf("topic %s has %d partitions, want %d; set log.partitions to %[2]d or use another hub name", s.Name, info.Partitions, s.Partitions)
		}
	}
	return nil
}

// createTopics asks for all topics in one request: a broker takes those of a
// connection one after the other, and each costs it a few synced writes.
func (l *Log) createTopics(ctx context.Context, specs []TopicSpec) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(createTimeout.Milliseconds())
	for _, s := range specs {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = s.Name, s.Partitions, cmp.Or(l.opts.Replication, -1)
		for k, v := range s.configs(l.opts) {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = k, v
			t.Configs = append(t.Configs, c)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return fmt.Errorf("create topics %s, ...: %w", specs[0].Name, err)
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		err := kerr.ErrorForCode(t.ErrorCode)
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
			continue // another node was faster
		}
		if t.ErrorMessage != nil && *t.ErrorMessage != "" {
			err = fmt.Errorf("%w: %s", err, *t.ErrorMessage)
		}
		return fmt.Errorf("create topic %s: %w", t.Topic, err)
	}
	return nil
}

// awaitTopics waits until the topics are shown with a leader for each
// partition: a creation is acknowledged by the controller, and other brokers
// hear of it later.
func (l *Log) awaitTopics(ctx context.Context, names []string) (kadm.Metadata, error) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return kadm.Metadata{}, ctx.Err()
		case <-pause.C:
		}
		md, err := l.adm.Metadata(ctx, names...)
		if err != nil {
			return kadm.Metadata{}, err
		}
		if ready(md, names) {
			return md, nil
		}
		pause.Reset(metadataMinAge)
	}
}

func ready(md kadm.Metadata, names []string) bool {
	for _, name := range names {
		t, ok := md.Topics[name]
		if !ok || t.Err != nil {
			return false
		}
		for _, p := range t.Partitions {
			if p.Err != nil || p.Leader < 0 {
				return false
			}
		}
	}
	return true
}

// DeleteTopics removes topics with all that is in them; those that are missing
// are passed over.
func (l *Log) DeleteTopics(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	resp, err := l.adm.DeleteTopics(ctx, names...)
	if err != nil {
		return fmt.Errorf("delete topics %s: %w", strings.Join(names, ", "), err)
	}
	var errs []error
	for _, t := range resp.Sorted() {
		if t.Err != nil && !errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			errs = append(errs, fmt.Errorf("delete topic %s: %w", t.Topic, t.Err))
		}
	}
	return errors.Join(errs...)
}
