package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// mayCreate reports whether the connection's user may create the topic.
func (s *Server) mayCreate(c *conn, topic string) bool {
	return s.allowed(c, kmsg.ACLOperationCreate, kmsg.ACLResourceTypeCluster, clusterName) ||
		s.allowed(c, kmsg.ACLOperationCreate, kmsg.ACLResourceTypeTopic, topic)
}

// adminTimeout bounds changes whose requests name no time.
const adminTimeout = 30 * time.Second

// within gives a request its own time-out.
func within(ctx context.Context, millis int32) (context.Context, context.CancelFunc) {
	d := adminTimeout
	if millis > 0 {
		d = time.Duration(millis) * time.Millisecond
	}
	return context.WithTimeout(ctx, d)
}

func (s *Server) createTopics(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.CreateTopicsRequest)
	resp := r.response().(*kmsg.CreateTopicsResponse)
	ctx, cancel := within(r.ctx, req.TimeoutMillis)
	defer cancel()
	times := make(map[string]int)
	for _, t := range req.Topics {
		times[t.Topic]++
	}
	for _, t := range req.Topics {
		if times[t.Topic] == 0 {
			continue
		}
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic = t.Topic
		var created storage.Topic
		var err error
		if times[t.Topic] > 1 {
			times[t.Topic] = 0 // one answer for all of them
			err = refuse(kerr.InvalidRequest, "the topic is named more than once")
		} else {
			created, err = s.createTopic(ctx, r.conn, &t, req.ValidateOnly)
		}
		if err != nil {
			rt.ErrorCode, rt.ErrorMessage = s.refused(err, kmsg.CreateTopics)
			rt.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		} else {
			rt.TopicID, rt.NumPartitions, rt.ReplicationFactor = created.ID, created.Partitions, 1
			s.createdConfigs(&rt, r.conn, created)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

// createdConfigs tells what configuration a new topic has, to those who may
// know.
func (s *Server) createdConfigs(rt *kmsg.CreateTopicsResponseTopic, c *conn, t storage.Topic) {
	rt.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	if !s.allowed(c, kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeTopic, t.Name) {
		rt.ConfigErrorCode = kerr.TopicAuthorizationFailed.Code
		rt.NumPartitions, rt.ReplicationFactor = -1, -1
		return
	}
	for _, k := range s.configs {
		v := k.of(t, s.opts)
		rc := kmsg.NewCreateTopicsResponseTopicConfig()
		rc.Name, rc.Value, rc.Source = k.name, &v.value, int8(v.source)
		rt.Configs = append(rt.Configs, rc)
	}
}

func (s *Server) createTopic(ctx context.Context, c *conn, t *kmsg.CreateTopicsRequestTopic, validateOnly bool) (storage.Topic, error) {
	if !s.mayCreate(c, t.Topic) {
		return storage.Topic{}, kerr.TopicAuthorizationFailed
	}
	if storage.ValidTopicName(t.Topic) != nil {
		return storage.Topic{}, refuse(kerr.InvalidTopicException, "topic %q: a name has 1 to 249 letters, digits, '.', '_' and '-', and is not '.' or '..'", t.Topic)
	}
	if _, ok := s.log.Topic(t.Topic); ok {
		return storage.Topic{}, refuse(kerr.TopicAlreadyExists, "topic %s already exists", t.Topic)
	}
	n := t.NumPartitions
	if len(t.ReplicaAssignment) > 0 {
		if n != -1 || t.ReplicationFactor != -1 {
			return storage.Topic{}, refuse(kerr.InvalidRequest, "give either an assignment of replicas, or numbers of partitions and replicas")
		}
		assigned := make(map[int32]bool)
		for _, a := range t.ReplicaAssignment {
			if err := checkReplicas(a.Replicas); err != nil {
				return storage.Topic{}, err
			}
			assigned[a.Partition] = true
		}
		n = int32(len(assigned))
		for p := range n {
			if !assigned[p] || len(assigned) != len(t.ReplicaAssignment) {
				return storage.Topic{}, refuse(kerr.InvalidReplicaAssignment, "partitions must be numbered from 0 on")
			}
		}
	} else if t.ReplicationFactor != -1 && t.ReplicationFactor != 1 {
		return storage.Topic{}, refuse(kerr.InvalidReplicationFactor, "there is one broker; ask for a replication factor of 1 or -1")
	}
	if n == -1 {
		n = s.opts.DefaultPartitions
	}
	if n < 1 {
		return storage.Topic{}, refuse(kerr.InvalidPartitions, "a topic has at least one partition")
	}
	configs := make(map[string]string, len(t.Configs))
	for _, c := range t.Configs {
		if c.Value == nil {
			return storage.Topic{}, refuse(kerr.InvalidConfig, "%s has no value", c.Name)
		}
		configs[c.Name] = *c.Value
	}
	if err := s.checkTopicConfigs(configs); err != nil {
		return storage.Topic{}, err
	}
	topic := storage.Topic{Name: t.Topic, Partitions: n, Configs: configs}
	if validateOnly {
		return topic, nil
	}
	return s.log.CreateTopic(ctx, topic)
}

func checkReplicas(replicas []int32) error {
	if len(replicas) != 1 || replicas[0] != nodeID {
		return refuse(kerr.InvalidReplicaAssignment, "there is one broker, %d; every partition has its replica there", nodeID)
	}
	return nil
}

func (s *Server) deleteTopics(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DeleteTopicsRequest)
	resp := r.response().(*kmsg.DeleteTopicsResponse)
	ctx, cancel := within(r.ctx, req.TimeoutMillis)
	defer cancel()
	topics := req.Topics
	for _, name := range req.TopicNames {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		topics = append(topics, t)
	}
	for _, t := range topics {
		rt := kmsg.NewDeleteTopicsResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		rt.ErrorCode, rt.ErrorMessage = s.refused(s.deleteTopic(ctx, r.conn, &rt), kmsg.DeleteTopics)
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

// deleteTopic deletes a topic named by name or id and fills in the other one,
// but no name that the client may not know.
func (s *Server) deleteTopic(ctx context.Context, c *conn, rt *kmsg.DeleteTopicsResponseTopic) error {
	var t storage.Topic
	var ok bool
	byName := rt.Topic != nil
	switch {
	case byName && rt.TopicID != [16]byte{}:
		return refuse(kerr.InvalidRequest, "name a topic by its name or by its id, not both")
	case byName:
		t, ok = s.log.Topic(*rt.Topic)
	default:
		if t, ok = s.log.TopicByID(rt.TopicID); !ok {
			return kerr.UnknownTopicID
		}
	}
	name := t.Name
	if byName {
		name = *rt.Topic
	}
	described := s.allowed(c, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, name)
	if described && ok {
		rt.Topic, rt.TopicID = &t.Name, t.ID
	}
	if !s.allowed(c, kmsg.ACLOperationDelete, kmsg.ACLResourceTypeTopic, name) {
		return kerr.TopicAuthorizationFailed
	}
	if !ok {
		return kerr.UnknownTopicOrPartition
	}
	return s.log.DeleteTopic(ctx, t.Name)
}

func (s *Server) createPartitions(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.CreatePartitionsRequest)
	resp := r.response().(*kmsg.CreatePartitionsResponse)
	ctx, cancel := within(r.ctx, req.TimeoutMillis)
	defer cancel()
	seen := make(map[string]bool)
	for _, t := range req.Topics {
		rt := kmsg.NewCreatePartitionsResponseTopic()
		rt.Topic = t.Topic
		err := refuse(kerr.InvalidRequest, "the topic is named more than once")
		if !seen[t.Topic] {
			err = s.addPartitions(ctx, r.conn, &t, req.ValidateOnly)
		}
		seen[t.Topic] = true
		rt.ErrorCode, rt.ErrorMessage = s.refused(err, kmsg.CreatePartitions)
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

func (s *Server) addPartitions(ctx context.Context, c *conn, t *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	if !s.allowed(c, kmsg.ACLOperationAlter, kmsg.ACLResourceTypeTopic, t.Topic) {
		return kerr.TopicAuthorizationFailed
	}
	topic, ok := s.log.Topic(t.Topic)
	switch {
	case !ok:
		return kerr.UnknownTopicOrPartition
	case t.Count == topic.Partitions:
		return refuse(kerr.InvalidPartitions, "the topic already has %d partitions", t.Count)
	case t.Count < topic.Partitions:
		return refuse(kerr.InvalidPartitions, "the topic has %d partitions, and none can be taken away", topic.Partitions)
	case t.Assignment != nil && len(t.Assignment) != int(t.Count-topic.Partitions):
		return refuse(kerr.InvalidReplicaAssignment, "%d new partitions need as many assignments", t.Count-topic.Partitions)
	}
	for _, a := range t.Assignment {
		if err := checkReplicas(a.Replicas); err != nil {
			return err
		}
	}
	if validateOnly {
		return nil
	}
	return s.log.AddTopicPartitions(ctx, t.Topic, t.Count)
}

func (s *Server) deleteRecords(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DeleteRecordsRequest)
	resp := r.response().(*kmsg.DeleteRecordsResponse)
	ctx, cancel := within(r.ctx, req.TimeoutMillis)
	defer cancel()
	for _, t := range req.Topics {
		rt := kmsg.NewDeleteRecordsResponseTopic()
		rt.Topic = t.Topic
		allowed := s.allowed(r.conn, kmsg.ACLOperationDelete, kmsg.ACLResourceTypeTopic, t.Topic)
		for _, p := range t.Partitions {
			rp := kmsg.NewDeleteRecordsResponseTopicPartition()
			rp.Partition, rp.LowWatermark = p.Partition, -1
			if !allowed {
				rp.ErrorCode = kerr.TopicAuthorizationFailed.Code
			} else if low, err := s.deleteBefore(ctx, storage.TopicPartition{Topic: t.Topic, Partition: p.Partition}, p.Offset); err != nil {
				rp.ErrorCode = s.code(err, kmsg.DeleteRecords)
			} else {
				rp.LowWatermark = low
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

// deleteBefore deletes what lies before an offset; -1 is everything there is.
func (s *Server) deleteBefore(ctx context.Context, tp storage.TopicPartition, before int64) (low int64, err error) {
	_, _, high, err := s.log.Offsets(tp)
	if err != nil {
		return 0, err
	}
	if before == -1 {
		before = high
	}
	if before < 0 || before > high {
		return 0, kerr.OffsetOutOfRange
	}
	return s.log.DeleteRecords(ctx, tp, before)
}

// electLeaders finds that every partition has the leader that it should.
func (s *Server) electLeaders(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ElectLeadersRequest)
	resp := r.response().(*kmsg.ElectLeadersResponse)
	if !s.allowed(r.conn, kmsg.ACLOperationAlter, kmsg.ACLResourceTypeCluster, clusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp, nil
	}
	for _, t := range req.Topics {
		rt := kmsg.NewElectLeadersResponseTopic()
		rt.Topic = t.Topic
		topic, _ := s.log.Topic(t.Topic)
		for _, p := range t.Partitions {
			rp := kmsg.NewElectLeadersResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p, kerr.ElectionNotNeeded.Code
			if p < 0 || p >= topic.Partitions {
				rp.ErrorCode = kerr.UnknownTopicOrPartition.Code
			}
			rp.ErrorMessage = message(rp.ErrorCode)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}
