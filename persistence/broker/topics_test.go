package broker

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newTopic(name string, partitions int32, replicas int16) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replicas
	return t
}

func withConfig(t kmsg.CreateTopicsRequestTopic, name string, value *string) kmsg.CreateTopicsRequestTopic {
	c := kmsg.NewCreateTopicsRequestTopicConfig()
	c.Name, c.Value = name, value
	t.Configs = append(t.Configs, c)
	return t
}

func assigned(t kmsg.CreateTopicsRequestTopic, partition int32, replicas ...int32) kmsg.CreateTopicsRequestTopic {
	a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
	a.Partition, a.Replicas = partition, replicas
	t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	return t
}

func wantCode(t *testing.T, got int16, want *kerr.Error) {
	t.Helper()
	code := int16(0)
	if want != nil {
		code = want.Code
	}
	if got != code {
		t.Errorf("got %v, want %v", kerr.ErrorForCode(got), want)
	}
}

func TestCreateTopics(t *testing.T) {
	s := start(t, Options{DefaultPartitions: 3})
	createTopic(t, s, "there", 1)
	policy, nonsense := "compact", "nonsense"
	for name, c := range map[string]struct {
		topic      kmsg.CreateTopicsRequestTopic
		partitions int32
		want       *kerr.Error
	}{
		"two partitions":        {newTopic("two", 2, 1), 2, nil},
		"defaults":              {newTopic("default", -1, -1), 3, nil},
		"a configuration":       {withConfig(newTopic("compacted", 1, 1), "cleanup.policy", &policy), 1, nil},
		"an assignment":         {assigned(assigned(newTopic("assigned", -1, -1), 0, 1), 1, 1), 2, nil},
		"already there":         {newTopic("there", 1, 1), 0, kerr.TopicAlreadyExists},
		"no partitions":         {newTopic("none", 0, 1), 0, kerr.InvalidPartitions},
		"too many partitions":   {newTopic("many", 1_000_000, 1), 0, kerr.InvalidPartitions},
		"three replicas":        {newTopic("three", 1, 3), 0, kerr.InvalidReplicationFactor},
		"no name":               {newTopic("", 1, 1), 0, kerr.InvalidTopicException},
		"a name with a slash":   {newTopic("a/b", 1, 1), 0, kerr.InvalidTopicException},
		"an unknown key":        {withConfig(newTopic("key", 1, 1), "no.such.key", &policy), 0, kerr.InvalidConfig},
		"a wrong value":         {withConfig(newTopic("value", 1, 1), "cleanup.policy", &nonsense), 0, kerr.InvalidConfig},
		"no value":              {withConfig(newTopic("null", 1, 1), "cleanup.policy", nil), 0, kerr.InvalidConfig},
		"another broker":        {assigned(newTopic("other", -1, -1), 0, 7), 0, kerr.InvalidReplicaAssignment},
		"a gap in assignments":  {assigned(newTopic("gap", -1, -1), 1, 1), 0, kerr.InvalidReplicaAssignment},
		"assigned and numbered": {assigned(newTopic("both", 1, 1), 0, 1), 0, kerr.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			req := kmsg.NewPtrCreateTopicsRequest()
			req.Topics = append(req.Topics, c.topic)
			got := ask[*kmsg.CreateTopicsResponse](dial(t, s), req, 7).Topics[0]
			wantCode(t, got.ErrorCode, c.want)
			topic, ok := s.log.Topic(c.topic.Topic)
			if c.want == nil && (!ok || topic.Partitions != c.partitions || got.NumPartitions != c.partitions || topic.ID != got.TopicID || len(got.Configs) == 0) {
				t.Errorf("got %+v and topic %+v", got, topic)
			}
			if c.want != nil && (got.ErrorMessage == nil || ok && c.topic.Topic != "there") {
				t.Errorf("got %+v, made: %v", got, ok)
			}
		})
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, newTopic("twice", 1, 1), newTopic("once", 1, 1), newTopic("twice", 2, 1))
	resp := ask[*kmsg.CreateTopicsResponse](dial(t, s), req, 7)
	if len(resp.Topics) != 2 || resp.Topics[0].ErrorCode != kerr.InvalidRequest.Code || resp.Topics[1].ErrorCode != 0 {
		t.Errorf("got %+v", resp.Topics)
	}
	req = kmsg.NewPtrCreateTopicsRequest()
	req.ValidateOnly, req.Topics = true, append(req.Topics, newTopic("checked", 1, 1))
	wantCode(t, ask[*kmsg.CreateTopicsResponse](dial(t, s), req, 7).Topics[0].ErrorCode, nil)
	if _, ok := s.log.Topic("checked"); ok {
		t.Error("validation made the topic")
	}
}

func TestDeleteTopics(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "by-name", 1)
	createTopic(t, s, "by-id", 1)
	w := dial(t, s)
	named := func(name string) kmsg.DeleteTopicsRequestTopic {
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic = &name
		return rt
	}
	byID, unknown, both := kmsg.NewDeleteTopicsRequestTopic(), kmsg.NewDeleteTopicsRequestTopic(), named("by-name")
	byID.TopicID, unknown.TopicID, both.TopicID = topicID(t, s, "by-id"), [16]byte{1}, [16]byte{1}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics = append(req.Topics, both, named("by-name"), named("none"), byID, unknown)
	got := ask[*kmsg.DeleteTopicsResponse](w, req, 6).Topics
	for i, want := range []*kerr.Error{kerr.InvalidRequest, nil, kerr.UnknownTopicOrPartition, nil, kerr.UnknownTopicID} {
		wantCode(t, got[i].ErrorCode, want)
	}
	if got[3].Topic == nil || *got[3].Topic != "by-id" || len(s.log.Topics()) != 0 {
		t.Errorf("got %+v, left %v", got, s.log.Topics())
	}
	createTopic(t, s, "old", 1)
	req = kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{"old"}
	wantCode(t, ask[*kmsg.DeleteTopicsResponse](w, req, 1).Topics[0].ErrorCode, nil)
}

func TestCreatePartitions(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 2)
	w := dial(t, s)
	for _, c := range []struct {
		topic    string
		count    int32
		validate bool
		want     *kerr.Error
		after    int32
	}{
		{"events", 2, false, kerr.InvalidPartitions, 2},
		{"events", 1, false, kerr.InvalidPartitions, 2},
		{"events", 1_000_000, false, kerr.InvalidPartitions, 2},
		{"none", 3, false, kerr.UnknownTopicOrPartition, 2},
		{"events", 4, true, nil, 2},
		{"events", 4, false, nil, 4},
	} {
		req := kmsg.NewPtrCreatePartitionsRequest()
		rt := kmsg.NewCreatePartitionsRequestTopic()
		rt.Topic, rt.Count = c.topic, c.count
		req.Topics, req.ValidateOnly = append(req.Topics, rt), c.validate
		wantCode(t, ask[*kmsg.CreatePartitionsResponse](w, req, 3).Topics[0].ErrorCode, c.want)
		if topic, _ := s.log.Topic("events"); topic.Partitions != c.after {
			t.Errorf("%+v: the topic has %d partitions", c, topic.Partitions)
		}
	}
	produce(t, s, "events", 3, "a")
}

func TestDeleteRecords(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	for range 4 {
		produce(t, s, "events", 0, "a")
	}
	w := dial(t, s)
	for _, c := range []struct {
		topic string
		to    int64
		want  *kerr.Error
		low   int64
	}{
		{"events", 2, nil, 2},
		{"events", 1, nil, 2},
		{"events", 5, kerr.OffsetOutOfRange, -1},
		{"events", -2, kerr.OffsetOutOfRange, -1},
		{"none", 1, kerr.UnknownTopicOrPartition, -1},
		{"events", -1, nil, 4},
	} {
		req := kmsg.NewPtrDeleteRecordsRequest()
		rt := kmsg.NewDeleteRecordsRequestTopic()
		rp := kmsg.NewDeleteRecordsRequestTopicPartition()
		rp.Offset = c.to
		rt.Topic, rt.Partitions = c.topic, append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		got := ask[*kmsg.DeleteRecordsResponse](w, req, 2).Topics[0].Partitions[0]
		wantCode(t, got.ErrorCode, c.want)
		if got.LowWatermark != c.low {
			t.Errorf("to %d: low watermark %d, want %d", c.to, got.LowWatermark, c.low)
		}
	}
}

func TestMetadataNamesTopicsByNameAndID(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 3)
	createTopic(t, s, "other", 1)
	w := dial(t, s)
	for version := int16(0); version <= 13; version++ {
		req := kmsg.NewPtrMetadataRequest() // all
		got := ask[*kmsg.MetadataResponse](w, req, version)
		if len(got.Topics) != 2 || len(got.Topics[0].Partitions) != 3 || got.Topics[0].Partitions[2].Leader != nodeID {
			t.Errorf("version %d: got %+v", version, got.Topics)
		}
	}
	none := kmsg.NewPtrMetadataRequest()
	none.Topics = []kmsg.MetadataRequestTopic{}
	if got := ask[*kmsg.MetadataResponse](w, none, 12); len(got.Topics) != 0 {
		t.Errorf("got %+v", got.Topics)
	}
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	for _, name := range []string{"other", "none", "a/b", "other"} {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &name
		req.Topics = append(req.Topics, rt)
	}
	for _, id := range [][16]byte{topicID(t, s, "events"), {9}} {
		rt := kmsg.NewMetadataRequestTopic()
		rt.TopicID = id
		req.Topics = append(req.Topics, rt)
	}
	got := ask[*kmsg.MetadataResponse](w, req, 12).Topics
	if len(got) != 5 {
		t.Fatalf("got %+v", got)
	}
	for i, want := range []*kerr.Error{nil, kerr.UnknownTopicOrPartition, kerr.InvalidTopicException, nil, kerr.UnknownTopicID} {
		wantCode(t, got[i].ErrorCode, want)
	}
	if *got[3].Topic != "events" || got[4].Topic != nil {
		t.Errorf("got %+v", got)
	}
}

func TestTopicsAreMadeOnDemandOnlyIfTheOptionsSaySo(t *testing.T) {
	s := start(t, Options{AutoCreateTopics: true, DefaultPartitions: 4})
	name := "events"
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &name
	req.Topics = append(req.Topics, rt)
	w := dial(t, s)
	wantCode(t, ask[*kmsg.MetadataResponse](w, req, 12).Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
	req.AllowAutoTopicCreation = true
	if got := ask[*kmsg.MetadataResponse](w, req, 12).Topics[0]; got.ErrorCode != 0 || len(got.Partitions) != 4 {
		t.Errorf("got %+v", got)
	}
}

func TestDescribeTopicPartitionsInPages(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "a", 2)
	createTopic(t, s, "b", 3)
	w := dial(t, s)
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 2
	var seen []string
	for range 10 {
		resp := ask[*kmsg.DescribeTopicPartitionsResponse](w, req, 0)
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				seen = append(seen, *topic.Topic+string(rune('0'+p.Partition)))
			}
		}
		if resp.NextCursor == nil {
			break
		}
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic, c.Partition = resp.NextCursor.Topic, resp.NextCursor.Partition
		req.Cursor = &c
	}
	if want := []string{"a0", "a1", "b0", "b1", "b2"}; !slices.Equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
}

func TestListOffsets(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	for range 3 {
		produce(t, s, "events", 0, "a") // of time 1000
	}
	w := dial(t, s)
	for _, c := range []struct {
		topic    string
		at       int64
		version  int16
		want     *kerr.Error
		offset   int64
		recorded int64
	}{
		{"events", latestTimestamp, 1, nil, 3, -1},
		{"events", earliestTimestamp, 1, nil, 0, -1},
		{"events", 1000, 5, nil, 0, 1000},
		{"events", 1001, 5, nil, -1, -1},
		{"events", maxTimestamp, 7, nil, 0, 1000},
		{"events", earliestLocalTimestamp, 8, nil, 0, -1},
		{"events", latestTieredTimestamp, 9, nil, -1, -1},
		{"events", maxTimestamp, 6, kerr.UnsupportedVersion, -1, -1},
		{"events", -17, 10, kerr.UnsupportedVersion, -1, -1},
		{"none", latestTimestamp, 10, kerr.UnknownTopicOrPartition, -1, -1},
	} {
		req := kmsg.NewPtrListOffsetsRequest()
		rt := kmsg.NewListOffsetsRequestTopic()
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Timestamp = c.at
		rt.Topic, rt.Partitions = c.topic, append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		got := ask[*kmsg.ListOffsetsResponse](w, req, c.version).Topics[0].Partitions[0]
		wantCode(t, got.ErrorCode, c.want)
		if got.Offset != c.offset || got.Timestamp != c.recorded {
			t.Errorf("%+v: got offset %d, time %d", c, got.Offset, got.Timestamp)
		}
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	produce(t, s, "events", 0, "a")
	w := dial(t, s)
	for _, c := range []struct {
		current, epoch int32
		want           *kerr.Error
		end            int64
	}{
		{-1, 0, nil, 1}, {0, 0, nil, 1}, {0, 5, nil, -1}, {2, 0, kerr.UnknownLeaderEpoch, -1},
	} {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rp.CurrentLeaderEpoch, rp.LeaderEpoch = c.current, c.epoch
		rt.Topic, rt.Partitions = "events", append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		got := ask[*kmsg.OffsetForLeaderEpochResponse](w, req, 4).Topics[0].Partitions[0]
		wantCode(t, got.ErrorCode, c.want)
		if got.EndOffset != c.end {
			t.Errorf("%+v: end offset %d", c, got.EndOffset)
		}
	}
}
