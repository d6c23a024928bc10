package actors_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/cluster"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/broker"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a node on an embedded log in a directory of the test.
type harness struct {
	t    *testing.T
	dir  string
	log  *eventlog.Log
	node *actors.Node
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	server, err := broker.Start(t.Context(), broker.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.Open(t.Context(), eventlog.Options{Seeds: []string{server.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		log.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return &harness{t: t, dir: t.TempDir(), log: log}
}

func (h *harness) start() {
	h.t.Helper()
	h.startWith(func(*actors.Options) {})
}

func (h *harness) startWith(change func(*actors.Options)) {
	h.t.Helper()
	o := actors.Options{
		Log: h.log, Cluster: joinCluster, Hub: "hub", Data: h.dir, Partitions: 2,
		CommitEvery: 20 * time.Millisecond, IdleTick: 20 * time.Millisecond,
	}
	change(&o)
	n, err := actors.Start(h.t.Context(), o, false)
	if err != nil {
		h.t.Fatal(err)
	}
	h.node = n
}

func (h *harness) stop() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := h.node.Stop(ctx); err != nil {
		h.t.Error(err)
	}
}

// produce appends JSON records to a topic and waits for them.
func (h *harness) produce(topic string, rows ...map[string]any) {
	h.t.Helper()
	a, err := h.log.NewAppender(eventlog.AppenderOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer a.Close()
	errs := make(chan error, len(rows))
	for _, row := range rows {
		v, err := json.Marshal(row)
		if err != nil {
			h.t.Fatal(err)
		}
		a.Append(h.t.Context(), &eventlog.Record{Topic: topic, Key: []byte(row["deviceId"].(string)), Value: v},
			func(_ *eventlog.Record, err error) { errs <- err })
	}
	for range rows {
		if err := <-errs; err != nil {
			h.t.Fatal(err)
		}
	}
}

// rows reads want committed rows of a topic.
func (h *harness) rows(topic string, want int) []map[string]any {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 20*time.Second)
	defer cancel()
	r, err := h.log.NewReader(eventlog.ReaderOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Close()
	offsets, err := h.log.Offsets(ctx, topic)
	if err != nil {
		h.t.Fatal(err)
	}
	for p, o := range offsets {
		r.Assign(topic, p, o.Start)
	}
	var got []map[string]any
	for len(got) < want {
		batches, err := r.Poll(ctx)
		if err != nil {
			h.t.Fatalf("%d of %d rows of %s: %v; hosts: %+v", len(got), want, topic, err, h.node.Statuses())
		}
		for _, b := range batches {
			for _, rec := range b.Records {
				var row map[string]any
				if err := json.Unmarshal(rec.Value, &row); err != nil {
					h.t.Fatalf("%s: %v", rec.Value, err)
				}
				got = append(got, row)
			}
		}
	}
	return got
}

func (h *harness) apply(name, query string) {
	h.t.Helper()
	err := h.node.ApplyPipeline(h.t.Context(), partition.Definition{
		Name: name, Query: query, Late: windows.Second, Early: partition.DefaultEarly,
	}, device.Audit{})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestWindowsOverTopicSurviveRestart(t *testing.T) {
	h := newHarness(t)
	if err := h.log.EnsureTopics(t.Context(), eventlog.TopicSpec{Name: "tele", Partitions: 5}); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.apply("counts", `SELECT deviceId, COUNT(*) AS n, SUM(v) AS s, System.Timestamp() AS e
		INTO counts FROM tele TIMESTAMP BY t GROUP BY deviceId, TumblingWindow(second, 10)`)
	base := time.Now().UTC().Truncate(10 * time.Second)
	at := func(s int) string { return base.Add(time.Duration(s) * time.Second).Format(time.RFC3339Nano) }
	var first, second []map[string]any
	for i := range 10 {
		id := fmt.Sprintf("d%d", i%4)
		first = append(first, map[string]any{"deviceId": id, "t": at(1), "v": i})
		second = append(second, map[string]any{"deviceId": id, "t": at(2), "v": 100 + i})
	}
	h.produce("tele", first...)
	h.stop()
	h.start()
	h.produce("tele", second...)
	rows := h.rows("counts", 4)
	n, s := 0.0, 0.0
	for _, r := range rows {
		n += r["n"].(float64)
		s += r["s"].(float64)
	}
	if n != 20 || s != 45+1045 {
		t.Fatalf("%d rows with n %v and sum %v, want 20 and 1090: %v", len(rows), n, s, rows)
	}
	h.stop()
}

// joinCluster makes this node the only member of its cluster.
func joinCluster(n actors.ClusterNeeds) (actors.Cluster, error) {
	return cluster.Start(cluster.Options{
		Node: n.Node, Partitions: n.Partitions, DeviceProps: n.DeviceProps,
		Now: n.Now, Logger: n.Logger, Registerer: n.Registerer,
	})
}
