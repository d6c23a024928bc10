package conformance

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ProduceResponse: base offset, time of the append (-1 with CreateTime) and log
// start offset, in every version that is served.
func TestProduceAllVersions(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	r := apiVersions(t)[0]
	for version := max(r[0], 3); version <= r[1] && version <= 13; version++ {
		p := produceTo(w, version, tp, 0, "", batch{records: values("a", "b")}.bytes())
		must(t, "produce", p.ErrorCode)
		want := int64(version-max(r[0], 3)) * 2
		if p.BaseOffset != want || p.LogAppendTime != -1 || version >= 5 && p.LogStartOffset != 0 {
			t.Errorf("v%d: base offset %d, want %d; append time %d, log start %d", version, p.BaseOffset, want, p.LogAppendTime, p.LogStartOffset)
		}
	}
}

// ProduceRequest.Acks: 0 is answered by nothing, 1 and -1 by the offset, others
// are invalid.
func TestProduceAcks(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	req := produceRequest(9, tp, 0, "", 0, batch{records: values("silent")}.bytes())
	w.send(9, req)
	ask[*kmsg.ApiVersionsResponse](w, 3, apiVersionsRequest())
	eventually(t, "the record", func() bool { return len(readAll(t, w, tp, 0, 0, false)) == 1 })
	for _, acks := range []int16{1, -1} {
		p := produced(w, ask[*kmsg.ProduceResponse](w, 9, produceRequest(9, tp, 0, "", acks, batch{records: values("a")}.bytes())))
		code(t, fmt.Sprint("acks ", acks), p.ErrorCode, nil)
	}
	p := produced(w, ask[*kmsg.ProduceResponse](w, 9, produceRequest(9, tp, 0, "", 2, batch{records: values("a")}.bytes())))
	code(t, "acks 2", p.ErrorCode, kerr.InvalidRequiredAcks)
	if n := len(readAll(t, w, tp, 0, 0, false)); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
}

// With acks 0 an error ends the connection: there is no other way to tell.
func TestProduceWithoutAcksEndsTheConnectionOnError(t *testing.T) {
	w := dial(t)
	w.send(9, produceRequest(9, topic{name: name(t, "absent")}, 0, "", 0, batch{records: values("a")}.bytes()))
	w.closed("acks 0 to a topic that does not exist")
}

// Produce to what does not exist.
func TestProduceToUnknownTopics(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	b := batch{records: values("a")}.bytes()
	code(t, "topic", produceTo(w, 9, topic{name: name(t, "absent")}, 0, "", b).ErrorCode, kerr.UnknownTopicOrPartition)
	code(t, "partition", produceTo(w, 9, tp, 1, "", b).ErrorCode, kerr.UnknownTopicOrPartition)
	code(t, "negative partition", produceTo(w, 9, tp, -1, "", b).ErrorCode, kerr.UnknownTopicOrPartition)
	if apiVersions(t)[0][1] >= 13 {
		// KIP-516.
		code(t, "id", produceTo(w, 13, topic{id: [16]byte{1, 2, 3}}, 0, "", b).ErrorCode, kerr.UnknownTopicID)
	}
}

// A batch is checked before anything of it is kept: error codes of the protocol
// guide and LogValidator's conditions.
func TestProduceRefusesBadBatches(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1, "max.message.bytes=2000")
	good := batch{records: values("a", "b", "c")}.bytes()
	change := func(at int, v byte) []byte {
		b := slices.Clone(good)
		b[at] ^= v
		return b
	}
	resealed := func(at int, v ...byte) []byte {
		b := slices.Clone(good)
		copy(b[at:], v)
		return seal(b)
	}
	for what, c := range map[string]struct {
		b    []byte
		want *kerr.Error
	}{
		"flipped bit in the records":        {change(len(good)-2, 1), kerr.CorruptMessage},
		"flipped bit in the CRC":            {change(18, 1), kerr.CorruptMessage},
		"flipped bit in the header":         {change(30, 1), kerr.CorruptMessage},
		"too large":                         {batch{records: values(strings.Repeat("x", 2000))}.bytes(), kerr.MessageTooLarge},
		"count of records above the truth":  {batch{records: values("a"), claim: 2}.bytes(), kerr.InvalidRecord},
		"control batch":                     {batch{records: values("a"), attributes: 1 << 5, producer: 1}.bytes(), kerr.InvalidRecord},
		"two batches":                       {append(slices.Clone(good), good...), kerr.InvalidRecord},
		"last offset delta that is another": {resealed(23, 0, 0, 0, 9), kerr.InvalidRecord},
		"time of next year":                 {batch{records: values("a"), time: time.Now().AddDate(1, 0, 0).UnixMilli()}.bytes(), kerr.InvalidTimestamp},
	} {
		code(t, what, produceTo(w, 9, tp, 0, "", c.b).ErrorCode, c.want)
	}
	if rs := readAll(t, w, tp, 0, 0, false); len(rs) != 0 {
		t.Errorf("kept %v", rs)
	}
	must(t, "a good one after them", produceTo(w, 9, tp, 0, "", good).ErrorCode)
}

// Garbage in place of a batch is refused in one of the ways that Apache Kafka
// has for it, and the broker goes on.
func TestProduceSurvivesGarbage(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	good := batch{records: values("a", "b", "c")}.bytes()
	long := slices.Clone(good)
	binary.BigEndian.PutUint32(long[8:], 0x7fffffff)
	short := slices.Clone(good)
	binary.BigEndian.PutUint32(short[8:], 1)
	negative := slices.Clone(good)
	binary.BigEndian.PutUint32(negative[8:], 0xffffffff)
	counts := slices.Clone(good)
	binary.BigEndian.PutUint32(counts[57:], 0x7fffffff)
	magic := slices.Clone(good)
	magic[16] = 7
	old := slices.Clone(good)
	old[16] = 1
	for what, b := range map[string][]byte{
		"cut short": good[:len(good)-4], "cut in the header": good[:30], "nothing": {}, "one byte": {1},
		"length above": long, "length below": short, "negative length": negative, "absurd count": seal(counts),
		"unknown magic": magic, "magic 1": old, "noise": bytes.Repeat([]byte{0xa5}, 300), "zeros": make([]byte, 300),
	} {
		w := dial(t)
		req := produceRequest(9, tp, 0, "", -1, b)
		id := w.send(9, req)
		got, body, err := w.frame(patience)
		if err != nil {
			continue // closed
		}
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		resp.SetVersion(9)
		if err := resp.ReadFrom(body[1:]); err != nil || got != id {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if p := produced(w, resp); p.ErrorCode == 0 {
			t.Errorf("%s: taken at offset %d", what, p.BaseOffset)
		}
	}
	if rs := readAll(t, w, tp, 0, 0, false); len(rs) != 0 {
		t.Errorf("kept %v", rs)
	}
}

// A compacted topic takes no record without a key: TopicConfig cleanup.policy,
// LogValidator.
func TestProduceToCompactedTopicWantsKeys(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1, "cleanup.policy=compact")
	p := produceTo(w, 9, tp, 0, "", batch{records: []record{{key: "k", value: "v"}, {noKey: true, value: "v"}}}.bytes())
	code(t, "record without a key", p.ErrorCode, kerr.InvalidRecord)
	// KIP-467: which record it was.
	if len(p.ErrorRecords) != 1 || p.ErrorRecords[0].RelativeOffset != 1 {
		t.Errorf("record errors %v, want one of record 1", p.ErrorRecords)
	}
	must(t, "with a key", produceTo(w, 9, tp, 0, "", batch{records: values("v")}.bytes()).ErrorCode)
}

// message.timestamp.type=LogAppendTime: the broker's clock goes into batch and
// response (KIP-32).
func TestProduceLogAppendTime(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1, "message.timestamp.type=LogAppendTime")
	before := time.Now().UnixMilli()
	p := produceTo(w, 9, tp, 0, "", batch{records: values("a", "b"), time: 1000}.bytes())
	after := time.Now().UnixMilli()
	must(t, "produce", p.ErrorCode)
	if p.LogAppendTime < before || p.LogAppendTime > after {
		t.Errorf("append time %d, want %d to %d", p.LogAppendTime, before, after)
	}
	rs := readAll(t, w, tp, 0, 0, false)
	if len(rs) != 2 || !rs[0].appendTime || rs[0].time != p.LogAppendTime || rs[1].time != p.LogAppendTime {
		t.Errorf("records %+v", rs)
	}
}

// Batches are kept as they came, whatever the codec (compression.type=producer).
func TestProduceKeepsCompressedBatches(t *testing.T) {
	w := dial(t)
	for _, codec := range codecs {
		tp := newTopic(t, w, 1)
		p := client(t, kgo.ProducerBatchCompression(codec.kgo), kgo.DefaultProduceTopic(tp.name), kgo.ProducerLinger(50*time.Millisecond))
		var rs []*kgo.Record
		for i := range 200 {
			rs = append(rs, &kgo.Record{Key: []byte("k"), Value: fmt.Appendf(nil, "value %d %s", i, strings.Repeat("x", 50))})
		}
		if err := p.ProduceSync(within(t), rs...).FirstErr(); err != nil {
			t.Fatalf("%s: %v", codec.name, err)
		}
		consumer := client(t, kgo.ConsumeTopics(tp.name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		got := consume(t, consumer, 200)
		for i, r := range got {
			if want := rs[i]; !bytes.Equal(r.Value, want.Value) || r.Offset != int64(i) || r.Timestamp.UnixMilli() != want.Timestamp.UnixMilli() {
				t.Errorf("%s: record %d: %d %s %v", codec.name, i, r.Offset, r.Value, r.Timestamp)
				break
			}
		}
	}
}

// compression.type of the topic is the broker's affair: consumers read the same.
func TestTopicCompressionType(t *testing.T) {
	w := dial(t)
	for _, kind := range []string{"uncompressed", "gzip", "zstd"} {
		tp := newTopic(t, w, 1, "compression.type="+kind)
		p := client(t, kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.DefaultProduceTopic(tp.name))
		if err := p.ProduceSync(within(t), kgo.StringRecord(strings.Repeat("x", 1000))).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if got := readAll2(t, tp, 0); len(got) != 1 || len(got[0].Value) != 1000 {
			t.Errorf("%s: %d records", kind, len(got))
		}
	}
}

func consume(t testing.TB, cl *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	ctx := within(t)
	var out []*kgo.Record
	for len(out) < n {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatalf("%d of %d records: %v", len(out), n, err)
		}
		fs.EachError(func(topic string, p int32, err error) { t.Errorf("%s %d: %v", topic, p, err) })
		out = append(out, fs.Records()...)
	}
	return out
}

func initProducer(w *wire, version int16, txnID string, timeout time.Duration, id int64, epoch int16) *kmsg.InitProducerIDResponse {
	w.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	if txnID != "" {
		req.TransactionalID = &txnID
	}
	req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = int32(timeout.Milliseconds()), id, epoch
	return ask[*kmsg.InitProducerIDResponse](w, version, req)
}

// newProducer returns a producer id without transactions.
func newProducer(t testing.TB, w *wire) int64 {
	t.Helper()
	var resp *kmsg.InitProducerIDResponse
	must(t, "InitProducerId", settled(t, func() int16 {
		resp = initProducer(w, 4, "", time.Minute, -1, -1)
		return resp.ErrorCode
	}))
	return resp.ProducerID
}

// KIP-98, "Idempotent producer guarantees": a batch sent again is answered with
// its first offset and kept once; the last five are remembered (KAFKA-5494).
func TestIdempotentDuplicatesAreKeptOnce(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	pid := newProducer(t, w)
	var sent [][]byte
	for i := range 6 {
		sent = append(sent, batch{producer: pid, seq: int32(i) * 2, records: values("a", "b")}.bytes())
		p := produceTo(w, 9, tp, 0, "", sent[i])
		must(t, "produce", p.ErrorCode)
		if p.BaseOffset != int64(i)*2 {
			t.Fatalf("batch %d at %d", i, p.BaseOffset)
		}
	}
	for i := 1; i < 6; i++ {
		p := produceTo(w, 9, tp, 0, "", sent[i])
		if p.ErrorCode != 0 || p.BaseOffset != int64(i)*2 {
			t.Errorf("batch %d again: %v, offset %d", i, kerr.ErrorForCode(p.ErrorCode), p.BaseOffset)
		}
	}
	code(t, "one that is forgotten", produceTo(w, 9, tp, 0, "", sent[0]).ErrorCode, kerr.OutOfOrderSequenceNumber)
	if n := len(readAll(t, w, tp, 0, 0, false)); n != 12 {
		t.Errorf("%d records, want 12", n)
	}
}

// KIP-98: the sequence has no gaps; a first batch may have any (KIP-360).
func TestIdempotentSequenceGaps(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 2)
	pid := newProducer(t, w)
	put := func(partition, seq int32, epoch int16, records ...string) kmsg.ProduceResponseTopicPartition {
		return produceTo(w, 9, tp, partition, "", batch{producer: pid, epoch: epoch, seq: seq, records: values(records...)}.bytes())
	}
	must(t, "first", put(0, 0, 0, "a", "b").ErrorCode)
	code(t, "gap", put(0, 3, 0, "c").ErrorCode, kerr.OutOfOrderSequenceNumber)
	code(t, "overlap", put(0, 1, 0, "b", "c").ErrorCode, kerr.OutOfOrderSequenceNumber)
	must(t, "next", put(0, 2, 0, "c").ErrorCode)
	must(t, "another partition counts for itself", put(1, 0, 0, "a").ErrorCode)
	code(t, "new epoch that does not begin at 0", put(0, 3, 1, "d").ErrorCode, kerr.OutOfOrderSequenceNumber)
	must(t, "new epoch", put(0, 0, 1, "d").ErrorCode)
	code(t, "old epoch", put(0, 3, 0, "e").ErrorCode, kerr.InvalidProducerEpoch)
	if got, want := valuesOf(readAll(t, w, tp, 0, 0, false)), []string{"a", "b", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("records %v", got)
	}

	other := newProducer(t, w)
	must(t, "unknown producer in the middle of its sequence",
		produceTo(w, 9, tp, 0, "", batch{producer: other, seq: 77, records: values("x")}.bytes()).ErrorCode)
	code(t, "gap after it", produceTo(w, 9, tp, 0, "", batch{producer: other, seq: 79, records: values("x")}.bytes()).ErrorCode, kerr.OutOfOrderSequenceNumber)
}

// KIP-98: the sequence goes from the largest 32-bit number to 0.
func TestIdempotentSequenceWrapsRound(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	pid := newProducer(t, w)
	put := func(seq int32, records ...string) int16 {
		return produceTo(w, 9, tp, 0, "", batch{producer: pid, seq: seq, records: values(records...)}.bytes()).ErrorCode
	}
	must(t, "first", put(math.MaxInt32-2, "a", "b"))
	must(t, "across the end", put(math.MaxInt32, "c", "d", "e"))
	must(t, "after it", put(2, "f"))
	code(t, "gap after it", put(4, "g"), kerr.OutOfOrderSequenceNumber)
	p := produceTo(w, 9, tp, 0, "", batch{producer: pid, seq: math.MaxInt32, records: values("c", "d", "e")}.bytes())
	if p.ErrorCode != 0 || p.BaseOffset != 2 {
		t.Errorf("duplicate across the end: %v at %d", kerr.ErrorForCode(p.ErrorCode), p.BaseOffset)
	}
}

// A producer's sequence outlives topics of the same name.
func TestIdempotentSequenceEndsWithTheTopic(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	pid := newProducer(t, w)
	must(t, "first", produceTo(w, 9, tp, 0, "", batch{producer: pid, seq: 0, records: values("a")}.bytes()).ErrorCode)
	deleteTopic(t, w, tp.name)
	again := recreate(t, w, tp.name, 1)
	p := produceTo(w, 9, again, 0, "", batch{producer: pid, seq: 0, records: values("b")}.bytes())
	if p.ErrorCode != 0 || p.BaseOffset != 0 {
		t.Errorf("%v at %d", kerr.ErrorForCode(p.ErrorCode), p.BaseOffset)
	}
}

// A client that has several batches under way gets each acknowledged once, in
// order, by franz-go's idempotent producer.
func TestManyProducersAtOnce(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 3)
	const producers, each = 4, 500
	done := make(chan error, producers)
	for i := range producers {
		cl := client(t, kgo.DefaultProduceTopic(tp.name), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.MaxBufferedRecords(100))
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			errs := make(chan error, each)
			for n := range each {
				cl.Produce(ctx, &kgo.Record{Key: fmt.Append(nil, i, "-", n%7), Value: fmt.Append(nil, i, " ", n)}, func(_ *kgo.Record, err error) { errs <- err })
			}
			var first error
			for range each {
				if err := <-errs; err != nil && first == nil {
					first = err
				}
			}
			done <- first
		}()
	}
	for range producers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	last := map[string]int{}
	total := 0
	for p := range int32(3) {
		for _, r := range readAll2(t, tp, p) {
			total++
			var i, n int
			fmt.Sscan(string(r.Value), &i, &n)
			if before, ok := last[string(r.Key)]; ok && n <= before {
				t.Fatalf("key %s: %d after %d", r.Key, n, before)
			}
			last[string(r.Key)] = n
		}
	}
	if total != producers*each {
		t.Errorf("%d records, want %d", total, producers*each)
	}
}

// readAll2 reads a partition with a client, compressed batches included.
func readAll2(t testing.TB, tp topic, partition int32) []*kgo.Record {
	t.Helper()
	end := listOffset(dial(t), 7, tp, partition, -1, false).Offset
	cl := client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{tp.name: {partition: kgo.NewOffset().AtStart()}}))
	var out []*kgo.Record
	if end > 0 {
		out = consume(t, cl, int(end))
	}
	return out
}
