package conformance

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

// target is the broker's host:port. The tests need -count=1: go test does not
// see that the environment decides what is tested.
var target string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (status int) {
	target = os.Getenv("GEMELLO_KAFKA")
	if target == "" {
		addr, stop, err := startOwn()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() {
			err := stop()
			if err == nil {
				err = goleak.Find()
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				status = 1
			}
		}()
		target = addr
	}
	if err := warm(); err != nil {
		fmt.Fprintln(os.Stderr, target, err)
		return 1
	}
	return m.Run()
}

// warm waits until the coordinators serve: Apache Kafka creates their topics
// when they are first asked for.
func warm() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(target))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		init := kmsg.NewPtrInitProducerIDRequest()
		init.TransactionalID = kmsg.StringPtr("warm")
		init.TransactionTimeoutMillis = 60000
		a, err := init.RequestWith(ctx, cl)
		offsets := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "warm"
		offsets.Groups = append(offsets.Groups, g)
		b, err2 := offsets.RequestWith(ctx, cl)
		if err == nil && err2 == nil && a.ErrorCode == 0 && len(b.Groups) == 1 && b.Groups[0].ErrorCode == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("coordinators are not there: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

var (
	run1    = strings.ToLower(rand.Text()[:6])
	counter atomic.Int64
)

// name returns a name that nobody else has.
func name(t testing.TB, kind string) string {
	return fmt.Sprintf("conf-%s-%s-%d", run1, kind, counter.Add(1))
}

// topic is one that a test has made for itself.
type topic struct {
	name string
	id   [16]byte
}

// newTopic creates a topic; configs are key=value.
func newTopic(t testing.TB, w *wire, partitions int32, configs ...string) topic {
	t.Helper()
	n := name(t, "topic")
	resp := createTopic(w, n, partitions, 1, false, configs...)
	if resp.ErrorCode != 0 {
		t.Fatalf("create %s: %v", n, kerr.ErrorForCode(resp.ErrorCode))
	}
	made := topic{n, resp.TopicID}
	t.Cleanup(func() {
		w := dial(t)
		req := kmsg.NewPtrDeleteTopicsRequest()
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic = &made.name
		req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10000
		ask[*kmsg.DeleteTopicsResponse](w, 6, req)
	})
	// A broker may learn a little later of what the controller has made.
	eventually(t, "metadata of "+n, func() bool {
		m := metadata(w, n)
		if len(m.Topics) != 1 || m.Topics[0].ErrorCode != 0 || len(m.Topics[0].Partitions) != int(partitions) {
			return false
		}
		for _, p := range m.Topics[0].Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 {
				return false
			}
		}
		return fetchFrom(w, topic{n, resp.TopicID}, 0, 0, fetchOptions{wait: time.Millisecond}).ErrorCode == 0
	})
	return made
}

func createTopic(w *wire, n string, partitions int32, replicas int16, validateOnly bool, configs ...string) kmsg.CreateTopicsResponseTopic {
	w.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis, req.ValidateOnly = 10000, validateOnly
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = n, partitions, replicas
	for _, c := range configs {
		k, v, _ := strings.Cut(c, "=")
		rc := kmsg.NewCreateTopicsRequestTopicConfig()
		rc.Name, rc.Value = k, &v
		rt.Configs = append(rt.Configs, rc)
	}
	req.Topics = append(req.Topics, rt)
	resp := ask[*kmsg.CreateTopicsResponse](w, 7, req)
	if len(resp.Topics) != 1 {
		w.t.Fatalf("create: %d topics", len(resp.Topics))
	}
	return resp.Topics[0]
}

func metadata(w *wire, names ...string) *kmsg.MetadataResponse {
	w.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, n := range names {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &n
		req.Topics = append(req.Topics, rt)
	}
	return ask[*kmsg.MetadataResponse](w, 12, req)
}

// produceTo sends one batch with acks of all replicas.
func produceTo(w *wire, version int16, to topic, partition int32, txnID string, b []byte) kmsg.ProduceResponseTopicPartition {
	w.t.Helper()
	req := produceRequest(version, to, partition, txnID, -1, b)
	return produced(w, ask[*kmsg.ProduceResponse](w, version, req))
}

func produced(w *wire, resp *kmsg.ProduceResponse) kmsg.ProduceResponseTopicPartition {
	w.t.Helper()
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		w.t.Fatalf("produce: response %+v", resp)
	}
	return resp.Topics[0].Partitions[0]
}

func produceRequest(version int16, to topic, partition int32, txnID string, acks int16, b []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 10000
	if txnID != "" {
		req.TransactionID = &txnID
	}
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = to.name, to.id
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, b
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// fetchOptions of the zero value ask for everything at once and uncommitted.
type fetchOptions struct {
	version           int16 // 0: 12, by name
	wait              time.Duration
	minBytes          int32 // 0: none
	maxBytes, partMax int32 // 0: 50 MB
	committed         bool
	currentEpoch      int32 // 0: not sent
}

func fetchRequest(from topic, partition int32, offset int64, o fetchOptions) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes = int32(o.wait.Milliseconds()), o.minBytes
	req.MaxBytes = 50 << 20
	if o.maxBytes != 0 {
		req.MaxBytes = o.maxBytes
	}
	if o.committed {
		req.IsolationLevel = 1
	}
	req.SessionEpoch = -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = from.name, from.id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = partition, offset, 50<<20
	if o.partMax != 0 {
		rp.PartitionMaxBytes = o.partMax
	}
	rp.CurrentLeaderEpoch = -1
	if o.currentEpoch != 0 {
		rp.CurrentLeaderEpoch = o.currentEpoch
	}
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func fetchFrom(w *wire, from topic, partition int32, offset int64, o fetchOptions) kmsg.FetchResponseTopicPartition {
	w.t.Helper()
	if o.version == 0 {
		o.version = 12
	}
	resp := ask[*kmsg.FetchResponse](w, o.version, fetchRequest(from, partition, offset, o))
	if resp.ErrorCode != 0 {
		w.t.Fatalf("fetch: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		w.t.Fatalf("fetch: response %+v", resp)
	}
	return resp.Topics[0].Partitions[0]
}

// readAll returns the records of a partition from an offset to its end.
func readAll(t testing.TB, w *wire, from topic, partition int32, offset int64, committed bool) []fetched {
	t.Helper()
	var out []fetched
	for {
		p := fetchFrom(w, from, partition, offset, fetchOptions{wait: time.Millisecond, committed: committed})
		must(t, "fetch", p.ErrorCode)
		rs := parse(t, p.RecordBatches)
		if len(rs) == 0 {
			return out
		}
		for _, r := range rs {
			if r.offset >= offset {
				out = append(out, r)
			}
		}
		offset = rs[len(rs)-1].offset + 1
	}
}

// listOffset asks for the offset of a timestamp.
func listOffset(w *wire, version int16, of topic, partition int32, timestamp int64, committed bool) kmsg.ListOffsetsResponseTopicPartition {
	w.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	if committed {
		req.IsolationLevel = 1
	}
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = of.name
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = partition, timestamp, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	req.TimeoutMillis = 10000
	resp := ask[*kmsg.ListOffsetsResponse](w, version, req)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		w.t.Fatalf("list offsets: response %+v", resp)
	}
	return resp.Topics[0].Partitions[0]
}

// client returns a franz-go client.
func client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(target)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
