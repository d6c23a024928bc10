package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// addPartitionsToTxn serves clients with one transaction (versions 0 to 3) and
// those that speak as brokers do, with several (4 and 5).
func (s *Server) addPartitionsToTxn(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AddPartitionsToTxnRequest)
	resp := r.response().(*kmsg.AddPartitionsToTxnResponse)
	if req.Version < 4 {
		t := kmsg.NewAddPartitionsToTxnRequestTransaction()
		t.TransactionalID, t.ProducerID, t.ProducerEpoch = req.TransactionalID, req.ProducerID, req.ProducerEpoch
		for _, topic := range req.Topics {
			tt := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
			tt.Topic, tt.Partitions = topic.Topic, topic.Partitions
			t.Topics = append(t.Topics, tt)
		}
		for _, topic := range s.addToTxn(r, t).Topics {
			rt := kmsg.NewAddPartitionsToTxnResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				rp := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, p.ErrorCode
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil
	}
	if !s.allowed(r.conn, kmsg.ACLOperationClusterAction, kmsg.ACLResourceTypeCluster, clusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp, nil
	}
	for _, t := range req.Transactions {
		resp.Transactions = append(resp.Transactions, s.addToTxn(r, t))
	}
	return resp, nil
}

// addToTxn adds all partitions of a transaction or none, or reports
// whether they were added before.
func (s *Server) addToTxn(r *request, t kmsg.AddPartitionsToTxnRequestTransaction) kmsg.AddPartitionsToTxnResponseTransaction {
	resp := kmsg.NewAddPartitionsToTxnResponseTransaction()
	resp.TransactionalID = t.TransactionalID
	var tps []storage.TopicPartition
	bad := false
	for _, topic := range t.Topics {
		rt := kmsg.NewAddPartitionsToTxnResponseTransactionTopic()
		rt.Topic = topic.Topic
		known, refused := s.txnTopic(r, topic.Topic)
		for _, p := range topic.Partitions {
			rp := kmsg.NewAddPartitionsToTxnResponseTransactionTopicPartition()
			rp.Partition = p
			switch {
			case refused != nil:
				rp.ErrorCode = refused.Code
			case p < 0 || p >= known.Partitions:
				rp.ErrorCode = kerr.UnknownTopicOrPartition.Code
			}
			bad = bad || rp.ErrorCode != 0
			tps = append(tps, storage.TopicPartition{Topic: topic.Topic, Partition: p})
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	each := func(f func(tp storage.TopicPartition, code *int16)) {
		for i := range resp.Topics {
			topic := &resp.Topics[i]
			for j := range topic.Partitions {
				f(storage.TopicPartition{Topic: topic.Topic, Partition: topic.Partitions[j].Partition}, &topic.Partitions[j].ErrorCode)
			}
		}
	}
	all := func(code int16) { each(func(_ storage.TopicPartition, c *int16) { *c = code }) }
	switch {
	case r.header.version < 4 && !s.mayTxn(r, kmsg.ACLOperationWrite, t.TransactionalID):
		all(kerr.TransactionalIDAuthorizationFailed.Code)
	case bad:
		each(func(_ storage.TopicPartition, c *int16) {
			if *c == 0 {
				*c = kerr.OperationNotAttempted.Code
			}
		})
	case t.TransactionalID == "":
		all(kerr.InvalidRequest.Code)
	case t.VerifyOnly:
		txn, err := s.verified(t)
		each(func(tp storage.TopicPartition, c *int16) {
			switch {
			case err != nil:
				*c = err.Code
			case slices.Contains(txn.Partitions, tp):
			case r.header.version < 5:
				*c = kerr.InvalidTxnState.Code
			default:
				*c = kerr.TransactionAbortable.Code
			}
		})
	default:
		err := s.log.AddPartitions(r.ctx, t.TransactionalID, t.ProducerID, t.ProducerEpoch, tps)
		all(s.fenced(r, err, 2))
	}
	return resp
}

// txnTopic finds a topic that the connection may write to; brokers, as which
// versions from 4 on speak, may.
func (s *Server) txnTopic(r *request, name string) (storage.Topic, *kerr.Error) {
	if r.header.version < 4 && !s.allowed(r.conn, kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, name) {
		return storage.Topic{}, kerr.TopicAuthorizationFailed
	}
	t, ok := s.log.Topic(name)
	if !ok {
		return t, kerr.UnknownTopicOrPartition
	}
	return t, nil
}

// verified finds the transaction of a producer.
func (s *Server) verified(t kmsg.AddPartitionsToTxnRequestTransaction) (storage.Transaction, *kerr.Error) {
	txn, ok := s.log.Transaction(t.TransactionalID)
	switch {
	case !ok || txn.ProducerID != t.ProducerID:
		return txn, kerr.InvalidProducerIDMapping
	case txn.Epoch != t.ProducerEpoch:
		return txn, kerr.ProducerFenced
	}
	return txn, nil
}
