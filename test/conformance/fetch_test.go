package conformance

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// put writes one batch of the values and returns its offset.
func put(t testing.TB, w *wire, to topic, partition int32, v ...string) int64 {
	t.Helper()
	p := produceTo(w, 9, to, partition, "", batch{records: values(v...)}.bytes())
	must(t, "produce", p.ErrorCode)
	return p.BaseOffset
}

// FetchResponse: marks and records, in every version that is served; by topic
// id from version 13 on (KIP-516).
func TestFetchAllVersions(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	put(t, w, tp, 0, "a", "b")
	put(t, w, tp, 0, "c")
	r := apiVersions(t)[1]
	for version := max(r[0], 4); version <= min(r[1], 18); version++ {
		p := fetchFrom(w, tp, 0, 1, fetchOptions{version: version})
		got := valuesOf(parse(t, p.RecordBatches))
		if p.ErrorCode != 0 || p.HighWatermark != 3 || p.LastStableOffset != 3 || version >= 5 && p.LogStartOffset != 0 {
			t.Errorf("v%d: %v, high %d, stable %d, start %d", version, kerr.ErrorForCode(p.ErrorCode), p.HighWatermark, p.LastStableOffset, p.LogStartOffset)
		}
		// The batch that holds the offset comes whole.
		if !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("v%d: %v", version, got)
		}
	}
}

// A batch is handed out as it came in, but for its offset and leader epoch
// (Kafka documentation, "Record Batch").
func TestFetchGivesBatchesAsProduced(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	put(t, w, tp, 0, "x")
	b := batch{records: values("a", "b", "c"), time: time.Now().UnixMilli() - 5000}.bytes()
	must(t, "produce", produceTo(w, 9, tp, 0, "", b).ErrorCode)
	got := fetchFrom(w, tp, 0, 1, fetchOptions{}).RecordBatches
	if len(got) != len(b) || !bytes.Equal(got[16:], b[16:]) || got[7] != 1 {
		t.Errorf("got  %x\nsent %x", got, b)
	}
}

// Fetch of what is not there: error codes of the protocol guide.
func TestFetchErrors(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	put(t, w, tp, 0, "a")
	code(t, "topic", fetchFrom(w, topic{name: name(t, "absent")}, 0, 0, fetchOptions{}).ErrorCode, kerr.UnknownTopicOrPartition)
	code(t, "partition", fetchFrom(w, tp, 7, 0, fetchOptions{}).ErrorCode, kerr.UnknownTopicOrPartition)
	code(t, "after the end", fetchFrom(w, tp, 0, 2, fetchOptions{}).ErrorCode, kerr.OffsetOutOfRange)
	code(t, "before the start", fetchFrom(w, tp, 0, -5, fetchOptions{}).ErrorCode, kerr.OffsetOutOfRange)
	code(t, "at the end", fetchFrom(w, tp, 0, 1, fetchOptions{}).ErrorCode, nil)
	// KIP-320.
	code(t, "epoch of the future", fetchFrom(w, tp, 0, 0, fetchOptions{currentEpoch: 9}).ErrorCode, kerr.UnknownLeaderEpoch)
	if apiVersions(t)[1][1] >= 13 {
		code(t, "id", fetchFrom(w, topic{id: [16]byte{1, 2, 3}}, 0, 0, fetchOptions{version: 13}).ErrorCode, kerr.UnknownTopicID)
	}
}

// FetchRequest.MaxWaitMs and MinBytes: with nothing to give, the answer waits
// for as long; it comes as soon as there are the bytes.
func TestFetchLongPoll(t *testing.T) {
	w, producer := dial(t), dial(t)
	tp := newTopic(t, w, 1)
	start := time.Now()
	p := fetchFrom(w, tp, 0, 0, fetchOptions{wait: 300 * time.Millisecond, minBytes: 1})
	if d := time.Since(start); d < 250*time.Millisecond || d > 5*time.Second || len(p.RecordBatches) != 0 {
		t.Errorf("nothing to give: %d bytes after %v", len(p.RecordBatches), d)
	}

	req := fetchRequest(tp, 0, 0, fetchOptions{wait: patience, minBytes: 1})
	id := w.send(12, req)
	put(t, producer, tp, 0, "a")
	resp := w.recv(req, id).(*kmsg.FetchResponse)
	if got := valuesOf(parse(t, resp.Topics[0].Partitions[0].RecordBatches)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%v", got)
	}

	// One batch is not enough; two are.
	req = fetchRequest(tp, 0, 1, fetchOptions{wait: patience, minBytes: 150})
	id = w.send(12, req)
	put(t, producer, tp, 0, "b")
	if _, _, err := w.frame(300 * time.Millisecond); err == nil {
		t.Fatal("answered with fewer bytes than asked for")
	}
	put(t, producer, tp, 0, strings.Repeat("c", 100))
	resp = w.recv(req, id).(*kmsg.FetchResponse)
	if n := len(parse(t, resp.Topics[0].Partitions[0].RecordBatches)); n != 2 {
		t.Errorf("%d records", n)
	}

	// An error does not wait.
	start = time.Now()
	code(t, "out of range", fetchFrom(w, tp, 0, 99, fetchOptions{wait: patience, minBytes: 1}).ErrorCode, kerr.OffsetOutOfRange)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("an error waited %v", d)
	}
}

// FetchRequest.MaxBytes and PartitionMaxBytes; KIP-74: the first batch comes
// however large it is.
func TestFetchBounds(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 2)
	for range 10 {
		put(t, w, tp, 0, strings.Repeat("x", 1000))
		put(t, w, tp, 1, strings.Repeat("y", 1000))
	}
	one := len(batch{records: values(strings.Repeat("x", 1000))}.bytes())
	whole := func(b []byte) int { return len(parse(t, b)) }

	for what, o := range map[string]fetchOptions{"partition": {partMax: 10}, "response": {maxBytes: 10}, "both": {partMax: 1, maxBytes: 1}} {
		if n := whole(fetchFrom(w, tp, 0, 0, o).RecordBatches); n != 1 {
			t.Errorf("bound of the %s below a batch: %d batches, want 1", what, n)
		}
	}
	for what, o := range map[string]fetchOptions{"partition": {partMax: int32(3*one + 10)}, "response": {maxBytes: int32(3*one + 10)}} {
		p := fetchFrom(w, tp, 0, 0, o)
		if n := whole(p.RecordBatches); n < 1 || n > 3 || len(p.RecordBatches) > 3*one+10 {
			t.Errorf("bound of the %s of three batches: %d, %d bytes", what, n, len(p.RecordBatches))
		}
	}
	// Over partitions: only the first of the response may be larger than asked.
	req := fetchRequest(tp, 0, 0, fetchOptions{maxBytes: 10})
	second := req.Topics[0].Partitions[0]
	second.Partition = 1
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, second)
	resp := ask[*kmsg.FetchResponse](w, 12, req)
	total := 0
	for _, p := range resp.Topics[0].Partitions {
		total += whole(p.RecordBatches)
	}
	if total != 1 {
		t.Errorf("%d batches in a response of 10 bytes, want 1", total)
	}
}

// KIP-227: a session remembers partitions; a later fetch is answered with those
// that have changed.
func TestFetchSessions(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 3)
	put(t, w, tp, 0, "a")
	full := func() (int32, *kmsg.FetchRequest) {
		req := fetchRequest(tp, 0, 0, fetchOptions{})
		for p := int32(1); p < 3; p++ {
			rp := req.Topics[0].Partitions[0]
			rp.Partition = p
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, rp)
		}
		req.SessionID, req.SessionEpoch = 0, 0
		resp := ask[*kmsg.FetchResponse](w, 12, req)
		must(t, "full fetch", resp.ErrorCode)
		if resp.SessionID == 0 {
			t.Fatal("no session")
		}
		if n := len(resp.Topics[0].Partitions); n != 3 {
			t.Errorf("full fetch: %d partitions", n)
		}
		return resp.SessionID, req
	}
	id, _ := full()
	step := func(epoch int32, change func(*kmsg.FetchRequest)) *kmsg.FetchResponse {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.SessionID, req.SessionEpoch = 50<<20, id, epoch
		if change != nil {
			change(req)
		}
		return ask[*kmsg.FetchResponse](w, 12, req)
	}
	partitions := func(r *kmsg.FetchResponse) (out []int32) {
		for _, rt := range r.Topics {
			for _, p := range rt.Partitions {
				out = append(out, p.Partition)
			}
		}
		slices.Sort(out)
		return out
	}
	at := func(p int32, offset int64) func(*kmsg.FetchRequest) {
		return func(req *kmsg.FetchRequest) {
			*req = *fetchRequest(tp, p, offset, fetchOptions{})
			req.SessionID, req.SessionEpoch = id, 1
		}
	}
	r := step(1, at(0, 1))
	must(t, "incremental fetch", r.ErrorCode)
	if r.SessionID != id || len(partitions(r)) != 0 {
		t.Errorf("nothing new: session %d, partitions %v", r.SessionID, partitions(r))
	}
	put(t, w, tp, 2, "b")
	r = step(2, nil)
	if !slices.Equal(partitions(r), []int32{2}) {
		t.Errorf("something new in 2: partitions %v", partitions(r))
	}
	// 2 has not been fetched on: it is told again.
	r = step(3, nil)
	if !slices.Equal(partitions(r), []int32{2}) {
		t.Errorf("2 again: partitions %v", partitions(r))
	}
	r = step(4, func(req *kmsg.FetchRequest) {
		ft := kmsg.NewFetchRequestForgottenTopic()
		ft.Topic, ft.Partitions = tp.name, []int32{2}
		req.ForgottenTopics = append(req.ForgottenTopics, ft)
	})
	if len(partitions(r)) != 0 {
		t.Errorf("2 forgotten: partitions %v", partitions(r))
	}
	code(t, "epoch that is past", step(2, nil).ErrorCode, kerr.InvalidFetchSessionEpoch)
	stranger := kmsg.NewPtrFetchRequest()
	stranger.SessionID, stranger.SessionEpoch, stranger.MaxBytes = id^0x55, 1, 1<<20
	code(t, "session that is not there", ask[*kmsg.FetchResponse](w, 12, stranger).ErrorCode, kerr.FetchSessionIDNotFound)
	// A final epoch ends it.
	id, _ = full()
	end := kmsg.NewPtrFetchRequest()
	end.SessionID, end.SessionEpoch, end.MaxBytes = id, -1, 1<<20
	must(t, "end of a session", ask[*kmsg.FetchResponse](w, 12, end).ErrorCode)
	code(t, "session that has ended", step(1, nil).ErrorCode, kerr.FetchSessionIDNotFound)
}

// ListOffsets: timestamps -1 latest, -2 earliest, -3 of the largest timestamp
// (KIP-734), and the first record at or after a time, exactly, within batches
// too.
func TestListOffsets(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	base := time.Now().UnixMilli() - 100_000
	empty := listOffset(w, 7, tp, 0, -1, false)
	if empty.ErrorCode != 0 || empty.Offset != 0 {
		t.Errorf("empty: %+v", empty)
	}
	if p := listOffset(w, 7, tp, 0, -3, false); p.Offset != -1 || p.Timestamp != -1 {
		t.Errorf("largest timestamp of nothing: %d at %d", p.Timestamp, p.Offset)
	}
	for i := range 5 {
		b := batch{records: values("a", "b", "c", "d"), time: base + int64(i)*1000}.bytes()
		must(t, "produce", produceTo(w, 9, tp, 0, "", b).ErrorCode)
	}
	late := batch{records: values("late"), time: base - 500}.bytes()
	must(t, "produce", produceTo(w, 9, tp, 0, "", late).ErrorCode)
	r := apiVersions(t)[2]
	for version := max(r[0], 1); version <= min(r[1], 10); version++ {
		for what, c := range map[string]struct{ at, offset, timestamp int64 }{
			"latest":                {-1, 21, -1},
			"earliest":              {-2, 0, -1},
			"before all":            {base - 1000, 0, base},
			"first":                 {base, 0, base},
			"within a batch":        {base + 2, 2, base + 2},
			"between batches":       {base + 500, 4, base + 1000},
			"within a later batch":  {base + 4003, 19, base + 4003},
			"time of the late one ": {base - 500, 0, base},
			"after all":             {base + 4004, -1, -1},
		} {
			p := listOffset(w, version, tp, 0, c.at, false)
			if p.ErrorCode != 0 || p.Offset != c.offset || p.Timestamp != c.timestamp {
				t.Errorf("v%d: %s: %d (time %d), want %d (%d), %v", version, what, p.Offset, p.Timestamp-base, c.offset, c.timestamp-base, kerr.ErrorForCode(p.ErrorCode))
			}
		}
		if version >= 7 {
			if p := listOffset(w, version, tp, 0, -3, false); p.Offset != 19 || p.Timestamp != base+4003 {
				t.Errorf("v%d: largest timestamp: %d at %d", version, p.Timestamp-base, p.Offset)
			}
		}
	}
	code(t, "partition", listOffset(w, 7, tp, 5, -1, false).ErrorCode, kerr.UnknownTopicOrPartition)
	code(t, "topic", listOffset(w, 7, topic{name: name(t, "absent")}, 0, -1, false).ErrorCode, kerr.UnknownTopicOrPartition)
}

// The time index looks into compressed batches.
func TestListOffsetsByTimeInCompressedBatches(t *testing.T) {
	w := dial(t)
	for _, codec := range codecs {
		tp := newTopic(t, w, 1)
		base := time.Now().UnixMilli() - 100_000
		writeCompressed(t, tp, codec, base, 10)
		for i := range int64(10) {
			if p := listOffset(w, 7, tp, 0, base+i*10-5, false); p.Offset != i || p.Timestamp != base+i*10 {
				t.Errorf("%s: at %d: offset %d, time %d", codec.name, i*10-5, p.Offset, p.Timestamp-base)
			}
		}
	}
}

// OffsetForLeaderEpoch (KIP-320): the end of an epoch is where the log ends or
// the next begins.
func TestOffsetForLeaderEpoch(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	put(t, w, tp, 0, "a", "b")
	get := func(current, epoch, partition int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.ReplicaID = -1
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rt.Topic = tp.name
		rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = partition, current, epoch
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		return ask[*kmsg.OffsetForLeaderEpochResponse](w, 4, req).Topics[0].Partitions[0]
	}
	if p := get(-1, 0, 0); p.ErrorCode != 0 || p.EndOffset != 2 || p.LeaderEpoch != 0 {
		t.Errorf("epoch 0: %+v", p)
	}
	if p := get(-1, 5, 0); p.ErrorCode != 0 || p.EndOffset != -1 || p.LeaderEpoch != -1 {
		t.Errorf("epoch that has not been: %+v", p)
	}
	code(t, "current epoch of the future", get(7, 0, 0).ErrorCode, kerr.UnknownLeaderEpoch)
	code(t, "partition", get(-1, 0, 5).ErrorCode, kerr.UnknownTopicOrPartition)
}

func deleteRecords(w *wire, tp topic, partition int32, before int64) kmsg.DeleteRecordsResponseTopicPartition {
	w.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = tp.name
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = partition, before
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10000
	return ask[*kmsg.DeleteRecordsResponse](w, 2, req).Topics[0].Partitions[0]
}

// DeleteRecords (KIP-107) moves the log's start, within batches too.
func TestDeleteRecords(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	put(t, w, tp, 0, "a", "b", "c")
	put(t, w, tp, 0, "d", "e")
	for what, c := range map[string]struct {
		before int64
		want   *kerr.Error
	}{"beyond the end": {6, kerr.OffsetOutOfRange}, "negative": {-2, kerr.OffsetOutOfRange}} {
		code(t, what, deleteRecords(w, tp, 0, c.before).ErrorCode, c.want)
	}
	code(t, "partition", deleteRecords(w, tp, 3, 0).ErrorCode, kerr.UnknownTopicOrPartition)
	if p := deleteRecords(w, tp, 0, 2); p.ErrorCode != 0 || p.LowWatermark != 2 {
		t.Fatalf("%+v", p)
	}
	code(t, "fetch before the start", fetchFrom(w, tp, 0, 1, fetchOptions{}).ErrorCode, kerr.OffsetOutOfRange)
	p := fetchFrom(w, tp, 0, 2, fetchOptions{})
	if p.ErrorCode != 0 || p.LogStartOffset != 2 {
		t.Errorf("start %d, %v", p.LogStartOffset, kerr.ErrorForCode(p.ErrorCode))
	}
	if got := valuesOf(readAll(t, w, tp, 0, 2, false)); !slices.Equal(got, []string{"c", "d", "e"}) {
		t.Errorf("records %v", got)
	}
	if o := listOffset(w, 7, tp, 0, -2, false).Offset; o != 2 {
		t.Errorf("earliest %d", o)
	}
	if p := produceTo(w, 9, tp, 0, "", batch{records: values("f")}.bytes()); p.LogStartOffset != 2 || p.BaseOffset != 5 {
		t.Errorf("produce: start %d, offset %d", p.LogStartOffset, p.BaseOffset)
	}
	if p := deleteRecords(w, tp, 0, 1); p.ErrorCode != 0 || p.LowWatermark != 2 {
		t.Errorf("back: %+v", p)
	}
	// -1 is the high watermark.
	if p := deleteRecords(w, tp, 0, -1); p.ErrorCode != 0 || p.LowWatermark != 6 {
		t.Errorf("all: %+v", p)
	}
	if o := put(t, w, tp, 0, "g"); o != 6 {
		t.Errorf("next offset %d", o)
	}
	compacted := newTopic(t, w, 1, "cleanup.policy=compact")
	code(t, "compacted topic", deleteRecords(w, compacted, 0, 0).ErrorCode, kerr.PolicyViolation)
}

// A fetch that waits is answered when its topic goes away.
func TestFetchEndsWithItsTopic(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	req := fetchRequest(tp, 0, 0, fetchOptions{wait: 2 * time.Second, minBytes: 1})
	id := w.send(12, req)
	deleteTopic(t, dial(t), tp.name)
	resp := w.recv(req, id).(*kmsg.FetchResponse)
	if len(resp.Topics) == 1 {
		switch c := resp.Topics[0].Partitions[0].ErrorCode; c {
		case 0, kerr.UnknownTopicOrPartition.Code, kerr.NotLeaderForPartition.Code:
		default:
			t.Errorf("%v", kerr.ErrorForCode(c))
		}
	}
	code(t, "afterwards", fetchFrom(w, tp, 0, 0, fetchOptions{}).ErrorCode, kerr.UnknownTopicOrPartition)
}

// KIP-516: a topic that is made again is another one.
func TestFetchByIDOfATopicThatIsMadeAgain(t *testing.T) {
	if apiVersions(t)[1][1] < 13 {
		t.Skip("no fetch by id")
	}
	w := dial(t)
	old := newTopic(t, w, 1)
	put(t, w, old, 0, "old")
	deleteTopic(t, w, old.name)
	again := recreate(t, w, old.name, 1)
	if again.id == old.id {
		t.Fatal("the id is the same")
	}
	code(t, "old id", fetchFrom(w, old, 0, 0, fetchOptions{version: 13}).ErrorCode, kerr.UnknownTopicID)
	put(t, w, again, 0, "new")
	p := fetchFrom(w, again, 0, 0, fetchOptions{version: 13})
	if got := fmt.Sprint(valuesOf(parse(t, p.RecordBatches))); got != "[new]" || p.HighWatermark != 1 {
		t.Errorf("%s, high %d", got, p.HighWatermark)
	}
}
