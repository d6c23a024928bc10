package broker

import (
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

func (s *Server) describeProducers(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeProducersRequest)
	resp := r.response().(*kmsg.DescribeProducersResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = t.Topic
		may := s.allowed(r.conn, kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, t.Topic)
		for _, p := range t.Partitions {
			rp := kmsg.NewDescribeProducersResponseTopicPartition()
			rp.Partition = p
			if !may {
				rp.ErrorCode = kerr.TopicAuthorizationFailed.Code
			} else {
				producers, err := s.log.Producers(storage.TopicPartition{Topic: t.Topic, Partition: p})
				rp.ErrorCode = s.code(err, kmsg.DescribeProducers)
				for _, a := range producers {
					rp.ActiveProducers = append(rp.ActiveProducers, kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
						ProducerID: a.ID, ProducerEpoch: int32(a.Epoch),
						LastSequence: a.LastSequence, LastTimestamp: a.LastTimestamp,
						CoordinatorEpoch: -1, CurrentTxnStartOffset: a.TxnStart,
					})
				}
			}
			rp.ErrorMessage = message(rp.ErrorCode)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

func (s *Server) describeTransactions(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeTransactionsRequest)
	resp := r.response().(*kmsg.DescribeTransactionsResponse)
	for _, id := range req.TransactionalIDs {
		rs := kmsg.NewDescribeTransactionsResponseTransactionState()
		rs.TransactionalID = id
		txn, ok := s.log.Transaction(id)
		switch {
		case !s.mayTxn(r, kmsg.ACLOperationDescribe, id):
			rs.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
		case id == "":
			rs.ErrorCode = kerr.InvalidRequest.Code
		case !ok:
			rs.ErrorCode = kerr.TransactionalIDNotFound.Code
		default:
			s.describeTransaction(r, txn, &rs)
		}
		resp.TransactionStates = append(resp.TransactionStates, rs)
	}
	return resp, nil
}

func (s *Server) describeTransaction(r *request, txn storage.Transaction, rs *kmsg.DescribeTransactionsResponseTransactionState) {
	rs.State = txn.State
	rs.ProducerID, rs.ProducerEpoch = txn.ProducerID, txn.Epoch
	rs.TimeoutMillis = int32(txn.Timeout.Milliseconds())
	rs.StartTimestamp = -1
	if !txn.Started.IsZero() {
		rs.StartTimestamp = txn.Started.UnixMilli()
	}
	index := make(map[string]int)
	for _, tp := range txn.Partitions {
		i, ok := index[tp.Topic]
		if !ok {
			if !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, tp.Topic) {
				continue
			}
			i = len(rs.Topics)
			index[tp.Topic] = i
			rt := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
			rt.Topic = tp.Topic
			rs.Topics = append(rs.Topics, rt)
		}
		rs.Topics[i].Partitions = append(rs.Topics[i].Partitions, tp.Partition)
	}
}

// transactionStates are those that a filter may name.
var transactionStates = []string{
	"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence",
}

func (s *Server) listTransactions(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ListTransactionsRequest)
	resp := r.response().(*kmsg.ListTransactionsResponse)
	var pattern *regexp.Regexp
	if p := text(req.TransactionalIDPattern); p != "" {
		var err error
		if pattern, err = regexp.Compile("^(?:" + p + ")$"); err != nil {
			resp.ErrorCode = kerr.InvalidRegularExpression.Code
			return resp, nil
		}
	}
	states := 0
	for _, f := range req.StateFilters {
		if slices.Contains(transactionStates, f) {
			states++
		} else {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, f)
		}
	}
	if len(req.StateFilters) > 0 && states == 0 {
		return resp, nil
	}
	now := time.Now()
	running := time.Duration(req.DurationFilterMillis) * time.Millisecond
	for _, txn := range s.log.Transactions() {
		switch {
		case len(req.StateFilters) > 0 && !slices.Contains(req.StateFilters, txn.State),
			len(req.ProducerIDFilters) > 0 && !slices.Contains(req.ProducerIDFilters, txn.ProducerID),
			running > 0 && (txn.Started.IsZero() || now.Sub(txn.Started) <= running),
			pattern != nil && !pattern.MatchString(txn.TxnID),
			!s.mayTxn(r, kmsg.ACLOperationDescribe, txn.TxnID):
			continue
		}
		rs := kmsg.NewListTransactionsResponseTransactionState()
		rs.TransactionalID, rs.ProducerID, rs.TransactionState = txn.TxnID, txn.ProducerID, txn.State
		resp.TransactionStates = append(resp.TransactionStates, rs)
	}
	return resp, nil
}
