package broker

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchRequest asks for partitions of one topic from the offsets given.
func fetchRequest(topic string, offsets ...int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.MaxWaitMillis = 1, 1<<20, 0
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	for i, offset := range offsets {
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = int32(i), offset, 1<<20
		rt.Partitions = append(rt.Partitions, rp)
	}
	if topic != "" {
		req.Topics = append(req.Topics, rt)
	}
	return req
}

// produce appends a batch by a connection of its own.
func produce(t testing.TB, s *Server, topic string, partition int32, values ...string) {
	t.Helper()
	w := dial(t, s)
	defer w.nc.Close()
	got := produced(t, ask[*kmsg.ProduceResponse](w, produceRequest(topic, partition, -1, recordBatch(values...)), 9))
	if got.ErrorCode != 0 {
		t.Fatalf("produce: error %d", got.ErrorCode)
	}
}

// partition returns what a response says of a partition; nil is nothing.
func partition(resp *kmsg.FetchResponse, n int32) *kmsg.FetchResponseTopicPartition {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.Partition == n {
				return p
			}
		}
	}
	return nil
}

func TestFetchWaitsForRecordsAndNoLonger(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	w := dial(t, s)
	req := fetchRequest("events", 0)
	req.MaxWaitMillis = 15_000
	req.SetVersion(12)
	w.send(req)
	produce(t, s, "events", 0, "a")
	began := time.Now()
	got := partition(w.receive(req).(*kmsg.FetchResponse), 0)
	if got == nil || len(got.RecordBatches) == 0 || got.HighWatermark != 1 {
		t.Errorf("got %+v", got)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	// Nothing more comes, so the time runs out.
	req = fetchRequest("events", 1)
	req.MaxWaitMillis = 50
	began = time.Now()
	got = partition(ask[*kmsg.FetchResponse](w, req, 12), 0)
	if got == nil || got.ErrorCode != 0 || len(got.RecordBatches) != 0 || got.HighWatermark != 1 {
		t.Errorf("got %+v", got)
	}
	if d := time.Since(began); d < 50*time.Millisecond {
		t.Errorf("it took %v", d)
	}
}

func TestFetchWaitsForMinBytes(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 2)
	one := len(recordBatch("a"))
	w := dial(t, s)
	req := fetchRequest("events", 0, 0)
	req.MaxWaitMillis, req.MinBytes = 15_000, int32(3*one)
	req.SetVersion(12)
	w.send(req)
	produce(t, s, "events", 0, "a")
	produce(t, s, "events", 1, "a")
	produce(t, s, "events", 0, "a")
	resp := w.receive(req).(*kmsg.FetchResponse)
	if n := len(partition(resp, 0).RecordBatches) + len(partition(resp, 1).RecordBatches); n != 3*one {
		t.Errorf("got %d bytes, want %d", n, 3*one)
	}
}

func TestFetchGivesAtLeastOneBatchAndNoMoreThanItsLimits(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 2)
	for range 3 {
		produce(t, s, "events", 0, "a")
		produce(t, s, "events", 1, "a")
	}
	one := len(recordBatch("a"))
	w := dial(t, s)
	for name, c := range map[string]struct{ all, each, first, second int }{
		"one byte":      {1, 1, one, 0},
		"nothing":       {0, 0, one, 0},
		"a part of two": {one + 1, 1 << 20, one, 0},
		"two and one":   {3 * one, 2 * one, 2 * one, one},
		"everything":    {1 << 20, 1 << 20, 3 * one, 3 * one},
	} {
		req := fetchRequest("events", 0, 0)
		req.MaxBytes = int32(c.all)
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].PartitionMaxBytes = int32(c.each)
		}
		resp := ask[*kmsg.FetchResponse](w, req, 12)
		first, second := len(partition(resp, 0).RecordBatches), len(partition(resp, 1).RecordBatches)
		if first != c.first || second != c.second {
			t.Errorf("%s: got %d and %d bytes, want %d and %d", name, first, second, c.first, c.second)
		}
	}
}

func TestFetchErrorsAreTheirPartitionsAloneAndDoNotWait(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	ahead := fetchRequest("events", 0)
	ahead.Topics[0].Partitions[0].CurrentLeaderEpoch = 3
	for name, c := range map[string]struct {
		req     *kmsg.FetchRequest
		version int16
		want    *kerr.Error
	}{
		"beyond the end":     {fetchRequest("events", 5), 12, kerr.OffsetOutOfRange},
		"negative offset":    {fetchRequest("events", -5), 4, kerr.OffsetOutOfRange},
		"unknown topic":      {fetchRequest("none", 0), 11, kerr.UnknownTopicOrPartition},
		"unknown id":         {fetchRequest("events", 0), 13, kerr.UnknownTopicID},
		"epoch to come":      {ahead, 12, kerr.UnknownLeaderEpoch},
		"unknown partition":  {fetchRequest("events", 0, 0), 12, kerr.UnknownTopicOrPartition},
		"nothing and no one": {fetchRequest(""), 12, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c.req.MaxWaitMillis = 10_000
			began := time.Now()
			resp := ask[*kmsg.FetchResponse](dial(t, s), c.req, c.version)
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
			if c.want == nil {
				return
			}
			last := resp.Topics[0].Partitions[len(resp.Topics[0].Partitions)-1]
			if last.ErrorCode != c.want.Code || last.HighWatermark != -1 {
				t.Errorf("got %v, high watermark %d", kerr.ErrorForCode(last.ErrorCode), last.HighWatermark)
			}
		})
	}
}

func TestFetchByTopicID(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	produce(t, s, "events", 0, "a")
	req := fetchRequest("events", 0)
	req.Topics[0].TopicID = topicID(t, s, "events")
	for version := int16(13); version <= 17; version++ {
		resp := ask[*kmsg.FetchResponse](dial(t, s), req, version)
		if len(resp.Topics) != 1 || resp.Topics[0].TopicID != req.Topics[0].TopicID || len(partition(resp, 0).RecordBatches) == 0 {
			t.Errorf("version %d: got %+v", version, resp)
		}
	}
}

func TestRequestsBehindAWaitingFetchAreServedInOrder(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	w := dial(t, s)
	fetch := fetchRequest("events", 0)
	fetch.MaxWaitMillis = 15_000
	fetch.SetVersion(12)
	w.send(fetch)
	// This produce is what the fetch waits for, so it is served before it.
	req := produceRequest("events", 0, -1, recordBatch("a"))
	req.SetVersion(9)
	w.send(req)
	versions := kmsg.NewPtrApiVersionsRequest()
	w.send(versions)
	for want := int32(1); want <= 3; want++ {
		if id, _ := w.frame(); id != want {
			t.Errorf("response %d came as number %d", id, want)
		}
	}
}

func TestFetchMemoryComesBack(t *testing.T) {
	const budget = 16 << 20
	s := start(t, Options{MaxFetchBytes: budget})
	createTopic(t, s, "events", 1)
	produce(t, s, "events", 0, string(make([]byte, 500_000)))
	for range 20 {
		w := dial(t, s)
		if n := len(partition(ask[*kmsg.FetchResponse](w, fetchRequest("events", 0), 12), 0).RecordBatches); n < 500_000 {
			t.Fatalf("got %d bytes", n)
		}
		// This one is never read.
		w.send(fetchRequest("events", 0))
		w.nc.Close()
	}
	eventually(t, "the budget to be whole", func() bool {
		s.fetches.mu.Lock()
		defer s.fetches.mu.Unlock()
		return s.fetches.free == budget
	})
}

// eventually waits for what other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
