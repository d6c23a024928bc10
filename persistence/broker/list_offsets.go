package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// Timestamps of ListOffsets that mean something else.
const (
	latestTimestamp        = -1
	earliestTimestamp      = -2
	maxTimestamp           = -3 // version 7 on (KIP-734)
	earliestLocalTimestamp = -4 // version 8 on (KIP-405)
	latestTieredTimestamp  = -5 // version 9 on (KIP-1005)
)

// listOffsets finds offsets by time.
func (s *Server) listOffsets(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ListOffsetsRequest)
	resp := r.response().(*kmsg.ListOffsetsResponse)
	times := make(map[storage.TopicPartition]int)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			times[storage.TopicPartition{Topic: t.Topic, Partition: p.Partition}]++
		}
	}
	for _, t := range req.Topics {
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		allowed := s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, t.Topic)
		for _, p := range t.Partitions {
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition = p.Partition
			tp := storage.TopicPartition{Topic: t.Topic, Partition: p.Partition}
			switch {
			case !allowed:
				rp.ErrorCode = kerr.TopicAuthorizationFailed.Code
			case times[tp] > 1:
				rp.ErrorCode = kerr.InvalidRequest.Code
			case p.CurrentLeaderEpoch > leaderEpoch:
				rp.ErrorCode = kerr.UnknownLeaderEpoch.Code
			default:
				s.listOffset(&rp, tp, p.Timestamp, r.header.version, req.IsolationLevel == 1)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

func (s *Server) listOffset(rp *kmsg.ListOffsetsResponseTopicPartition, tp storage.TopicPartition, timestamp int64, version int16, committed bool) {
	since := int16(1)
	switch {
	case timestamp == maxTimestamp:
		since = 7
	case timestamp == earliestLocalTimestamp:
		since, timestamp = 8, earliestTimestamp
	case timestamp == latestTieredTimestamp:
		since = 9
	case timestamp < latestTieredTimestamp:
		rp.ErrorCode = kerr.UnsupportedVersion.Code
		return
	}
	if version < since {
		rp.ErrorCode = kerr.UnsupportedVersion.Code
		return
	}
	if timestamp == latestTieredTimestamp {
		// There is no other tier.
		_, _, _, err := s.log.Offsets(tp)
		rp.ErrorCode = s.code(err, kmsg.ListOffsets)
		return
	}
	offset, at, err := s.log.OffsetFor(tp, timestamp, committed)
	if err != nil {
		rp.ErrorCode = s.code(err, kmsg.ListOffsets)
		return
	}
	rp.Offset, rp.Timestamp = offset, at
	if offset >= 0 {
		rp.LeaderEpoch = leaderEpoch
	}
}

// offsetForLeaderEpoch tells where an epoch ended; there is one.
func (s *Server) offsetForLeaderEpoch(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetForLeaderEpochRequest)
	resp := r.response().(*kmsg.OffsetForLeaderEpochResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = t.Topic
		allowed := s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, t.Topic)
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			rp.Partition = p.Partition
			switch {
			case !allowed:
				rp.ErrorCode = kerr.TopicAuthorizationFailed.Code
			case p.CurrentLeaderEpoch > leaderEpoch:
				rp.ErrorCode = kerr.UnknownLeaderEpoch.Code
			default:
				_, _, high, err := s.log.Offsets(storage.TopicPartition{Topic: t.Topic, Partition: p.Partition})
				rp.ErrorCode = s.code(err, kmsg.OffsetForLeaderEpoch)
				if err == nil && p.LeaderEpoch == leaderEpoch {
					rp.LeaderEpoch, rp.EndOffset = leaderEpoch, high
				}
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}
