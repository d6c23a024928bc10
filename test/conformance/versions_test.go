package conformance

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// apiVersions are the ranges that the target tells, by key.
func apiVersions(t testing.TB) map[int16][2]int16 {
	t.Helper()
	resp := ask[*kmsg.ApiVersionsResponse](dial(t), 3, apiVersionsRequest())
	must(t, "ApiVersions", resp.ErrorCode)
	out := map[int16][2]int16{}
	for _, k := range resp.ApiKeys {
		out[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
	}
	return out
}

func apiVersionsRequest() *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "conformance", "1.0"
	return req
}

// What the clients that we care for call must be there: their lowest common
// versions (franz-go, librdkafka 2, Java 3 and 4).
func TestApiVersionsCoverClients(t *testing.T) {
	have := apiVersions(t)
	for key, version := range map[kmsg.Key]int16{
		kmsg.Produce: 9, kmsg.Fetch: 12, kmsg.ListOffsets: 7, kmsg.Metadata: 12, kmsg.OffsetCommit: 8,
		kmsg.OffsetFetch: 8, kmsg.FindCoordinator: 4, kmsg.JoinGroup: 9, kmsg.Heartbeat: 4, kmsg.LeaveGroup: 5,
		kmsg.SyncGroup: 5, kmsg.DescribeGroups: 5, kmsg.ListGroups: 4, kmsg.ApiVersions: 3, kmsg.CreateTopics: 7,
		kmsg.DeleteTopics: 6, kmsg.DeleteRecords: 2, kmsg.InitProducerID: 4, kmsg.OffsetForLeaderEpoch: 4,
		kmsg.AddPartitionsToTxn: 3, kmsg.AddOffsetsToTxn: 3, kmsg.EndTxn: 3, kmsg.TxnOffsetCommit: 3,
		kmsg.DescribeConfigs: 4, kmsg.AlterConfigs: 2, kmsg.DescribeLogDirs: 4, kmsg.CreatePartitions: 3,
		kmsg.DeleteGroups: 2, kmsg.IncrementalAlterConfigs: 1, kmsg.OffsetDelete: 0, kmsg.DescribeCluster: 0,
		kmsg.DescribeProducers: 0, kmsg.DescribeTransactions: 0, kmsg.ListTransactions: 0,
		kmsg.DescribeTopicPartitions: 0,
	} {
		r, ok := have[key.Int16()]
		if !ok || version < r[0] || version > r[1] {
			t.Errorf("%s version %d is not served: %v", key.Name(), version, r)
		}
	}
	for key, r := range have {
		if r[0] > r[1] || r[0] < 0 {
			t.Errorf("%s: versions %d to %d", kmsg.NameForKey(key), r[0], r[1])
		}
	}
}

// KIP-511: an ApiVersions request of a version that the broker does not know is
// answered in version 0, with UNSUPPORTED_VERSION and the range of ApiVersions.
func TestApiVersionsOfUnknownVersionAnsweredInVersion0(t *testing.T) {
	w := dial(t)
	req := apiVersionsRequest()
	id := w.send(3, req)
	if _, _, err := w.frame(patience); err != nil {
		t.Fatal(err)
	}
	b := w.form.AppendRequest(nil, req, id+1)
	binary.BigEndian.PutUint16(b[6:], 99)
	w.write(b)
	got, body, err := w.frame(patience)
	if err != nil || got != id+1 {
		t.Fatalf("response %d, %v", got, err)
	}
	var resp kmsg.ApiVersionsResponse
	if err := resp.ReadFrom(body); err != nil {
		t.Fatalf("not version 0: %v", err)
	}
	code(t, "unknown version", resp.ErrorCode, kerr.UnsupportedVersion)
	for _, k := range resp.ApiKeys {
		if k.ApiKey == 18 && k.MaxVersion >= 3 {
			return
		}
	}
	t.Errorf("the range of ApiVersions is not told: %v", resp.ApiKeys)
}

// KIP-511: name and version of the client's software have to fit a pattern.
func TestApiVersionsWantsASoftwareName(t *testing.T) {
	req := apiVersionsRequest()
	req.ClientSoftwareName = "no spaces, please"
	resp := ask[*kmsg.ApiVersionsResponse](dial(t), 3, req)
	code(t, "software name of odd characters", resp.ErrorCode, kerr.InvalidRequest)
}

// Bytes that are no request end the connection and nothing else: protocol
// guide, "Network" and "Common Request Structure".
func TestForeignBytesEndTheConnectionOnly(t *testing.T) {
	bystander := dial(t)
	ask[*kmsg.ApiVersionsResponse](bystander, 3, apiVersionsRequest())

	w := dial(t)
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	whole := w.form.AppendRequest(nil, req, 1)
	header := func(key, version uint16) []byte {
		b := append([]byte(nil), whole...)
		binary.BigEndian.PutUint16(b[4:], key)
		binary.BigEndian.PutUint16(b[6:], version)
		return b
	}
	size := func(n uint32) []byte {
		b := append([]byte(nil), whole...)
		binary.BigEndian.PutUint32(b, n)
		return b
	}
	cut := append([]byte(nil), whole[:len(whole)-3]...)
	binary.BigEndian.PutUint32(cut, uint32(len(cut)-4))
	absurd := w.form.AppendRequest(nil, req, 1)
	absurd = append(absurd[:len(absurd)-5], 0xff, 0xff, 0xff, 0xff, 0x07) // a count of topics
	binary.BigEndian.PutUint32(absurd, uint32(len(absurd)-4))
	for name, b := range map[string][]byte{
		"unknown key":            header(999, 0),
		"negative key":           header(0xffff, 0),
		"unknown version":        header(3, 99),
		"negative version":       header(3, 0xffff),
		"length that is absurd":  size(0x7fffffff),
		"length that is less":    size(0xffffffff),
		"length of nothing":      {0, 0, 0, 0},
		"request cut short":      cut,
		"count that is absurd":   absurd,
		"a line of HTTP":         []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"a TLS hello":            {0x16, 0x03, 0x01, 0x00, 0xa5, 0x01, 0x00, 0x00, 0xa1, 0x03, 0x03, 0, 0, 0, 0, 0},
		"header cut short":       {0, 0, 0, 4, 0, 3, 0, 12},
		"client id that is long": {0, 0, 0, 10, 0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff},
	} {
		w := dial(t)
		w.write(b)
		w.closed(name)
	}
	ask[*kmsg.ApiVersionsResponse](bystander, 3, apiVersionsRequest())
}

// A request that does not arrive whole keeps nobody else waiting.
func TestHalfARequestKeepsNobodyWaiting(t *testing.T) {
	slow := dial(t)
	slow.write([]byte{0, 0, 1, 0, 0, 3})
	w := dial(t)
	start := time.Now()
	metadata(w)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("another client waited %v", d)
	}
}

// Protocol guide, "Network": a connection's responses come in the order of its
// requests.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	var ids []int32
	var reqs []kmsg.Request
	send := func(version int16, req kmsg.Request) {
		ids = append(ids, w.send(version, req))
		reqs = append(reqs, req)
	}
	for range 20 {
		send(9, produceRequest(9, tp, 0, "", -1, batch{records: values("a")}.bytes()))
		send(12, fetchRequest(tp, 0, 0, fetchOptions{}))
		send(3, apiVersionsRequest())
	}
	for i, req := range reqs {
		resp := w.recv(req, ids[i])
		if p, ok := resp.(*kmsg.ProduceResponse); ok {
			if got := produced(w, p); got.ErrorCode != 0 || got.BaseOffset != int64(i/3) {
				t.Errorf("produce %d: offset %d, error %d", i/3, got.BaseOffset, got.ErrorCode)
			}
		}
		if f, ok := resp.(*kmsg.FetchResponse); ok {
			if n := len(parse(t, f.Topics[0].Partitions[0].RecordBatches)); n != i/3+1 {
				t.Errorf("fetch after %d produces: %d records", i/3+1, n)
			}
		}
	}
}
