package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// metadata tells which topics there are and that this broker leads them all.
func (s *Server) metadata(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.MetadataRequest)
	resp := r.response().(*kmsg.MetadataResponse)
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = nodeID, s.host, s.port
	resp.Brokers = append(resp.Brokers, broker)
	resp.ClusterID = kmsg.StringPtr(s.log.ClusterID())
	resp.ControllerID = nodeID
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = s.authorized(r.conn, kmsg.ACLResourceTypeCluster, clusterName)
	}
	if req.Topics == nil || r.header.version == 0 && len(req.Topics) == 0 {
		for _, t := range s.log.Topics() {
			if s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, t.Name) {
				resp.Topics = append(resp.Topics, s.topicMetadata(r.conn, t, req.IncludeTopicAuthorizedOperations))
			}
		}
		return resp, nil
	}
	create := s.opts.AutoCreateTopics && (req.AllowAutoTopicCreation || r.header.version < 4)
	seen := make(map[string]bool)
	for _, asked := range req.Topics {
		if asked.Topic == nil || *asked.Topic == "" && asked.TopicID != [16]byte{} {
			resp.Topics = append(resp.Topics, s.metadataByID(r.conn, asked.TopicID, req.IncludeTopicAuthorizedOperations))
			continue
		}
		name := *asked.Topic
		if seen[name] {
			continue
		}
		seen[name] = true
		t, err := s.describedTopic(r, name, create)
		if err != nil {
			rt := kmsg.NewMetadataResponseTopic()
			rt.Topic, rt.ErrorCode = &name, s.code(err, kmsg.Metadata)
			resp.Topics = append(resp.Topics, rt)
			continue
		}
		resp.Topics = append(resp.Topics, s.topicMetadata(r.conn, t, req.IncludeTopicAuthorizedOperations))
	}
	return resp, nil
}

// clusterName is the name of the cluster as a resource of access rules.
const clusterName = "kafka-cluster"

// describedTopic finds a topic by name, and makes it if it may.
func (s *Server) describedTopic(r *request, name string, create bool) (storage.Topic, error) {
	if !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, name) {
		return storage.Topic{}, kerr.TopicAuthorizationFailed
	}
	if t, ok := s.log.Topic(name); ok {
		return t, nil
	}
	if storage.ValidTopicName(name) != nil {
		return storage.Topic{}, kerr.InvalidTopicException
	}
	if !create {
		return storage.Topic{}, kerr.UnknownTopicOrPartition
	}
	if !s.mayCreate(r.conn, name) {
		return storage.Topic{}, kerr.TopicAuthorizationFailed
	}
	return s.createImplicit(r.ctx, name)
}

func (s *Server) createImplicit(ctx context.Context, name string) (storage.Topic, error) {
	t, err := s.log.CreateTopic(ctx, storage.Topic{Name: name, Partitions: s.opts.DefaultPartitions})
	if err == nil {
		return t, nil
	}
	if t, ok := s.log.Topic(name); ok {
		// Another client was faster.
		return t, nil
	}
	return storage.Topic{}, err
}

func (s *Server) metadataByID(c *conn, id [16]byte, operations bool) kmsg.MetadataResponseTopic {
	t, ok := s.log.TopicByID(id)
	if ok && s.allowed(c, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, t.Name) {
		return s.topicMetadata(c, t, operations)
	}
	// Who may not see a topic does not learn its name.
	rt := kmsg.NewMetadataResponseTopic()
	rt.TopicID, rt.ErrorCode = id, kerr.UnknownTopicID.Code
	if ok {
		rt.ErrorCode = kerr.TopicAuthorizationFailed.Code
	}
	return rt
}

func (s *Server) topicMetadata(c *conn, t storage.Topic, operations bool) kmsg.MetadataResponseTopic {
	rt := kmsg.NewMetadataResponseTopic()
	rt.Topic, rt.TopicID = &t.Name, t.ID
	if operations {
		rt.AuthorizedOperations = s.authorized(c, kmsg.ACLResourceTypeTopic, t.Name)
	}
	rt.Partitions = make([]kmsg.MetadataResponseTopicPartition, t.Partitions)
	for i := range rt.Partitions {
		p := &rt.Partitions[i]
		p.Default()
		p.Partition, p.Leader, p.LeaderEpoch = int32(i), nodeID, leaderEpoch
		p.Replicas, p.ISR, p.OfflineReplicas = onlyNode, onlyNode, noNodes
	}
	return rt
}

// Replicas of every partition; never written to.
var (
	onlyNode = []int32{nodeID}
	noNodes  = []int32{}
)
