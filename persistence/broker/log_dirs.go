package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// describeLogDirs tells how large partitions are.
func (s *Server) describeLogDirs(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeLogDirsRequest)
	resp := r.response().(*kmsg.DescribeLogDirsResponse)
	if !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeCluster, clusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp, nil
	}
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = s.opts.Dir
	ctx, cancel := context.WithTimeout(r.ctx, adminTimeout)
	defer cancel()
	sizes, err := s.log.Sizes(ctx)
	if err != nil {
		dir.ErrorCode = s.code(err, kmsg.DescribeLogDirs)
		resp.Dirs = append(resp.Dirs, dir)
		return resp, nil
	}
	add := func(topic string, partitions []int32) {
		rt := kmsg.NewDescribeLogDirsResponseDirTopic()
		rt.Topic = topic
		for _, p := range partitions {
			rp := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			rp.Partition, rp.Size = p, sizes[storage.TopicPartition{Topic: topic, Partition: p}]
			rt.Partitions = append(rt.Partitions, rp)
		}
		dir.Topics = append(dir.Topics, rt)
	}
	if req.Topics == nil {
		for _, t := range s.log.Topics() {
			all := make([]int32, t.Partitions)
			for i := range all {
				all[i] = int32(i)
			}
			add(t.Name, all)
		}
	}
	for _, asked := range req.Topics {
		t, ok := s.log.Topic(asked.Topic)
		if !ok {
			continue
		}
		var known []int32
		for _, p := range asked.Partitions {
			if p >= 0 && p < t.Partitions {
				known = append(known, p)
			}
		}
		add(t.Name, known)
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp, nil
}
