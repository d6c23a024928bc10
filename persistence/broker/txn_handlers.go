package broker

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/group"
	"github.com/gemello/gemello/persistence/broker/storage"
)

// txnHandlers are what idempotent and transactional producers ask. Markers of
// transactions are written by the storage; who sends them is refused.
func (s *Server) txnHandlers() []handler {
	return []handler{
		{key: kmsg.InitProducerID, min: 0, max: 5, serve: s.initProducerID},
		{key: kmsg.AddPartitionsToTxn, min: 0, max: 5, serve: s.addPartitionsToTxn},
		{key: kmsg.AddOffsetsToTxn, min: 0, max: 4, serve: s.addOffsetsToTxn},
		{key: kmsg.TxnOffsetCommit, min: 0, max: 5, serve: s.txnOffsetCommit},
		{key: kmsg.EndTxn, min: 0, max: 5, serve: s.endTxn},
		{key: kmsg.WriteTxnMarkers, min: 1, max: 1, serve: s.writeTxnMarkers},
		{key: kmsg.DescribeProducers, min: 0, max: 0, serve: s.describeProducers},
		{key: kmsg.DescribeTransactions, min: 0, max: 0, serve: s.describeTransactions},
		{key: kmsg.ListTransactions, min: 0, max: 2, serve: s.listTransactions},
	}
}

func (s *Server) mayTxn(r *request, op kmsg.ACLOperation, id string) bool {
	return s.allowed(r.conn, op, kmsg.ACLResourceTypeTransactionalId, id)
}

// fenced returns the code of a transaction's error for a client: versions
// before fencing has a code of its own are told of an invalid epoch.
func (s *Server) fenced(r *request, err error, since int16) int16 {
	if errors.Is(err, kerr.ProducerFenced) && r.header.version < since {
		return kerr.InvalidProducerEpoch.Code
	}
	return s.code(err, r.handler.key)
}

func (s *Server) initProducerID(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.InitProducerIDRequest)
	resp := r.response().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	id := text(req.TransactionalID)
	switch {
	case req.TransactionalID != nil && !s.mayTxn(r, kmsg.ACLOperationWrite, id):
		resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
	case req.TransactionalID == nil && !s.mayProduce(r):
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1),
		req.TransactionalID != nil && id == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	case id != "" && req.TransactionTimeoutMillis <= 0:
		resp.ErrorCode = kerr.InvalidTransactionTimeout.Code
	default:
		producer, epoch := req.ProducerID, req.ProducerEpoch
		if id == "" {
			producer, epoch = -1, -1 // an idempotent producer always gets a new one
		}
		timeout := time.Duration(req.TransactionTimeoutMillis) * time.Millisecond
		producer, epoch, err := s.log.InitProducer(r.ctx, id, timeout, producer, epoch)
		if err != nil {
			resp.ErrorCode = s.fenced(r, err, 4)
			break
		}
		resp.ProducerID, resp.ProducerEpoch = producer, epoch
	}
	return resp, nil
}

// mayProduce reports whether the connection's user may write to any topic.
func (s *Server) mayProduce(r *request) bool {
	return s.allowed(r.conn, kmsg.ACLOperationIdempotentWrite, kmsg.ACLResourceTypeCluster, clusterName) ||
		s.allowedSome(r.conn, kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic)
}

func (s *Server) addOffsetsToTxn(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AddOffsetsToTxnRequest)
	resp := r.response().(*kmsg.AddOffsetsToTxnResponse)
	switch {
	case !s.mayTxn(r, kmsg.ACLOperationWrite, req.TransactionalID):
		resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
	case !s.mayReadGroup(r, req.Group):
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
	case req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	default:
		err := s.log.AddGroup(r.ctx, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group)
		resp.ErrorCode = s.fenced(r, err, 2)
	}
	return resp, nil
}

func (s *Server) txnOffsetCommit(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.TxnOffsetCommitRequest)
	resp := r.response().(*kmsg.TxnOffsetCommitResponse)
	var offsets []storage.Offset
	exist := false
	for _, t := range req.Topics {
		rt := kmsg.NewTxnOffsetCommitResponseTopic()
		rt.Topic = t.Topic
		topic, refused := s.offsetTopic(r, false, t.Topic, [16]byte{}, kmsg.ACLOperationRead)
		for _, p := range t.Partitions {
			rp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			rp.Partition = p.Partition
			if refused != nil {
				rp.ErrorCode = refused.Code
			} else if rp.ErrorCode = checkOffset(topic, p.Partition, p.Metadata); rp.ErrorCode == 0 {
				offsets = append(offsets, storage.Offset{
					TopicPartition: storage.TopicPartition{Topic: t.Topic, Partition: p.Partition},
					Offset:         p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: text(p.Metadata),
				})
			}
			exist = exist || rp.ErrorCode == 0 || rp.ErrorCode == kerr.OffsetMetadataTooLarge.Code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	var code int16
	all := true
	switch {
	case !s.mayTxn(r, kmsg.ACLOperationWrite, req.TransactionalID):
		code = kerr.TransactionalIDAuthorizationFailed.Code
	case !s.mayReadGroup(r, req.Group):
		code = kerr.GroupAuthorizationFailed.Code
	case exist:
		who := group.Commit{
			Group: req.Group, Member: req.MemberID, Instance: req.InstanceID,
			Generation: req.Generation, Version: req.Version, Transactional: true,
		}
		code, all = s.commitOffsets(r, who, func(ctx context.Context) error {
			if len(offsets) == 0 {
				return nil
			}
			return s.log.AddOffsets(ctx, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group, offsets, req.Version >= 5)
		}, kmsg.TxnOffsetCommit)
	}
	if code != 0 {
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				if p := &resp.Topics[i].Partitions[j]; all || p.ErrorCode == 0 {
					p.ErrorCode = code
				}
			}
		}
	}
	return resp, nil
}

func (s *Server) endTxn(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.EndTxnRequest)
	resp := r.response().(*kmsg.EndTxnResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case !s.mayTxn(r, kmsg.ACLOperationWrite, req.TransactionalID):
		resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
	case req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	default:
		// From version 5 on every transaction has an epoch of its own, so that
		// a request of an earlier one that was delayed is known (KIP-890).
		id, epoch, err := s.log.EndTxn(r.ctx, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit, req.Version >= 5)
		if err != nil {
			resp.ErrorCode = s.fenced(r, err, 2)
			break
		}
		resp.ProducerID, resp.ProducerEpoch = id, epoch
	}
	return resp, nil
}

// writeTxnMarkers refuses: only brokers write markers, and there is no other.
func (s *Server) writeTxnMarkers(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.WriteTxnMarkersRequest)
	resp := r.response().(*kmsg.WriteTxnMarkersResponse)
	for _, m := range req.Markers {
		rm := kmsg.NewWriteTxnMarkersResponseMarker()
		rm.ProducerID = m.ProducerID
		for _, t := range m.Topics {
			rt := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
				rp.Partition, rp.ErrorCode = p, kerr.ClusterAuthorizationFailed.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			rm.Topics = append(rm.Topics, rt)
		}
		resp.Markers = append(resp.Markers, rm)
	}
	return resp, nil
}
