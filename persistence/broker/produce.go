package broker

import (
	"encoding/binary"
	"errors"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// maxProducePartitions bounds the topics and partitions of one request, which
// may be long but has little else than records in it.
const maxProducePartitions = 20_000

var errTooManyPartitions = errors.New("too many topics or partitions in one request")

// checkProduce counts what a request names before room is made for it.
func checkProduce(body []byte, version int16) error {
	r := kbin.Reader{Src: body}
	flexible := version >= 9
	array := func() int32 {
		if flexible {
			return r.CompactArrayLen()
		}
		return r.ArrayLen()
	}
	tags := func() {
		if !flexible {
			return
		}
		n := r.Uvarint()
		for i := uint32(0); i < n && r.Ok(); i++ {
			r.Uvarint()
			r.Span(int(r.Uvarint()))
		}
	}
	if flexible {
		r.CompactNullableBytes()
	} else if n := r.Int16(); n > 0 {
		r.Span(int(n))
	}
	r.Int16()
	r.Int32()
	var count int32
	topics := array()
	for ; topics > 0 && r.Ok(); topics-- {
		switch {
		case version >= 13:
			r.Span(16)
		case flexible:
			r.CompactNullableBytes()
		default:
			r.Span(int(r.Int16()))
		}
		partitions := array()
		count += 1 + max(partitions, 0)
		if count > maxProducePartitions {
			return errTooManyPartitions
		}
		for ; partitions > 0 && r.Ok(); partitions-- {
			r.Int32()
			if flexible {
				r.CompactNullableBytes()
			} else {
				r.NullableBytes()
			}
			tags()
		}
		tags()
	}
	return r.Complete()
}

// produce hands record batches to the storage as they are and answers when
// they are durable. Requests of a connection go there in the order they came.
func (s *Server) produce(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ProduceRequest)
	p := &producing{server: s, request: r, acks: req.Acks, resp: r.response().(*kmsg.ProduceResponse)}
	txnID := ""
	var refused *kerr.Error // all of it
	if req.TransactionID != nil {
		txnID = *req.TransactionID
		if !s.allowed(r.conn, kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTransactionalId, txnID) {
			refused = kerr.TransactionalIDAuthorizationFailed
		}
	}
	if req.Acks < -1 || req.Acks > 1 {
		refused = kerr.InvalidRequiredAcks
	}
	for _, t := range req.Topics {
		name, err := s.producedTopic(r, t.Topic, t.TopicID)
		if refused != nil {
			err = refused
		}
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		rt.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(t.Partitions))
		for i := range t.Partitions {
			rp := &rt.Partitions[i]
			rp.Default()
			rp.Partition, rp.BaseOffset = t.Partitions[i].Partition, -1
			perr := err
			if perr == nil && r.header.version < 7 && usesZstd(t.Partitions[i].Records) {
				perr = kerr.UnsupportedCompressionType
			}
			if perr != nil {
				p.fail(rp, perr.Code)
				continue
			}
			s.metrics.appended.Add(float64(len(t.Partitions[i].Records)))
			p.entries = append(p.entries, storage.Append{
				TopicPartition: storage.TopicPartition{Topic: name, Partition: rp.Partition},
				Batch:          t.Partitions[i].Records,
				TxnID:          txnID,
				Implicit:       r.header.version >= 12,
			})
			p.waiting = append(p.waiting, rp)
		}
		p.resp.Topics = append(p.resp.Topics, rt)
	}
	if len(p.entries) == 0 {
		p.reply()
		return nil, nil
	}
	s.metrics.appends.Add(float64(len(p.entries)))
	s.log.Append(p.entries, p.done)
	return nil, nil
}

// producedTopic says which topic a part of a request is for, and whether it may
// be written.
func (s *Server) producedTopic(r *request, name string, id [16]byte) (string, *kerr.Error) {
	var t storage.Topic
	var known bool
	if r.header.version >= 13 {
		if t, known = s.log.TopicByID(id); !known {
			return "", kerr.UnknownTopicID
		}
		name = t.Name
	}
	if !s.allowed(r.conn, kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, name) {
		return "", kerr.TopicAuthorizationFailed
	}
	if !known {
		if t, known = s.log.Topic(name); !known {
			return "", kerr.UnknownTopicOrPartition
		}
	}
	if want := t.Configs["min.insync.replicas"]; want != "" && want != "1" && r.body.(*kmsg.ProduceRequest).Acks == -1 {
		return "", kerr.NotEnoughReplicas
	}
	return name, nil
}

// producing is a request whose records are on their way to the disk.
type producing struct {
	server  *Server
	request *request
	acks    int16
	resp    *kmsg.ProduceResponse
	entries []storage.Append
	waiting []*kmsg.ProduceResponseTopicPartition // one for each entry
	failed  bool
}

func (p *producing) fail(rp *kmsg.ProduceResponseTopicPartition, code int16) {
	rp.ErrorCode, rp.ErrorMessage = code, message(code)
	p.failed = true
}

// done is called by the storage and does not block.
func (p *producing) done(results []storage.Appended) {
	for i, got := range results {
		rp := p.waiting[i]
		rp.LogStartOffset = got.LogStart
		if got.Err != nil {
			p.fail(rp, p.server.code(got.Err, kmsg.Produce))
			rp.ErrorRecords = withoutKey(got.NoKey)
			continue
		}
		rp.BaseOffset, rp.LogAppendTime = got.Base, got.AppendTime
	}
	p.reply()
}

// withoutKey tells a producer which records a compacted topic has no place for
// (KIP-467), so that it can drop them and send the others again.
func withoutKey(at []int32) []kmsg.ProduceResponseTopicPartitionErrorRecord {
	var out []kmsg.ProduceResponseTopicPartitionErrorRecord
	for _, i := range at {
		e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		e.RelativeOffset, e.ErrorMessage = i, kmsg.StringPtr("a compacted topic takes no record without a key")
		out = append(out, e)
	}
	return out
}

func (p *producing) reply() {
	if p.acks != 0 {
		p.request.reply(p.resp)
		return
	}
	p.request.reply(nil)
	if p.failed {
		// There is no other way to make the producer look again.
		p.request.conn.abort()
	}
}

// Where the fields of a record batch lie.
const (
	batchLength     = 8
	batchAttributes = 21
	batchHeader     = 61
)

// usesZstd reports whether a batch among them is compressed with zstd, which
// clients of before Produce version 7 and Fetch version 10 do not know.
func usesZstd(batches []byte) bool {
	for len(batches) >= batchHeader {
		if binary.BigEndian.Uint16(batches[batchAttributes:])&7 == 4 {
			return true
		}
		n := int64(binary.BigEndian.Uint32(batches[batchLength:])) + 12
		if n > int64(len(batches)) {
			break
		}
		batches = batches[n:]
	}
	return false
}
