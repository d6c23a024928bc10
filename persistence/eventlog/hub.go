package eventlog

import (
	"cmp"
	"time"
)

// Names of a hub's topics (design 5) are the hub's name, a dot, and one of
// these.
const (
	TopicDeviceLog   = "device-log"
	TopicCheckpoints = "checkpoints"
	TopicJournal     = "journal"
	TopicState       = "state"
	TopicTwins       = "twins"
	TopicSettings    = "settings"
	TopicEvents      = "events"
	TopicDeadLetter  = "dead-letter"
	TopicLate        = "late"
)

// HubTopic returns the full name of one of a hub's topics.
func HubTopic(hub, topic string) string { return hub + "." + topic }

// HubTopicOptions tune HubTopics.
type HubTopicOptions struct {
	// Retention of the device log and of the topics for analysts and
	// operators; 0 is 7 days.
	Retention time.Duration
	// RetentionBytes of a device-log partition; 0 is no bound by size.
	RetentionBytes int64
	// ReplayHorizon is how far back a replay may start at most. The changelog
	// keeps superseded versions that long, and the journal is kept at least so
	// long; 0 is Retention.
	ReplayHorizon time.Duration
	// MaxMessageBytes of the topics that carry whole devices or rows; 0 is the
	// log's default.
	MaxMessageBytes int
}

const defaultRetention = 7 * 24 * time.Hour

// HubTopics returns what a hub's topics must be (design 5).
func HubTopics(hub string, partitions int32, o HubTopicOptions) []TopicSpec {
	retention := cmp.Or(o.Retention, defaultRetention)
	horizon := cmp.Or(o.ReplayHorizon, retention)
	name := func(t string) string { return HubTopic(hub, t) }
	return []TopicSpec{
		{Name: name(TopicDeviceLog), Partitions: partitions, Retention: retention,
			RetentionBytes: o.RetentionBytes, LogAppendTime: true, MaxMessageBytes: o.MaxMessageBytes, Internal: true},
		{Name: name(TopicCheckpoints), Partitions: partitions, Compacted: true, Internal: true},
		// Not compacted, since a replay needs every entry; twice the horizon,
		// since a journal that is shorter than the input it belongs to is worse
		// than none.
		{Name: name(TopicJournal), Partitions: partitions, Retention: 2 * max(horizon, retention), Internal: true},
		{Name: name(TopicState), Partitions: partitions, Compacted: true, CompactionLag: horizon,
			MaxMessageBytes: o.MaxMessageBytes, Internal: true},
		{Name: name(TopicTwins), Partitions: partitions, Compacted: true, MaxMessageBytes: o.MaxMessageBytes},
		{Name: name(TopicSettings), Partitions: 1, Compacted: true, Internal: true},
		{Name: name(TopicEvents), Partitions: partitions, Retention: retention, MaxMessageBytes: o.MaxMessageBytes},
		{Name: name(TopicDeadLetter), Partitions: partitions, Retention: retention, MaxMessageBytes: o.MaxMessageBytes},
		{Name: name(TopicLate), Partitions: partitions, Retention: retention, MaxMessageBytes: o.MaxMessageBytes},
	}
}
