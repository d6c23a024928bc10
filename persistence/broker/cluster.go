package broker

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeCluster tells of the one broker there is.
func (s *Server) describeCluster(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeClusterRequest)
	resp := r.response().(*kmsg.DescribeClusterResponse)
	resp.EndpointType = req.EndpointType
	resp.ClusterID = s.log.ClusterID()
	if r.header.version >= 1 && req.EndpointType != 1 {
		code := kerr.UnsupportedEndpointType
		if req.EndpointType == 2 {
			code = kerr.MismatchedEndpointType
		}
		resp.ErrorCode, resp.ErrorMessage = code.Code, message(code.Code)
		return resp, nil
	}
	resp.ControllerID = nodeID
	broker := kmsg.NewDescribeClusterResponseBroker()
	broker.NodeID, broker.Host, broker.Port = nodeID, s.host, s.port
	resp.Brokers = append(resp.Brokers, broker)
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = s.authorized(r.conn, kmsg.ACLResourceTypeCluster, clusterName)
	}
	return resp, nil
}

// Kinds of coordinator.
const (
	groupCoordinator = 0
	txnCoordinator   = 1
)

// findCoordinator says that this broker coordinates everything.
func (s *Server) findCoordinator(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.FindCoordinatorRequest)
	resp := r.response().(*kmsg.FindCoordinatorResponse)
	keys := req.CoordinatorKeys
	if r.header.version < 4 {
		keys = []string{req.CoordinatorKey}
	}
	for _, key := range keys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key = key
		if err := s.coordinates(r.conn, req.CoordinatorType, key); err != nil {
			c.ErrorCode, c.ErrorMessage, c.NodeID, c.Port = err.Code, message(err.Code), -1, -1
		} else {
			c.NodeID, c.Host, c.Port = nodeID, s.host, s.port
		}
		resp.Coordinators = append(resp.Coordinators, c)
	}
	if r.header.version < 4 {
		c := resp.Coordinators[0]
		resp.ErrorCode, resp.ErrorMessage = c.ErrorCode, c.ErrorMessage
		resp.NodeID, resp.Host, resp.Port = c.NodeID, c.Host, c.Port
	}
	return resp, nil
}

func (s *Server) coordinates(c *conn, kind int8, key string) *kerr.Error {
	switch kind {
	case groupCoordinator:
		if !s.allowed(c, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup, key) {
			return kerr.GroupAuthorizationFailed
		}
	case txnCoordinator:
		if !s.allowed(c, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTransactionalId, key) {
			return kerr.TransactionalIDAuthorizationFailed
		}
	default:
		return kerr.InvalidRequest
	}
	return nil
}

// maxDescribedPartitions bounds the partitions of one answer, as in Apache
// Kafka.
const maxDescribedPartitions = 2000

// describeTopicPartitions is Metadata in pages (KIP-966).
func (s *Server) describeTopicPartitions(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeTopicPartitionsRequest)
	resp := r.response().(*kmsg.DescribeTopicPartitionsResponse)
	var names []string
	all := len(req.Topics) == 0
	if all {
		for _, t := range s.log.Topics() {
			names = append(names, t.Name)
		}
	}
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	first := int32(0)
	if req.Cursor != nil {
		at, found := slices.BinarySearch(names, req.Cursor.Topic)
		names = names[at:]
		if found {
			first = max(req.Cursor.Partition, 0)
		}
	}
	room := int32(maxDescribedPartitions)
	if req.ResponsePartitionLimit > 0 {
		room = min(room, req.ResponsePartitionLimit)
	}
	for _, name := range names {
		if room == 0 {
			resp.NextCursor = describeFrom(name, first)
			break
		}
		t, err := s.describedTopic(r, name, false)
		if err != nil {
			if all {
				continue
			}
			rt := kmsg.NewDescribeTopicPartitionsResponseTopic()
			rt.Topic, rt.ErrorCode = &name, s.code(err, kmsg.DescribeTopicPartitions)
			resp.Topics = append(resp.Topics, rt)
			continue
		}
		rt := kmsg.NewDescribeTopicPartitionsResponseTopic()
		rt.Topic, rt.TopicID = &t.Name, t.ID
		rt.AuthorizedOperations = s.authorized(r.conn, kmsg.ACLResourceTypeTopic, t.Name)
		for first < t.Partitions && room > 0 {
			p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
			p.Partition, p.LeaderID, p.LeaderEpoch = first, nodeID, leaderEpoch
			p.Replicas, p.ISR, p.OfflineReplicas = onlyNode, onlyNode, noNodes
			p.EligibleLeaderReplicas, p.LastKnownELR = noNodes, noNodes
			rt.Partitions = append(rt.Partitions, p)
			first++
			room--
		}
		resp.Topics = append(resp.Topics, rt)
		if first < t.Partitions {
			resp.NextCursor = describeFrom(name, first)
			break
		}
		first = 0
	}
	// Unknown topics come last.
	slices.SortStableFunc(resp.Topics, func(a, b kmsg.DescribeTopicPartitionsResponseTopic) int {
		return cmp.Compare(min(a.ErrorCode, 1), min(b.ErrorCode, 1))
	})
	return resp, nil
}

func describeFrom(topic string, partition int32) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = topic, partition
	return &c
}
