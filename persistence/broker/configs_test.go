package broker

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func describe(t testing.TB, s *Server, kind kmsg.ConfigResourceType, name string) (map[string]kmsg.DescribeConfigsResponseResourceConfig, int16) {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	rr := kmsg.NewDescribeConfigsRequestResource()
	rr.ResourceType, rr.ResourceName = kind, name
	req.Resources, req.IncludeSynonyms, req.IncludeDocumentation = append(req.Resources, rr), true, true
	got := ask[*kmsg.DescribeConfigsResponse](dial(t, s), req, 4).Resources[0]
	configs := make(map[string]kmsg.DescribeConfigsResponseResourceConfig)
	for _, c := range got.Configs {
		configs[c.Name] = c
	}
	return configs, got.ErrorCode
}

func TestEveryConfigurationIsDescribed(t *testing.T) {
	for _, k := range topicConfigs() {
		if k.doc == "" {
			t.Errorf("%s has no description", k.name)
		}
		if err := k.Check(k.Default); err != nil {
			t.Errorf("%s refuses its default: %v", k.name, err)
		}
	}
	if len(topicConfigs()) != len(describedKeys) {
		t.Errorf("%d keys are described, %d are there", len(describedKeys), len(topicConfigs()))
	}
}

func TestConfigurationsSayWhereTheyComeFrom(t *testing.T) {
	s := start(t, Options{Retention: time.Hour})
	createTopic(t, s, "plain", 1)
	createTopic(t, s, "set", 1, "retention.ms", "1000", "cleanup.policy", "compact")
	for _, c := range []struct {
		topic, key, value string
		source            kmsg.ConfigSource
		synonyms          int
	}{
		{"plain", "retention.ms", "3600000", kmsg.ConfigSourceStaticBrokerConfig, 2},
		{"plain", "cleanup.policy", "delete", kmsg.ConfigSourceDefaultConfig, 1},
		{"set", "retention.ms", "1000", kmsg.ConfigSourceDynamicTopicConfig, 3},
		{"set", "cleanup.policy", "compact", kmsg.ConfigSourceDynamicTopicConfig, 2},
	} {
		configs, code := describe(t, s, kmsg.ConfigResourceTypeTopic, c.topic)
		got := configs[c.key]
		if code != 0 || got.Value == nil || *got.Value != c.value || got.Source != c.source || len(got.ConfigSynonyms) != c.synonyms {
			t.Errorf("%+v: error %d, got %+v", c, code, got)
		}
	}
	broker, code := describe(t, s, kmsg.ConfigResourceTypeBroker, "1")
	if got := broker["log.retention.ms"]; code != 0 || got.Value == nil || *got.Value != "3600000" || !got.ReadOnly {
		t.Errorf("error %d, got %+v", code, got)
	}
	if !slices.IsSorted(slices.Collect(func(yield func(string) bool) {
		for _, b := range s.brokerConfigs() {
			if !yield(b.name) {
				return
			}
		}
	})) {
		t.Error("the broker's configurations are not in order")
	}
	for name, c := range map[string]struct {
		kind kmsg.ConfigResourceType
		name string
		want *kerr.Error
	}{
		"unknown topic": {kmsg.ConfigResourceTypeTopic, "none", kerr.UnknownTopicOrPartition},
		"no topic name": {kmsg.ConfigResourceTypeTopic, "a/b", kerr.InvalidTopicException},
		"other broker":  {kmsg.ConfigResourceTypeBroker, "2", kerr.InvalidRequest},
		"all brokers":   {kmsg.ConfigResourceTypeBroker, "", nil},
		"unknown kind":  {77, "x", kerr.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			_, code := describe(t, s, c.kind, c.name)
			wantCode(t, code, c.want)
		})
	}
}

func TestIncrementalAlterConfigs(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1, "retention.ms", "1000")
	w := dial(t, s)
	type op struct {
		name  string
		op    kmsg.IncrementalAlterConfigOp
		value *string
	}
	text := func(s string) *string { return &s }
	alter := func(kind kmsg.ConfigResourceType, name string, validate bool, ops ...op) int16 {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		rr := kmsg.NewIncrementalAlterConfigsRequestResource()
		rr.ResourceType, rr.ResourceName = kind, name
		for _, o := range ops {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Op, c.Value = o.name, o.op, o.value
			rr.Configs = append(rr.Configs, c)
		}
		req.Resources, req.ValidateOnly = append(req.Resources, rr), validate
		return ask[*kmsg.IncrementalAlterConfigsResponse](w, req, 1).Resources[0].ErrorCode
	}
	const topic = kmsg.ConfigResourceTypeTopic
	for _, c := range []struct {
		ops      []op
		validate bool
		want     *kerr.Error
		after    map[string]string
	}{
		{[]op{{"max.message.bytes", configSet, text("5000")}}, false, nil, map[string]string{"retention.ms": "1000", "max.message.bytes": "5000"}},
		{[]op{{"retention.ms", configDelete, nil}}, true, nil, map[string]string{"retention.ms": "1000", "max.message.bytes": "5000"}},
		{[]op{{"retention.ms", configDelete, nil}}, false, nil, map[string]string{"max.message.bytes": "5000"}},
		{[]op{{"cleanup.policy", configAppend, text("compact")}}, false, nil, map[string]string{"cleanup.policy": "delete,compact", "max.message.bytes": "5000"}},
		{[]op{{"cleanup.policy", configSubtract, text("delete")}, {"max.message.bytes", configDelete, nil}}, false, nil, map[string]string{"cleanup.policy": "compact"}},
		{[]op{{"retention.ms", configAppend, text("1")}}, false, kerr.InvalidConfig, map[string]string{"cleanup.policy": "compact"}},
		{[]op{{"retention.ms", configSet, text("soon")}}, false, kerr.InvalidConfig, map[string]string{"cleanup.policy": "compact"}},
		{[]op{{"no.such.key", configSet, text("1")}}, false, kerr.InvalidConfig, map[string]string{"cleanup.policy": "compact"}},
		{[]op{{"retention.ms", configSet, text("1")}, {"retention.ms", configDelete, nil}}, false, kerr.InvalidRequest, map[string]string{"cleanup.policy": "compact"}},
		{[]op{{"retention.ms", 9, text("1")}}, false, kerr.InvalidRequest, map[string]string{"cleanup.policy": "compact"}},
	} {
		wantCode(t, alter(topic, "events", c.validate, c.ops...), c.want)
		if got, _ := s.log.Topic("events"); !maps.Equal(got.Configs, c.after) {
			t.Errorf("%+v: configurations are %v, want %v", c.ops, got.Configs, c.after)
		}
	}
	wantCode(t, alter(topic, "none", false, op{"retention.ms", configSet, text("1")}), kerr.UnknownTopicOrPartition)
	wantCode(t, alter(kmsg.ConfigResourceTypeBroker, "1", false, op{"log.retention.ms", configSet, text("1")}), kerr.PolicyViolation)
}

func TestAlterConfigsReplaces(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1, "retention.ms", "1000")
	req := kmsg.NewPtrAlterConfigsRequest()
	rr := kmsg.NewAlterConfigsRequestResource()
	rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, "events"
	c := kmsg.NewAlterConfigsRequestResourceConfig()
	value := "5000"
	c.Name, c.Value = "max.message.bytes", &value
	rr.Configs = append(rr.Configs, c)
	req.Resources = append(req.Resources, rr)
	wantCode(t, ask[*kmsg.AlterConfigsResponse](dial(t, s), req, 2).Resources[0].ErrorCode, nil)
	if got, _ := s.log.Topic("events"); !maps.Equal(got.Configs, map[string]string{"max.message.bytes": "5000"}) {
		t.Errorf("got %v", got.Configs)
	}
	big := produced(t, ask[*kmsg.ProduceResponse](dial(t, s), produceRequest("events", 0, -1, recordBatch(string(make([]byte, 6000)))), 9))
	wantCode(t, big.ErrorCode, kerr.MessageTooLarge)
}
