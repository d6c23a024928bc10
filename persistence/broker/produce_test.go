package broker

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// recordBatch encodes values as one record batch, compressed with nothing.
func recordBatch(values ...string) []byte {
	var records []byte
	for i, v := range values {
		r := kmsg.Record{OffsetDelta: int32(i), Value: []byte(v)}
		body := r.AppendTo(nil)[1:] // without the length, which is 0 and so one byte
		records = kbin.AppendVarint(records, int32(len(body)))
		records = append(records, body...)
	}
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(len(values) - 1),
		FirstTimestamp: 1000, MaxTimestamp: 1000, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: int32(len(values)), Records: records,
	}
	return sealed(b.AppendTo(nil))
}

// sealed puts the right length and CRC into a batch.
func sealed(b []byte) []byte {
	binary.BigEndian.PutUint32(b[batchLength:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func produceRequest(topic string, partition int32, acks int16, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 10_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, batch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func produced(t testing.TB, resp *kmsg.ProduceResponse) *kmsg.ProduceResponseTopicPartition {
	t.Helper()
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		t.Fatalf("got %+v", resp)
	}
	return &resp.Topics[0].Partitions[0]
}

func TestRecordsComeBackAsTheyWereProduced(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 2)
	cl := client(t, s, kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	const n = 1000
	for i := range n {
		r := &kgo.Record{Topic: "events", Partition: int32(i % 2), Key: []byte("k"), Value: fmt.Appendf(nil, "%d", i),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}}
		cl.Produce(bounded(t), r, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(bounded(t)); err != nil {
		t.Fatal(err)
	}
	next := [2]int{0, 1}
	for got := 0; got < n; {
		fetches := cl.PollFetches(bounded(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got++
			if want := fmt.Sprint(next[r.Partition]); string(r.Value) != want || string(r.Key) != "k" || len(r.Headers) != 1 {
				t.Errorf("partition %d: got %s=%s, want %s", r.Partition, r.Key, r.Value, want)
			}
			next[r.Partition] += 2
		})
	}
}

func TestProduceErrorsAreTheirPartitionsAlone(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	id := topicID(t, s, "events")
	damaged := recordBatch("a")
	damaged[len(damaged)-1] ^= 1
	oldFormat := sealed(recordBatch("a"))
	oldFormat[16] = 1
	zstd := recordBatch("a")
	zstd[batchAttributes+1] |= 4
	for name, c := range map[string]struct {
		req     *kmsg.ProduceRequest
		version int16
		want    *kerr.Error
	}{
		"acks 1":             {produceRequest("events", 0, 1, recordBatch("a")), 9, nil},
		"acks all":           {produceRequest("events", 0, -1, recordBatch("a", "b")), 3, nil},
		"acks 2":             {produceRequest("events", 0, 2, recordBatch("a")), 9, kerr.InvalidRequiredAcks},
		"unknown topic":      {produceRequest("none", 0, -1, recordBatch("a")), 9, kerr.UnknownTopicOrPartition},
		"unknown partition":  {produceRequest("events", 7, -1, recordBatch("a")), 9, kerr.UnknownTopicOrPartition},
		"negative partition": {produceRequest("events", -1, -1, recordBatch("a")), 9, kerr.UnknownTopicOrPartition},
		"wrong CRC":          {produceRequest("events", 0, -1, damaged), 9, kerr.CorruptMessage},
		"no bytes":           {produceRequest("events", 0, -1, nil), 9, kerr.CorruptMessage},
		"a few bytes":        {produceRequest("events", 0, -1, []byte("abc")), 9, kerr.CorruptMessage},
		"old zstd client":    {produceRequest("events", 0, -1, zstd), 6, kerr.UnsupportedCompressionType},
		"unknown id":         {withID(produceRequest("", 0, -1, recordBatch("a")), [16]byte{1}), 13, kerr.UnknownTopicID},
		"by id":              {withID(produceRequest("", 0, -1, recordBatch("a")), id), 13, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := produced(t, ask[*kmsg.ProduceResponse](dial(t, s), c.req, c.version))
			want := int16(0)
			if c.want != nil {
				want = c.want.Code
			}
			if got.ErrorCode != want {
				t.Errorf("got %v", kerr.ErrorForCode(got.ErrorCode))
			}
			if ok := got.BaseOffset >= 0; ok != (want == 0) {
				t.Errorf("base offset %d with error %d", got.BaseOffset, got.ErrorCode)
			}
		})
	}
}

func withID(req *kmsg.ProduceRequest, id [16]byte) *kmsg.ProduceRequest {
	req.Topics[0].TopicID = id
	return req
}

func topicID(t testing.TB, s *Server, name string) [16]byte {
	t.Helper()
	topic, ok := s.log.Topic(name)
	if !ok {
		t.Fatalf("no topic %s", name)
	}
	return topic.ID
}

func TestProduceWithoutAcksHasNoResponse(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	w := dial(t, s)
	req := produceRequest("events", 0, 0, recordBatch("a"))
	req.SetVersion(9)
	w.send(req)
	// The next response is that of the next request.
	got := produced(t, ask[*kmsg.ProduceResponse](w, produceRequest("events", 0, 1, recordBatch("b")), 9))
	if got.BaseOffset != 1 {
		t.Errorf("got offset %d, want 1", got.BaseOffset)
	}
	// An error ends the connection, which is all that can be said.
	bad := produceRequest("none", 0, 0, recordBatch("a"))
	bad.SetVersion(9)
	w.send(bad)
	if n := w.ended(); n != 0 {
		t.Errorf("%d bytes came", n)
	}
}

func TestPipelinedProducesKeepTheirOrder(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	w := dial(t, s)
	const n = 300 // more than may be under way
	var all []byte
	for i := range n {
		req := produceRequest("events", 0, -1, recordBatch(fmt.Sprint(i)))
		req.SetVersion(9)
		all = w.append(all, req)
	}
	go w.nc.Write(all)
	req := produceRequest("", 0, 0, nil)
	req.SetVersion(9)
	for i := range n {
		if got := produced(t, w.receive(req).(*kmsg.ProduceResponse)); got.ErrorCode != 0 || got.BaseOffset != int64(i) {
			t.Fatalf("response %d: offset %d, error %d", i, got.BaseOffset, got.ErrorCode)
		}
	}
}

func TestLargeRequestsOfAConnectionAreOneAfterTheOther(t *testing.T) {
	s := start(t, Options{MaxRequestBytes: 1 << 20, MaxInflightBytes: 8 << 20})
	createTopic(t, s, "events", 1)
	w := dial(t, s)
	const n = 10
	req := produceRequest("events", 0, -1, recordBatch(string(make([]byte, 700_000))))
	req.SetVersion(9)
	var all []byte
	for range n {
		all = w.append(all, req)
	}
	go w.nc.Write(all)
	for i := range n {
		if got := produced(t, w.receive(req).(*kmsg.ProduceResponse)); got.ErrorCode != 0 || got.BaseOffset != int64(i) {
			t.Fatalf("response %d: offset %d, error %d", i, got.BaseOffset, got.ErrorCode)
		}
	}
	eventually(t, "the budget to be whole", func() bool {
		s.inflight.mu.Lock()
		defer s.inflight.mu.Unlock()
		return s.inflight.free == s.opts.MaxInflightBytes
	})
}

func TestRequestsAfterProducesSeeWhatWasProduced(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), SyncWrites: true})
	createTopic(t, s, "events", 1)
	w := dial(t, s)
	var all []byte
	const n = 20
	produce := produceRequest("events", 0, -1, recordBatch("a"))
	produce.SetVersion(9)
	for range n {
		all = w.append(all, produce)
	}
	list := kmsg.NewPtrListOffsetsRequest()
	list.SetVersion(5)
	rt := kmsg.NewListOffsetsRequestTopic()
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Timestamp = latestTimestamp
	rt.Topic, rt.Partitions = "events", append(rt.Partitions, rp)
	list.Topics = append(list.Topics, rt)
	w.write(w.append(all, list))
	for range n {
		w.receive(produce)
	}
	if got := w.receive(list).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; got.Offset != n {
		t.Errorf("the end is at %d, want %d", got.Offset, n)
	}
}

func TestProduceWithAbsurdCountsEndsTheConnection(t *testing.T) {
	s := start(t, Options{})
	for name, body := range map[string][]byte{
		"topics":     {0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff},
		"partitions": append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 'a', 0, 1, 0, 0}, make([]byte, 1<<17)...),
		"records":    {0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 'a', 0, 0, 0, 1, 0, 0, 0, 0, 0x7f, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkProduce(body, 3); err == nil {
				t.Error("it was taken")
			}
			w := dial(t, s)
			frame := binary.BigEndian.AppendUint32(nil, uint32(10+len(body)))
			frame = append(frame, 0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff)
			w.write(append(frame, body...))
			if n := w.ended(); n != 0 {
				t.Errorf("%d bytes came", n)
			}
		})
	}
}
