package conformance

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func deleteTopic(t testing.TB, w *wire, n string) {
	t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.Topic = &n
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10000
	resp := ask[*kmsg.DeleteTopicsResponse](w, 6, req)
	must(t, "delete topic", resp.Topics[0].ErrorCode)
	eventually(t, "deletion of "+n, func() bool { return metadata(w, n).Topics[0].ErrorCode == 3 })
}

// recreate makes a topic under a name that was in use.
func recreate(t testing.TB, w *wire, n string, partitions int32, configs ...string) topic {
	t.Helper()
	var made kmsg.CreateTopicsResponseTopic
	eventually(t, "creation of "+n, func() bool {
		made = createTopic(w, n, partitions, 1, false, configs...)
		return made.ErrorCode == 0
	})
	tp := topic{n, made.TopicID}
	eventually(t, "metadata of "+n, func() bool {
		m := metadata(w, n).Topics[0]
		return m.ErrorCode == 0 && m.TopicID == tp.id && len(m.Partitions) == int(partitions) && m.Partitions[0].Leader >= 0 &&
			fetchFrom(w, tp, 0, 0, fetchOptions{}).ErrorCode == 0
	})
	return tp
}

// CreateTopics: what it refuses, and what it tells of what it made.
func TestCreateTopics(t *testing.T) {
	w := dial(t)
	n := name(t, "topic")
	made := createTopic(w, n, 3, 1, false, "retention.ms=1234567")
	must(t, "create", made.ErrorCode)
	if made.NumPartitions != 3 || made.ReplicationFactor != 1 || made.TopicID == [16]byte{} {
		t.Errorf("made %+v", made)
	}
	if c := configOf(made.Configs, "retention.ms"); c == nil || c.Value == nil || *c.Value != "1234567" {
		t.Errorf("its retention: %+v", c)
	}
	t.Cleanup(func() { deleteTopic(t, dial(t), n) })
	for what, c := range map[string]struct {
		name       string
		partitions int32
		replicas   int16
		config     string
		want       *kerr.Error
	}{
		"the same again":           {n, 1, 1, "", kerr.TopicAlreadyExists},
		"no name":                  {"", 1, 1, "", kerr.InvalidTopicException},
		"a dot":                    {".", 1, 1, "", kerr.InvalidTopicException},
		"a blank":                  {"a b", 1, 1, "", kerr.InvalidTopicException},
		"250 letters":              {strings.Repeat("x", 250), 1, 1, "", kerr.InvalidTopicException},
		"no partitions":            {name(t, "topic"), 0, 1, "", kerr.InvalidPartitions},
		"more replicas":            {name(t, "topic"), 1, 3, "", kerr.InvalidReplicationFactor},
		"no replicas":              {name(t, "topic"), 1, 0, "", kerr.InvalidReplicationFactor},
		"unknown config":           {name(t, "topic"), 1, 1, "no.such.thing=1", kerr.InvalidConfig},
		"config that is no number": {name(t, "topic"), 1, 1, "retention.ms=long", kerr.InvalidConfig},
		"config out of range":      {name(t, "topic"), 1, 1, "min.cleanable.dirty.ratio=7", kerr.InvalidConfig},
		"unknown policy":           {name(t, "topic"), 1, 1, "cleanup.policy=keep", kerr.InvalidConfig},
	} {
		var configs []string
		if c.config != "" {
			configs = append(configs, c.config)
		}
		got := createTopic(w, c.name, c.partitions, c.replicas, false, configs...)
		code(t, what, got.ErrorCode, c.want)
		if got.ErrorCode != 0 && got.ErrorMessage == nil {
			t.Errorf("%s: no word of why", what)
		}
	}
	// ValidateOnly makes nothing.
	dry := name(t, "topic")
	must(t, "validation", createTopic(w, dry, 1, 1, true).ErrorCode)
	code(t, "a topic that was only validated", metadata(w, dry).Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
	code(t, "validation of one that is there", createTopic(w, n, 1, 1, true).ErrorCode, kerr.TopicAlreadyExists)
	// -1 is the broker's defaults (KIP-464).
	defaults := name(t, "topic")
	made = createTopic(w, defaults, -1, -1, false)
	must(t, "defaults", made.ErrorCode)
	if made.NumPartitions < 1 || made.ReplicationFactor != 1 {
		t.Errorf("defaults: %+v", made)
	}
	deleteTopic(t, w, defaults)
	// A name that is there twice in a request is refused.
	req := kmsg.NewPtrCreateTopicsRequest()
	twice := kmsg.NewCreateTopicsRequestTopic()
	twice.Topic, twice.NumPartitions, twice.ReplicationFactor = name(t, "topic"), 1, 1
	req.Topics, req.TimeoutMillis = append(req.Topics, twice, twice), 10000
	for _, got := range ask[*kmsg.CreateTopicsResponse](w, 7, req).Topics {
		code(t, "twice in a request", got.ErrorCode, kerr.InvalidRequest)
	}
}

func configOf(list []kmsg.CreateTopicsResponseTopicConfig, key string) *kmsg.CreateTopicsResponseTopicConfig {
	for i := range list {
		if list[i].Name == key {
			return &list[i]
		}
	}
	return nil
}

// Metadata: brokers, controller, topics by name and id (KIP-516), or all.
func TestMetadata(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 2)
	r := apiVersions(t)[3]
	for version := max(r[0], 1); version <= min(r[1], 13); version++ {
		req := kmsg.NewPtrMetadataRequest()
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &tp.name
		req.Topics = append(req.Topics, rt)
		m := ask[*kmsg.MetadataResponse](w, version, req)
		if len(m.Brokers) != 1 || m.ControllerID != m.Brokers[0].NodeID || m.Brokers[0].Port == 0 || version >= 2 && (m.ClusterID == nil || *m.ClusterID == "") {
			t.Errorf("v%d: %+v", version, m)
		}
		mt := m.Topics[0]
		if mt.ErrorCode != 0 || *mt.Topic != tp.name || mt.IsInternal || len(mt.Partitions) != 2 || version >= 10 && mt.TopicID != tp.id {
			t.Errorf("v%d: %+v", version, mt)
		}
		for _, p := range mt.Partitions {
			if p.ErrorCode != 0 || p.Leader != m.Brokers[0].NodeID || !slices.Equal(p.Replicas, []int32{p.Leader}) || !slices.Equal(p.ISR, []int32{p.Leader}) || len(p.OfflineReplicas) != 0 || version >= 7 && p.LeaderEpoch != 0 {
				t.Errorf("v%d: %+v", version, p)
			}
		}
		req.Topics = nil
		found := false
		for _, mt := range ask[*kmsg.MetadataResponse](w, version, req).Topics {
			found = found || *mt.Topic == tp.name
		}
		if !found {
			t.Errorf("v%d: not among all topics", version)
		}
	}
	if m := metadata(w); len(m.Topics) != 0 {
		t.Errorf("no topics asked for: %+v", m.Topics)
	}
	mt := metadata(w, name(t, "absent")).Topics[0]
	code(t, "topic that is not there", mt.ErrorCode, kerr.UnknownTopicOrPartition)
	code(t, "name that can't be", metadata(w, "a b").Topics[0].ErrorCode, kerr.InvalidTopicException)

	req := kmsg.NewPtrMetadataRequest()
	known, unknown := kmsg.NewMetadataRequestTopic(), kmsg.NewMetadataRequestTopic()
	known.TopicID, unknown.TopicID = tp.id, [16]byte{1, 2, 3}
	req.Topics = append(req.Topics, known, unknown)
	byID := ask[*kmsg.MetadataResponse](w, 12, req).Topics
	for _, mt := range byID {
		if mt.TopicID == tp.id {
			if mt.ErrorCode != 0 || mt.Topic == nil || *mt.Topic != tp.name {
				t.Errorf("by id: %+v", mt)
			}
		} else {
			code(t, "unknown id", mt.ErrorCode, kerr.UnknownTopicID)
		}
	}

	cluster := ask[*kmsg.DescribeClusterResponse](w, 0, kmsg.NewPtrDescribeClusterRequest())
	if m := metadata(w); cluster.ErrorCode != 0 || cluster.ClusterID != *m.ClusterID || len(cluster.Brokers) != 1 || cluster.Brokers[0].NodeID != m.Brokers[0].NodeID || cluster.ControllerID != m.ControllerID {
		t.Errorf("cluster %+v", cluster)
	}
}

// DescribeTopicPartitions (KIP-966): sorted, in pages.
func TestDescribeTopicPartitions(t *testing.T) {
	w := dial(t)
	a, b := newTopic(t, w, 3), newTopic(t, w, 2)
	names := []string{a.name, b.name}
	slices.Sort(names)
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	for _, n := range names {
		rt := kmsg.NewDescribeTopicPartitionsRequestTopic()
		rt.Topic = n
		req.Topics = append(req.Topics, rt)
	}
	req.ResponsePartitionLimit = 2
	var got []string
	for range 5 {
		resp := ask[*kmsg.DescribeTopicPartitionsResponse](w, 0, req)
		n := 0
		for _, rt := range resp.Topics {
			code(t, "topic", rt.ErrorCode, nil)
			for _, p := range rt.Partitions {
				got = append(got, *rt.Topic+"/"+strconv.Itoa(int(p.Partition)))
				n++
			}
		}
		if n > 2 {
			t.Errorf("a page of %d", n)
		}
		if resp.NextCursor == nil {
			break
		}
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic, c.Partition = resp.NextCursor.Topic, resp.NextCursor.Partition
		req.Cursor = &c
	}
	var want []string
	for _, n := range names {
		for p := range map[bool]int{true: 3, false: 2}[n == a.name] {
			want = append(want, n+"/"+strconv.Itoa(p))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// CreatePartitions adds; it never takes away.
func TestCreatePartitions(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 2)
	put(t, w, tp, 1, "kept")
	grow := func(n string, count int32) int16 {
		req := kmsg.NewPtrCreatePartitionsRequest()
		rt := kmsg.NewCreatePartitionsRequestTopic()
		rt.Topic, rt.Count = n, count
		req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10000
		return ask[*kmsg.CreatePartitionsResponse](w, 3, req).Topics[0].ErrorCode
	}
	code(t, "fewer", grow(tp.name, 1), kerr.InvalidPartitions)
	code(t, "as many", grow(tp.name, 2), kerr.InvalidPartitions)
	code(t, "of no topic", grow(name(t, "absent"), 2), kerr.UnknownTopicOrPartition)
	must(t, "more", grow(tp.name, 4))
	eventually(t, "the new ones", func() bool {
		return len(metadata(w, tp.name).Topics[0].Partitions) == 4 && fetchFrom(w, tp, 3, 0, fetchOptions{}).ErrorCode == 0
	})
	put(t, w, tp, 3, "new")
	if got := valuesOf(readAll(t, w, tp, 1, 0, false)); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("records %v", got)
	}
}

// DeleteTopics: by name and by id; a topic of the name again is empty.
func TestDeleteTopics(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	put(t, w, tp, 0, "old")
	remove := func(n *string, id [16]byte) int16 {
		req := kmsg.NewPtrDeleteTopicsRequest()
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic, rt.TopicID = n, id
		req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10000
		return ask[*kmsg.DeleteTopicsResponse](w, 6, req).Topics[0].ErrorCode
	}
	absent := name(t, "absent")
	code(t, "name that is not there", remove(&absent, [16]byte{}), kerr.UnknownTopicOrPartition)
	code(t, "id that is not there", remove(nil, [16]byte{7}), kerr.UnknownTopicID)
	must(t, "by id", remove(nil, tp.id))
	eventually(t, "the deletion", func() bool {
		return produceTo(w, 9, tp, 0, "", batch{records: values("x")}.bytes()).ErrorCode == kerr.UnknownTopicOrPartition.Code
	})
	again := recreate(t, w, tp.name, 1)
	if rs := readAll(t, w, again, 0, 0, false); len(rs) != 0 {
		t.Errorf("the old records: %v", rs)
	}
	if o := put(t, w, again, 0, "new"); o != 0 {
		t.Errorf("offset %d", o)
	}
}

func topicConfigs(w *wire, n string, keys ...string) map[string]kmsg.DescribeConfigsResponseResourceConfig {
	w.t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	rr := kmsg.NewDescribeConfigsRequestResource()
	rr.ResourceType, rr.ResourceName, rr.ConfigNames = kmsg.ConfigResourceTypeTopic, n, keys
	req.Resources = append(req.Resources, rr)
	resp := ask[*kmsg.DescribeConfigsResponse](w, 4, req).Resources[0]
	must(w.t, "DescribeConfigs", resp.ErrorCode)
	out := map[string]kmsg.DescribeConfigsResponseResourceConfig{}
	for _, c := range resp.Configs {
		out[c.Name] = c
	}
	return out
}

// DescribeConfigs, IncrementalAlterConfigs (KIP-339) and AlterConfigs of topics.
func TestTopicConfigs(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1, "cleanup.policy=compact")
	all := topicConfigs(w, tp.name)
	for key, want := range map[string]string{
		"cleanup.policy": "compact", "retention.bytes": "-1", "max.message.bytes": "1048588",
		"delete.retention.ms": "86400000", "min.compaction.lag.ms": "0", "message.timestamp.type": "CreateTime", "compression.type": "producer",
		"min.insync.replicas": "1", "min.cleanable.dirty.ratio": "0.5",
	} {
		c, ok := all[key]
		if !ok || c.Value == nil || *c.Value != want {
			t.Errorf("%s: %+v", key, c)
		}
		if source := c.Source == kmsg.ConfigSourceDynamicTopicConfig; ok && source != (key == "cleanup.policy") {
			t.Errorf("%s: source %v", key, c.Source)
		}
	}
	if some := topicConfigs(w, tp.name, "retention.ms", "no.such"); len(some) != 1 {
		t.Errorf("some: %v", some)
	}
	type change struct {
		op    kmsg.IncrementalAlterConfigOp
		key   string
		value string
	}
	alter := func(n string, validateOnly bool, changes ...change) int16 {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.ValidateOnly = validateOnly
		rr := kmsg.NewIncrementalAlterConfigsRequestResource()
		rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, n
		for _, c := range changes {
			rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			rc.Name, rc.Op = c.key, c.op
			if c.op != kmsg.IncrementalAlterConfigOpDelete {
				rc.Value = &c.value
			}
			rr.Configs = append(rr.Configs, rc)
		}
		req.Resources = append(req.Resources, rr)
		return ask[*kmsg.IncrementalAlterConfigsResponse](w, 1, req).Resources[0].ErrorCode
	}
	const set, del, add, sub = kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete, kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
	value := func(key string) string { return *topicConfigs(w, tp.name, key)[key].Value }
	becomes := func(key, want string) {
		t.Helper()
		eventually(t, key+" "+want, func() bool { return value(key) == want })
	}
	must(t, "set", alter(tp.name, false, change{set, "retention.ms", "777000"}))
	becomes("retention.ms", "777000")
	must(t, "validation", alter(tp.name, true, change{set, "retention.ms", "1"}))
	must(t, "append", alter(tp.name, false, change{add, "cleanup.policy", "delete"}))
	becomes("cleanup.policy", "compact,delete")
	must(t, "subtract", alter(tp.name, false, change{sub, "cleanup.policy", "compact"}))
	becomes("cleanup.policy", "delete")
	if got := value("retention.ms"); got != "777000" {
		t.Errorf("a validation changed it to %s", got)
	}
	must(t, "delete", alter(tp.name, false, change{del, "retention.ms", ""}))
	eventually(t, "the default", func() bool {
		return topicConfigs(w, tp.name, "retention.ms")["retention.ms"].Source != kmsg.ConfigSourceDynamicTopicConfig
	})
	code(t, "unknown key", alter(tp.name, false, change{set, "no.such", "1"}), kerr.InvalidConfig)
	code(t, "value that is none", alter(tp.name, false, change{set, "retention.ms", "x"}), kerr.InvalidConfig)
	code(t, "append to what is no list", alter(tp.name, false, change{add, "retention.ms", "5"}), kerr.InvalidConfig)
	code(t, "twice", alter(tp.name, false, change{set, "retention.ms", "5"}, change{set, "retention.ms", "6"}), kerr.InvalidRequest)
	code(t, "no topic", alter(name(t, "absent"), false, change{set, "retention.ms", "5"}), kerr.UnknownTopicOrPartition)

	// AlterConfigs replaces all.
	must(t, "set", alter(tp.name, false, change{set, "retention.ms", "777000"}))
	req := kmsg.NewPtrAlterConfigsRequest()
	rr := kmsg.NewAlterConfigsRequestResource()
	rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, tp.name
	rc := kmsg.NewAlterConfigsRequestResourceConfig()
	rc.Name, rc.Value = "max.message.bytes", kmsg.StringPtr("2000")
	rr.Configs = append(rr.Configs, rc)
	req.Resources = append(req.Resources, rr)
	must(t, "AlterConfigs", ask[*kmsg.AlterConfigsResponse](w, 2, req).Resources[0].ErrorCode)
	becomes("max.message.bytes", "2000")
	if c := topicConfigs(w, tp.name, "retention.ms")["retention.ms"]; c.Source == kmsg.ConfigSourceDynamicTopicConfig {
		t.Errorf("retention.ms outlived it: %+v", c)
	}
	// It counts at once.
	code(t, "too large from now on", produceTo(w, 9, tp, 0, "", batch{records: values(strings.Repeat("x", 2000))}.bytes()).ErrorCode, kerr.MessageTooLarge)
}

// DescribeConfigs of the broker, as kafka-configs.sh asks for them.
func TestBrokerConfigs(t *testing.T) {
	w := dial(t)
	req := kmsg.NewPtrDescribeConfigsRequest()
	rr := kmsg.NewDescribeConfigsRequestResource()
	rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(metadata(w).Brokers[0].NodeID))
	req.Resources = append(req.Resources, rr)
	resp := ask[*kmsg.DescribeConfigsResponse](w, 4, req).Resources[0]
	must(t, "DescribeConfigs", resp.ErrorCode)
	have := map[string]string{}
	for _, c := range resp.Configs {
		if c.Value != nil {
			have[c.Name] = *c.Value
		}
	}
	for _, key := range []string{"log.retention.ms", "message.max.bytes", "num.partitions", "default.replication.factor", "auto.create.topics.enable"} {
		if _, ok := have[key]; !ok {
			t.Errorf("%s is not told", key)
		}
	}
	rr.ResourceName = "77"
	req.Resources = []kmsg.DescribeConfigsRequestResource{rr}
	if c := ask[*kmsg.DescribeConfigsResponse](w, 4, req).Resources[0].ErrorCode; c == 0 {
		t.Error("the configuration of another broker")
	}
}

// DescribeLogDirs (KIP-113): how large partitions are.
func TestDescribeLogDirs(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	put(t, w, tp, 0, strings.Repeat("x", 5000))
	req := kmsg.NewPtrDescribeLogDirsRequest()
	rt := kmsg.NewDescribeLogDirsRequestTopic()
	rt.Topic, rt.Partitions = tp.name, []int32{0}
	req.Topics = append(req.Topics, rt)
	for _, d := range ask[*kmsg.DescribeLogDirsResponse](w, 4, req).Dirs {
		for _, dt := range d.Topics {
			if dt.Topic == tp.name && len(dt.Partitions) == 1 && dt.Partitions[0].Size >= 5000 && dt.Partitions[0].Size < 50000 {
				return
			}
		}
	}
	t.Error("the partition is not there with its size")
}

// FindCoordinator: one a request before version 4, then several (KIP-699).
func TestFindCoordinator(t *testing.T) {
	w := dial(t)
	node := metadata(w).Brokers[0]
	r := apiVersions(t)[10]
	for version := r[0]; version <= min(r[1], 6); version++ {
		for kind := range int8(2) {
			if version == 0 && kind == 1 {
				continue
			}
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorKey, req.CoordinatorType, req.CoordinatorKeys = "key", kind, []string{"key", "other"}
			resp := ask[*kmsg.FindCoordinatorResponse](w, version, req)
			if version < 4 {
				if resp.ErrorCode != 0 || resp.NodeID != node.NodeID || resp.Port != node.Port || resp.Host != node.Host {
					t.Errorf("v%d: %+v", version, resp)
				}
				continue
			}
			if len(resp.Coordinators) != 2 || resp.Coordinators[1].Key != "other" {
				t.Errorf("v%d: %+v", version, resp)
			}
			for _, c := range resp.Coordinators {
				if c.ErrorCode != 0 || c.NodeID != node.NodeID || c.Port != node.Port || c.Host != node.Host {
					t.Errorf("v%d: %+v", version, c)
				}
			}
		}
	}
}
