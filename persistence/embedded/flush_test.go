package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/eventlog"
)

func produceResponse(version int16, topic string, id [16]byte, partitions ...int32) []byte {
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(version)
	rt := kmsg.NewProduceResponseTopic()
	rt.Topic, rt.TopicID = topic, id
	for _, p := range partitions {
		rp := kmsg.NewProduceResponseTopicPartition()
		rp.Partition = p
		rt.Partitions = append(rt.Partitions, rp)
	}
	resp.Topics = append(resp.Topics, rt)
	b := make([]byte, 8)
	if resp.IsFlexible() {
		b = append(b, 0)
	}
	return resp.AppendTo(b)
}

// brokenSegment stands where a segment file should and can't be flushed.
func brokenSegment(t *testing.T, dir, topic string, partition int32) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(partitionPath(dir, topic, partition), "0.dat"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsAcknowledgedThatCouldNotBeFlushed(t *testing.T) {
	id := [16]byte{1, 2, 3}
	for name, settle := range map[string]func(f *flusher) error{
		"produce by name": func(f *flusher) error {
			return f.settle(request{keyProduce, 9, ""}, produceResponse(9, "t", [16]byte{}, 0))
		},
		"produce by id": func(f *flusher) error {
			return f.settle(request{keyProduce, 13, ""}, produceResponse(13, "", id, 0))
		},
		"commit of what was written before": func(f *flusher) error {
			f.txns["core"] = map[partitionKey]struct{}{{"t", 0}: {}}
			return f.settle(request{keyEndTxn, 5, "core"}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			brokenSegment(t, dir, "t", 0)
			if err := os.WriteFile(filepath.Join(dir, "topics.json"), []byte(`{"topics":[{"name":"t","id":"AQIDAAAAAAAAAAAAAAAAAA=="}]}`), 0o600); err != nil {
				t.Fatal(err)
			}
			f := newFlusher(dir)
			defer f.close()
			if err := f.settle(request{keyProduce, 9, ""}, produceResponse(9, "other", [16]byte{}, 0)); err != nil {
				t.Fatalf("another partition: %v", err)
			}
			first := settle(f)
			if _, ok := errors.AsType[*fs.PathError](first); !ok {
				t.Fatalf("got %v", first)
			}
			if err := f.settle(request{keyProduce, 9, ""}, produceResponse(9, "other", [16]byte{}, 0)); err == nil {
				t.Error("after a failed flush something was acknowledged")
			}
		})
	}
}

func TestTransactionIsFlushedWhereverItWrote(t *testing.T) {
	dir := t.TempDir()
	f := newFlusher(dir)
	defer f.close()
	for p := range int32(3) {
		if err := f.settle(request{keyProduce, 9, "core"}, produceResponse(9, "t", [16]byte{}, p)); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(f.txns["core"]); got != 3 {
		t.Errorf("%d partitions are noted", got)
	}
	brokenSegment(t, dir, "t", 1)
	if err := f.settle(request{keyEndTxn, 5, "core"}, nil); err == nil {
		t.Error("the commit was acknowledged, though a marker was not flushed")
	}
	if got := len(f.txns); got != 0 {
		t.Errorf("%d transactions are still noted", got)
	}
}

func TestGateReadsTransactionalIDs(t *testing.T) {
	id := "hub.d.3"
	produce := func(version int16) kmsg.Request {
		r := kmsg.NewPtrProduceRequest()
		r.SetVersion(version)
		r.TransactionID = &id
		return r
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID = id
	plain := kmsg.NewPtrProduceRequest()
	plain.SetVersion(9)
	for _, c := range []struct {
		req  kmsg.Request
		want string
	}{{produce(3), id}, {produce(9), id}, {produce(13), id}, {plain, ""}} {
		head := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client")).AppendRequest(nil, c.req, 7)[4:]
		if got := parseRequest(head); got != (request{keyProduce, c.req.GetVersion(), c.want}) {
			t.Errorf("produce version %d: %+v", c.req.GetVersion(), got)
		}
	}
	for _, version := range []int16{0, 2, 3, 5} {
		end.SetVersion(version)
		head := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client")).AppendRequest(nil, end, 7)[4:]
		if got := parseRequest(head); got != (request{keyEndTxn, version, id}) {
			t.Errorf("end version %d: %+v", version, got)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte{0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 2, 'x'})
	f.Add([]byte{0, 26, 0, 5, 0, 0, 0, 1, 0, 1, 'c', 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, head []byte) {
		if len(head) >= 8 {
			parseRequest(head)
		}
	})
}

func TestRecoveryRaisesEpochsThatTheProducerLogLost(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), SyncWrites: true})
	l := connect(t, s.Addr(), eventlog.SASL{})
	ensure(t, l, twoPartitions)
	term, err := l.NewTerm(within(t), "core", eventlog.TermOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	before, err := os.ReadFile(filepath.Join(s.dir, "pids.log"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := term.Commit(within(t), []eventlog.Record{record("out", 0, "a", "1")}); err != nil {
			t.Fatal(err)
		}
	}
	epoch := func(dir string) int16 {
		p, err := openProducers(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.known {
			if e.TxID == "core" {
				return e.Epoch
			}
		}
		return -1
	}
	want := epoch(s.dir)
	dir := killed(t, s)
	// What a loss of power may leave of a log that is not flushed.
	if err := os.WriteFile(filepath.Join(dir, "pids.log"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	if epoch(dir) >= want {
		t.Fatal("nothing was lost")
	}
	start(t, Options{Dir: dir})
	if got := epoch(dir); got != want {
		t.Errorf("epoch is %d, want %d", got, want)
	}
}
