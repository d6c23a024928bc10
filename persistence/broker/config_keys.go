package broker

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// configKey is a configuration that topics have. Its default and what it may be
// are the storage's.
type configKey struct {
	name string
	kind kmsg.ConfigType
	// broker is the name of the broker's configuration that stands in for a
	// topic that has none, if the options say so.
	broker string
	doc    string
}

// configValue is what holds for a topic.
type configValue struct {
	value    string
	source   kmsg.ConfigSource
	synonyms []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym
}

const noEffect = " Has no effect here; kept for clients that set it."

// topicConfig is a configuration of topics with all that is known of it.
type topicConfig struct {
	storage.ConfigKey
	configKey
}

// topicConfigs returns the configurations of topics, by name.
func topicConfigs() []topicConfig {
	var all []topicConfig
	for _, k := range storage.ConfigKeys() {
		t := topicConfig{ConfigKey: k, configKey: configKey{name: k.Name, kind: kmsg.ConfigTypeString}}
		if i := slices.IndexFunc(describedKeys, func(d configKey) bool { return d.name == k.Name }); i >= 0 {
			t.configKey = describedKeys[i]
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b topicConfig) int { return cmp.Compare(a.name, b.name) })
	return all
}

// describedKeys say what the storage's configurations are; never written to.
var describedKeys = []configKey{
	{name: "cleanup.policy", kind: kmsg.ConfigTypeList, broker: "log.cleanup.policy",
		doc: "delete: old records are deleted by age and size. compact: of records with the same key the last is kept."},
	{name: "compression.gzip.level", kind: kmsg.ConfigTypeInt, doc: "Level of gzip." + noEffect},
	{name: "compression.lz4.level", kind: kmsg.ConfigTypeInt, doc: "Level of lz4." + noEffect},
	{name: "compression.type", kind: kmsg.ConfigTypeString, broker: "compression.type",
		doc: "Batches stay compressed as the producer sent them, whatever this says."},
	{name: "compression.zstd.level", kind: kmsg.ConfigTypeInt, doc: "Level of zstd." + noEffect},
	{name: "delete.retention.ms", kind: kmsg.ConfigTypeLong,
		doc: "How long a compacted topic keeps a tombstone, in ms, so that readers see it."},
	{name: "file.delete.delay.ms", kind: kmsg.ConfigTypeLong, doc: "Delay before a file is deleted." + noEffect},
	{name: "flush.messages", kind: kmsg.ConfigTypeLong, doc: "Records between syncs. Every acknowledgement waits for a sync here, if the server was started so."},
	{name: "flush.ms", kind: kmsg.ConfigTypeLong, doc: "Time between syncs. Every acknowledgement waits for a sync here, if the server was started so."},
	{name: "follower.replication.throttled.replicas", kind: kmsg.ConfigTypeList, doc: "Replicas to throttle." + noEffect},
	{name: "index.interval.bytes", kind: kmsg.ConfigTypeInt, doc: "Grain of the offset index." + noEffect},
	{name: "leader.replication.throttled.replicas", kind: kmsg.ConfigTypeList, doc: "Replicas to throttle." + noEffect},
	{name: "local.retention.bytes", kind: kmsg.ConfigTypeLong, doc: "Retention before tiered storage." + noEffect},
	{name: "local.retention.ms", kind: kmsg.ConfigTypeLong, doc: "Retention before tiered storage." + noEffect},
	{name: "max.compaction.lag.ms", kind: kmsg.ConfigTypeLong,
		doc: "Age in ms after which a record of a compacted topic is looked at whatever the share of old records is."},
	{name: "max.message.bytes", kind: kmsg.ConfigTypeInt, broker: "message.max.bytes",
		doc: "Largest record batch that is taken, in bytes after compression."},
	{name: "message.timestamp.after.max.ms", kind: kmsg.ConfigTypeLong, doc: "How far ahead of the clock a record's time may be, in ms."},
	{name: "message.timestamp.before.max.ms", kind: kmsg.ConfigTypeLong, doc: "How far behind the clock a record's time may be, in ms."},
	{name: "message.timestamp.type", kind: kmsg.ConfigTypeString, broker: "log.message.timestamp.type",
		doc: "Whether records have their producer's time or the time they arrived."},
	{name: "min.cleanable.dirty.ratio", kind: kmsg.ConfigTypeDouble,
		doc: "Share of a compacted topic that must be new before it is compacted."},
	{name: "min.compaction.lag.ms", kind: kmsg.ConfigTypeLong,
		doc: "How long a record of a compacted topic is kept at least, in ms."},
	{name: "min.insync.replicas", kind: kmsg.ConfigTypeInt, broker: "min.insync.replicas",
		doc: "Replicas that must have a record before it is acknowledged to producers that wait for all. There is one; more refuses all such records."},
	{name: "preallocate", kind: kmsg.ConfigTypeBoolean, doc: "Whether files are made at their full size." + noEffect},
	{name: "remote.log.copy.disable", kind: kmsg.ConfigTypeBoolean, doc: "Tiered storage. There is none."},
	{name: "remote.log.delete.on.disable", kind: kmsg.ConfigTypeBoolean, doc: "Tiered storage. There is none."},
	{name: "remote.storage.enable", kind: kmsg.ConfigTypeBoolean, doc: "Tiered storage. There is none."},
	{name: "retention.bytes", kind: kmsg.ConfigTypeLong, broker: "log.retention.bytes",
		doc: "Size of a partition in bytes beyond which the oldest records are deleted; -1 is no bound."},
	{name: "retention.ms", kind: kmsg.ConfigTypeLong, broker: "log.retention.ms",
		doc: "Age in ms beyond which records are deleted; -1 is no bound."},
	{name: "segment.bytes", kind: kmsg.ConfigTypeInt, doc: "Size of a file." + noEffect},
	{name: "segment.index.bytes", kind: kmsg.ConfigTypeInt, doc: "Size of an index." + noEffect},
	{name: "segment.jitter.ms", kind: kmsg.ConfigTypeLong, doc: "Jitter of new files." + noEffect},
	{name: "segment.ms", kind: kmsg.ConfigTypeLong, doc: "Age of a file." + noEffect},
	{name: "unclean.leader.election.enable", kind: kmsg.ConfigTypeBoolean, doc: "Whether a replica that is behind may lead." + noEffect},
}

func (s *Server) topicConfig(name string) *topicConfig {
	i, ok := slices.BinarySearchFunc(s.configs, name, func(k topicConfig, name string) int { return cmp.Compare(k.name, name) })
	if !ok {
		return nil
	}
	return &s.configs[i]
}

// of returns what holds for a topic and where it comes from.
func (k *topicConfig) of(t storage.Topic, o Options) configValue {
	var v configValue
	add := func(name, value string, source kmsg.ConfigSource) {
		s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		s.Name, s.Value, s.Source = name, &value, source
		v.synonyms = append(v.synonyms, s)
	}
	if set, ok := t.Configs[k.name]; ok {
		add(k.name, set, kmsg.ConfigSourceDynamicTopicConfig)
	}
	if given, ok := o.topicDefault(k); ok {
		add(k.broker, given, kmsg.ConfigSourceStaticBrokerConfig)
	}
	add(cmp.Or(k.broker, k.name), k.Default, kmsg.ConfigSourceDefaultConfig)
	v.value, v.source = *v.synonyms[0].Value, v.synonyms[0].Source
	return v
}

// topicDefault returns what the options say for topics that say nothing.
func (o Options) topicDefault(k *topicConfig) (string, bool) {
	if k.name != "retention.ms" {
		return "", false
	}
	value := o.retentionMillis()
	return value, value != k.Default
}

func (o Options) retentionMillis() string {
	if o.Retention < 0 {
		return "-1"
	}
	return strconv.FormatInt(o.Retention.Milliseconds(), 10)
}

// checkTopicConfigs reports the first key or value that a topic can't have.
func (s *Server) checkTopicConfigs(configs map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		k := s.topicConfig(name)
		if k == nil {
			return refuse(kerr.InvalidConfig, "unknown topic config name: %s", name)
		}
		if err := k.Check(configs[name]); err != nil {
			return refuse(kerr.InvalidConfig, "invalid value %q for configuration %s: %s", configs[name], name, err)
		}
	}
	return nil
}

// brokerConfig is one configuration of the broker, which are all given at its
// start.
type brokerConfig struct {
	name, value string
	kind        kmsg.ConfigType
	given       bool
	doc         string
}

func (s *Server) brokerConfigs() []brokerConfig {
	o, own := s.opts, Options{}.ensureDefaults()
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	ms := func(d time.Duration) string { return num(d.Milliseconds()) }
	protocol := "PLAINTEXT"
	switch {
	case o.TLS != nil && len(o.Users) > 0:
		protocol = "SASL_SSL"
	case o.TLS != nil:
		protocol = "SSL"
	case len(o.Users) > 0:
		protocol = "SASL_PLAINTEXT"
	}
	return []brokerConfig{
		{"advertised.listeners", protocol + "://" + s.Addr(), kmsg.ConfigTypeString, o.Advertise != "", "What clients are told to connect to."},
		{"auto.create.topics.enable", strconv.FormatBool(o.AutoCreateTopics), kmsg.ConfigTypeBoolean, o.AutoCreateTopics, "Whether asking for a topic makes it."},
		{"broker.id", num(nodeID), kmsg.ConfigTypeInt, true, "Number of the only broker."},
		{"compression.type", "producer", kmsg.ConfigTypeString, false, "Batches stay as the producer compressed them."},
		{"connections.max.idle.ms", ms(o.IdleTimeout), kmsg.ConfigTypeLong, o.IdleTimeout != own.IdleTimeout, "Time after which a connection that asks nothing is closed."},
		{"default.replication.factor", "1", kmsg.ConfigTypeInt, false, "Replicas of a partition; there is one broker."},
		{"delete.topic.enable", "true", kmsg.ConfigTypeBoolean, false, "Topics can be deleted."},
		{"group.initial.rebalance.delay.ms", ms(o.InitialRebalanceDelay), kmsg.ConfigTypeInt, true, "How long the first members of a group wait for others."},
		{"listeners", protocol + "://" + o.Listen, kmsg.ConfigTypeString, true, "What is served on."},
		{"log.cleanup.policy", "delete", kmsg.ConfigTypeList, false, "What is done with old records."},
		{"log.dirs", o.Dir, kmsg.ConfigTypeString, true, "Where the data is."},
		{"log.message.timestamp.type", "CreateTime", kmsg.ConfigTypeString, false, "Whose time records have."},
		{"log.retention.bytes", "-1", kmsg.ConfigTypeLong, false, "Size beyond which a partition's oldest records are deleted. All partitions together have a bound of their own."},
		{"log.retention.ms", o.retentionMillis(), kmsg.ConfigTypeLong, o.Retention != own.Retention, "Age beyond which records are deleted."},
		{"max.connections", num(int64(o.MaxConnections)), kmsg.ConfigTypeInt, o.MaxConnections != own.MaxConnections, "Connections at a time."},
		{"message.max.bytes", "1048588", kmsg.ConfigTypeInt, false, "Largest record batch."},
		{"min.insync.replicas", "1", kmsg.ConfigTypeInt, false, "Replicas that acknowledge; there is one."},
		{"node.id", num(nodeID), kmsg.ConfigTypeInt, true, "Number of the only broker."},
		{"num.partitions", num(int64(o.DefaultPartitions)), kmsg.ConfigTypeInt, o.DefaultPartitions != own.DefaultPartitions, "Partitions of a topic that is made without a number."},
		{"offsets.retention.minutes", "10080", kmsg.ConfigTypeInt, false, "How long offsets of a group without members are kept."},
		{"socket.request.max.bytes", num(int64(o.MaxRequestBytes)), kmsg.ConfigTypeInt, o.MaxRequestBytes != own.MaxRequestBytes, "Largest request."},
		{"transaction.max.timeout.ms", "900000", kmsg.ConfigTypeInt, false, "Longest time-out of a transaction."},
		{"transactional.id.expiration.ms", "604800000", kmsg.ConfigTypeInt, false, "How long an unused transactional id is known."},
	}
}
