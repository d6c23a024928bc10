package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/broker"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

// wires are the connections of a node to the log. A test can cut them, or let
// them go silent without an end.
type wires struct {
	mu     sync.Mutex // guards the following
	conns  map[*wire]bool
	down   bool
	silent chan struct{} // not nil: nothing passes until it is closed
	writes atomic.Int64
	fuse   atomic.Int64 // the write that cuts everything; 0: none
}

type wire struct {
	net.Conn
	of *wires
}

var errCut = errors.New("cut by the test")

func (w *wires) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errCut
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	one := &wire{c, w}
	w.conns[one] = true
	return one, nil
}

func (c *wire) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

func (c *wire) Write(b []byte) (int, error) {
	if n := c.of.writes.Add(1); n == c.of.fuse.Load() {
		c.of.cut()
		return 0, errCut
	}
	c.of.wait()
	return c.Conn.Write(b)
}

func (c *wire) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.of.wait()
	return n, err
}

func (w *wires) wait() {
	w.mu.Lock()
	silent := w.silent
	w.mu.Unlock()
	if silent != nil {
		<-silent
	}
}

func (w *wires) cut() {
	w.mu.Lock()
	w.down = true
	all := slices.Collect(maps.Keys(w.conns))
	w.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

func (w *wires) mend() {
	w.mu.Lock()
	w.down = false
	w.mu.Unlock()
}

// hush lets nothing pass until the returned function is called.
func (w *wires) hush() (speak func()) {
	c := make(chan struct{})
	w.mu.Lock()
	w.silent = c
	w.mu.Unlock()
	return sync.OnceFunc(func() {
		w.mu.Lock()
		w.silent = nil
		w.mu.Unlock()
		close(c)
	})
}

// rig is a log with nodes that come and go, a topic of records and a pipeline
// that counts and adds them up in windows of ten seconds.
type rig struct {
	*harness
	addr     string
	appender *eventlog.Appender
	base     time.Time
	next     int64           // value of the next record
	windows  map[string]sums // what the rows must be, by window and key
}

type sums struct{ n, s int64 }

const (
	rigTopic = "tele"
	rigQuery = `SELECT deviceId, COUNT(*) AS n, SUM(v) AS s, System.Timestamp() AS e
		INTO sums FROM tele TIMESTAMP BY t GROUP BY deviceId, TumblingWindow(second, 10)`
)

func newRig(t *testing.T) *rig {
	t.Helper()
	server, err := broker.Start(t.Context(), broker.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.Open(t.Context(), eventlog.Options{Seeds: []string{server.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	appender, err := log.NewAppender(eventlog.AppenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		appender.Close()
		log.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := log.EnsureTopics(t.Context(), eventlog.TopicSpec{Name: rigTopic, Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	return &rig{
		harness: &harness{t: t, log: log}, addr: server.Addr(), appender: appender,
		base: time.Now().UTC().Truncate(time.Hour).Add(-24 * time.Hour), windows: map[string]sums{},
	}
}

// run is one node of the rig on a data directory and wires of its own.
type running struct {
	*actors.Node
	wires *wires
	log   *eventlog.Log
	dir   string
	t     *testing.T
}

func (r *rig) run(dir string, o actors.Options) *running {
	r.t.Helper()
	w := &wires{conns: map[*wire]bool{}}
	log, err := eventlog.Open(r.t.Context(), eventlog.Options{Seeds: []string{r.addr}, DialContext: w.dial})
	if err != nil {
		r.t.Fatal(err)
	}
	o.Log, o.Cluster, o.Hub, o.Data, o.Partitions = log, joinCluster, "hub", dir, 2
	o.CommitEvery = 10 * time.Millisecond
	if o.IdleTick == 0 {
		o.IdleTick = 20 * time.Millisecond
	}
	n, err := actors.Start(r.t.Context(), o, true)
	if err != nil {
		r.t.Fatal(err)
	}
	r.node = n
	return &running{Node: n, wires: w, log: log, dir: dir, t: r.t}
}

func (n *running) end() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		n.t.Error(err)
	}
	n.log.Close()
}

// crash ends the node without a last commit, flush or release: the log is gone
// before it stops.
func (n *running) crash() {
	n.t.Helper()
	n.wires.cut()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_ = n.Stop(ctx) // it can't say goodbye to a log that is gone
	n.log.Close()
}

func (r *rig) pipeline(n *running, name, query string) {
	r.t.Helper()
	err := n.ApplyPipeline(r.t.Context(), partition.Definition{
		Name: name, Query: query, Late: 20 * windows.Day, OutOfOrder: 20 * windows.Second, Early: partition.DefaultEarly,
	}, device.Audit{})
	if err != nil {
		r.t.Fatal(err)
	}
}

// send writes n records around a second of the rig's time and waits for the
// log's acknowledgement.
func (r *rig) send(rng *rand.Rand, n int, second int) {
	r.t.Helper()
	failed := make(chan error, n)
	for range n {
		key := fmt.Sprintf("d%d", rng.IntN(6))
		t := r.base.Add(time.Duration(second)*time.Second + time.Duration(rng.IntN(10_000))*time.Millisecond)
		r.next++
		end := t.Truncate(10 * time.Second)
		if end.Before(t) {
			end = end.Add(10 * time.Second)
		}
		at := end.Format(time.RFC3339) + " " + key
		sum := r.windows[at]
		r.windows[at] = sums{sum.n + 1, sum.s + r.next}
		r.appender.Append(r.t.Context(), &eventlog.Record{
			Topic: rigTopic, Key: []byte(key),
			Value: fmt.Appendf(nil, `{"deviceId":%q,"v":%d,"t":%q}`, key, r.next, t.Format(time.RFC3339Nano)),
		}, func(_ *eventlog.Record, err error) { failed <- err })
	}
	for range n {
		if err := <-failed; err != nil {
			r.t.Fatal(err)
		}
	}
}

// close moves every partition past all windows, without a row of its own.
func (r *rig) close(second int) {
	r.t.Helper()
	known := maps.Clone(r.windows)
	for i := range 6 {
		failed := make(chan error, 1)
		key := fmt.Sprintf("d%d", i)
		r.appender.Append(r.t.Context(), &eventlog.Record{
			Topic: rigTopic, Key: []byte(key),
			Value: fmt.Appendf(nil, `{"deviceId":%q,"v":0,"t":%q}`, key, r.base.Add(time.Duration(second+60)*time.Second).Format(time.RFC3339Nano)),
		}, func(_ *eventlog.Record, err error) { failed <- err })
		if err := <-failed; err != nil {
			r.t.Fatal(err)
		}
	}
	r.windows = known
}

// exact waits for the rows and compares them: none is missing, doubled or wrong.
func (r *rig) exact() {
	r.t.Helper()
	got := map[string]sums{}
	for _, row := range r.rows("sums", len(r.windows)) {
		at := row["e"].(string)
		e, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			r.t.Fatal(err)
		}
		k := e.UTC().Format(time.RFC3339) + " " + row["deviceId"].(string)
		if _, ok := got[k]; ok {
			r.t.Errorf("window %s has two rows", k)
		}
		got[k] = sums{int64(row["n"].(float64)), int64(row["s"].(float64))}
	}
	for k, w := range r.windows {
		if got[k] != w {
			r.t.Errorf("window %s has %+v, want %+v", k, got[k], w)
		}
	}
	if len(got) != len(r.windows) {
		r.t.Errorf("%d windows have rows, want %d", len(got), len(r.windows))
	}
}

// state waits until all hosts of a kind are in a state.
func (r *rig) state(n *running, kind, state string, want int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d %s hosts %s", want, kind, state), func() bool {
		found := 0
		for _, s := range n.Statuses() {
			if s.Kind == kind && s.State == state {
				found++
			}
		}
		return found == want
	})
}

func TestCutConnectionsLoseAndDoubleNothing(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(1, 1))
	n := r.run(t.TempDir(), actors.Options{FlushRecords: 30})
	r.pipeline(n, "sums", rigQuery)
	r.state(n, "pipelines", "running", 2)
	const rounds = 25
	for i := range rounds {
		// Within the next commits, wherever that is.
		n.wires.fuse.Store(n.wires.writes.Load() + 1 + rng.Int64N(60))
		r.send(rng, 40, i*10)
		r.eventually("the cut", func() bool { return n.wires.writes.Load() >= n.wires.fuse.Load() })
		n.wires.mend()
	}
	n.wires.fuse.Store(0)
	n.wires.mend()
	r.close(rounds * 10)
	r.exact()
	n.end()
}

func TestCrashedNodesLoseAndDoubleNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		flush int64
		lose  bool // the store is gone after each crash
	}{{"store at each commit", 1, false}, {"store far behind", 1 << 40, false}, {"store lost", 30, true}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			rng := rand.New(rand.NewPCG(2, 2))
			dir := t.TempDir()
			const rounds = 8
			for i := range rounds {
				n := r.run(dir, actors.Options{FlushRecords: c.flush, ReleaseTimeout: time.Millisecond})
				if i == 0 {
					r.pipeline(n, "sums", rigQuery)
				}
				r.send(rng, 60, i*10)
				committed := int64(rng.IntN(60 * (i + 1)))
				r.eventually("some commits", func() bool {
					sum := int64(0)
					for _, s := range n.Statuses() {
						if s.Kind == "pipelines" {
							sum += s.Committed
						}
					}
					return sum >= committed
				})
				n.crash()
				if c.lose {
					if err := os.RemoveAll(filepath.Join(dir, "cores")); err != nil {
						t.Fatal(err)
					}
				}
			}
			n := r.run(dir, actors.Options{})
			r.close(rounds * 10)
			r.exact()
			n.end()
		})
	}
}

func TestStoreOfALongGoneOwnerCatchesUp(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(3, 3))
	old, other := t.TempDir(), t.TempDir()
	n := r.run(old, actors.Options{})
	r.pipeline(n, "sums", rigQuery)
	r.send(rng, 50, 0)
	r.state(n, "pipelines", "running", 2)
	n.end()
	n = r.run(other, actors.Options{})
	r.send(rng, 50, 5)
	r.send(rng, 50, 40)
	n.end()
	n = r.run(old, actors.Options{})
	r.send(rng, 50, 45)
	r.close(60)
	r.exact()
	n.end()
}

func TestSecondNodeFencesTheFirst(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(4, 4))
	first := r.run(t.TempDir(), actors.Options{Heartbeat: 50 * time.Millisecond, FlushRecords: 1})
	r.pipeline(first, "sums", rigQuery)
	r.state(first, "pipelines", "running", 2)
	r.send(rng, 50, 0)
	second := r.run(t.TempDir(), actors.Options{Heartbeat: 50 * time.Millisecond})
	r.send(rng, 50, 10)
	r.state(first, "pipelines", "fenced", 2)
	r.state(first, "devices", "fenced", 2)
	before := files(t, first.dir)
	r.send(rng, 50, 20)
	r.close(40)
	r.exact()
	if after := files(t, first.dir); !maps.Equal(before, after) {
		t.Errorf("the fenced node wrote to its stores: %v, before %v", after, before)
	}
	r.state(second, "pipelines", "running", 2)
	r.state(second, "devices", "running", 2)
	first.end()
	second.end()
}

// files lists what lies under a directory, with sizes and times.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(filepath.Join(dir, "cores"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all[path] = fmt.Sprint(info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A node that loses sight of the log while time goes by, like one that was
// frozen, has to read what came meanwhile before it may close a window.
func TestSilenceOfTheLogIsNotIdleness(t *testing.T) {
	r := newRig(t)
	clock := newWall()
	n := r.run(t.TempDir(), actors.Options{Now: clock.now, IdleTick: 5 * time.Millisecond})
	err := n.ApplyPipeline(t.Context(), partition.Definition{Name: "sums", Query: rigQuery, Late: windows.Second, Early: partition.DefaultEarly}, device.Audit{})
	if err != nil {
		t.Fatal(err)
	}
	r.state(n, "pipelines", "running", 2)
	write := func(v int, at float64) {
		t.Helper()
		failed := make(chan error, 1)
		stamp := clock.second(at)
		value, err := json.Marshal(map[string]any{"deviceId": "d", "v": v, "t": stamp.Format(time.RFC3339Nano)})
		if err != nil {
			t.Fatal(err)
		}
		r.appender.Append(t.Context(), &eventlog.Record{Topic: rigTopic, Key: []byte("d"), Timestamp: stamp, Value: value},
			func(_ *eventlog.Record, err error) { failed <- err })
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	clock.at.Store(1)
	write(1, 1)
	p := eventlog.Partition([]byte("d"), 2)
	committed := func(offset int64) func() bool {
		return func() bool {
			for _, s := range n.Statuses() {
				if s.Kind == "pipelines" && s.Partition == p && s.Committed == offset {
					return true
				}
			}
			return false
		}
	}
	r.eventually("the first record", committed(1))
	speak := n.wires.hush()
	defer speak()
	write(2, 2)
	clock.at.Store(100)
	reads := clock.reads.Load()
	r.eventually("ticks in the silence", func() bool { return clock.reads.Load() >= reads+100 })
	speak()
	r.eventually("the second record", committed(2))
	clock.at.Store(200)
	row := r.rows("sums", 1)[0]
	if row["n"].(float64) != 2 || row["s"].(float64) != 3 {
		t.Errorf("the first row is %v, want both records in it", row)
	}
	n.end()
}

func TestPipelinesSurviveALogThatDoesNotAnswer(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(5, 5))
	n := r.run(t.TempDir(), actors.Options{})
	r.pipeline(n, "sums", rigQuery)
	r.state(n, "pipelines", "running", 2)
	r.send(rng, 50, 0)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if err := n.Reconcile(gone); err != nil {
			t.Fatal(err)
		}
	}
	r.send(rng, 50, 5)
	r.close(20)
	r.exact()
	n.end()
}

// released reports whether a partition's pipelines core has let go and names no
// pipeline.
func (r *rig) released(p int32) bool {
	r.t.Helper()
	rec, found, err := r.log.LastByKey(r.t.Context(), "hub.checkpoints", p, fmt.Appendf(nil, "hub.p.%s.%d", rigTopic, p))
	if err != nil {
		r.t.Fatal(err)
	}
	if !found {
		return false
	}
	c, err := eventlog.DecodeCheckpoint(rec.Value)
	if err != nil {
		r.t.Fatal(err)
	}
	return c.Released && len(c.Pipelines) == 0
}

func TestDeletedPipelineStartsAnewWhenAppliedAgain(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(6, 6))
	dir := t.TempDir()
	n := r.run(dir, actors.Options{})
	r.pipeline(n, "sums", rigQuery)
	r.state(n, "pipelines", "running", 2)
	r.send(rng, 50, 0)
	r.eventually("the records", func() bool {
		s, _, err := n.Pipeline(t.Context(), "sums")
		in := int64(0)
		for _, p := range s.Partitions {
			in += p.Figures.In
		}
		return err == nil && in == 50
	})
	if err := n.DeletePipeline(t.Context(), "sums", device.Audit{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the last checkpoint", func() bool { return r.released(0) && r.released(1) })
	clear(r.windows) // went with the pipeline
	n.end()
	n = r.run(dir, actors.Options{})
	r.pipeline(n, "sums", rigQuery)
	r.state(n, "pipelines", "running", 2)
	r.send(rng, 50, 5)
	n.end()
	n = r.run(dir, actors.Options{})
	r.close(20)
	r.exact()
	n.end()
}

func TestPipelineWhoseTopicRefusesRowsIsSuspendedAlone(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(7, 7))
	// A topic that takes no batch at all.
	if err := r.log.EnsureTopics(t.Context(), eventlog.TopicSpec{Name: "narrow", Partitions: 2, MaxMessageBytes: 10}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	n := r.run(dir, actors.Options{FlushRecords: 20})
	r.pipeline(n, "sums", rigQuery)
	r.pipeline(n, "narrow", `SELECT deviceId, COUNT(*) AS n INTO narrow FROM tele TIMESTAMP BY t GROUP BY deviceId, TumblingWindow(second, 10)`)
	r.state(n, "pipelines", "running", 2)
	r.send(rng, 60, 0)
	r.send(rng, 60, 40) // closes the first windows
	r.eventually("the suspension", func() bool {
		s, _, err := n.Pipeline(t.Context(), "narrow")
		return err == nil && s.State == "suspended"
	})
	r.send(rng, 60, 80)
	r.close(100)
	r.exact()
	n.end()
}
