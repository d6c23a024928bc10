package actors_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

// wall is a clock that stands still until the test moves it. It counts how
// often it is read: a node that runs reads it at each tick.
type wall struct {
	base  time.Time // on the grid of the windows
	at    atomic.Int64
	reads atomic.Int64
}

func newWall() *wall { return &wall{base: time.Now().UTC().Truncate(10 * time.Second)} }

func (w *wall) now() time.Time {
	w.reads.Add(1)
	return w.second(float64(w.at.Load()))
}

func (w *wall) second(s float64) time.Time {
	return w.base.Add(time.Duration(s * float64(time.Second)))
}

// eventually waits for a condition.
func (h *harness) eventually(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			h.t.Fatalf("%s did not happen; hosts: %+v", what, h.node.Statuses())
		case <-poll.C:
		}
	}
}

// live is a node on a clock of the test's with one pipeline over a topic of two
// partitions.
type live struct {
	*harness
	*wall
	appender *eventlog.Appender
	keys     [2]string // one of each partition
	sent     [2]int64
}

func newLive(t *testing.T, d partition.Definition) *live {
	l := &live{harness: newHarness(t), wall: newWall()}
	if err := l.log.EnsureTopics(t.Context(), eventlog.TopicSpec{Name: "tele", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	for i := 0; l.keys[0] == "" || l.keys[1] == ""; i++ {
		k := fmt.Sprintf("d%d", i)
		l.keys[eventlog.Partition([]byte(k), 2)] = k
	}
	var err error
	if l.appender, err = l.log.NewAppender(eventlog.AppenderOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.appender.Close)
	l.node, err = actors.Start(t.Context(), actors.Options{
		Log: l.log, Cluster: joinCluster, Hub: "hub", Data: l.dir, Partitions: 2,
		CommitEvery: 20 * time.Millisecond, IdleTick: 5 * time.Millisecond, Now: l.now,
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.stop)
	d.Name, d.Early = "live", partition.DefaultEarly
	d.Query = `SELECT deviceId, COUNT(*) AS n, System.Timestamp() AS e
		INTO live FROM tele TIMESTAMP BY t GROUP BY deviceId, TumblingWindow(second, 10)`
	if err := l.node.ApplyPipeline(t.Context(), d, device.Audit{}); err != nil {
		t.Fatal(err)
	}
	l.eventually("the pipeline's start", func() bool { return len(l.partitions()) == 2 })
	return l
}

// partitions returns the pipeline's figures, none while it starts.
func (l *live) partitions() []partition.PipelineFigures {
	s, _, err := l.node.Pipeline(l.t.Context(), "live")
	if err != nil {
		l.t.Fatal(err)
	}
	var f []partition.PipelineFigures
	for _, p := range s.Partitions {
		if p.Figures.Name != "" {
			f = append(f, p.Figures)
		}
	}
	return f
}

// send appends the event e to a partition at the wall second a and waits until
// it has been applied.
func (l *live) send(p int, e float64, a int64) {
	l.t.Helper()
	l.at.Store(a)
	l.sent[p]++
	failed := make(chan error, 1)
	l.appender.Append(l.t.Context(), &eventlog.Record{
		Topic: "tele", Key: []byte(l.keys[p]), Timestamp: l.second(float64(a)),
		Value: fmt.Appendf(nil, `{"deviceId":%q,"t":%q}`, l.keys[p], l.second(e).Format(time.RFC3339Nano)),
	}, func(_ *eventlog.Record, err error) { failed <- err })
	if err := <-failed; err != nil {
		l.t.Fatal(err)
	}
	l.eventually(fmt.Sprintf("event %v of partition %d", e, p), func() bool { return l.partitions()[p].In == l.sent[p] })
}

// mark is a partition's watermark in seconds of the test.
func (l *live) mark(p int) float64 {
	w := l.partitions()[p].Watermark
	if w == windows.Unset {
		return -1
	}
	return w.Time().Sub(l.base).Seconds()
}

// pass moves the clock and lets the node tick.
func (l *live) pass(a int64) {
	l.t.Helper()
	l.at.Store(a)
	from := l.reads.Load()
	l.eventually("ticks", func() bool { return l.reads.Load() >= from+40 })
}

// 15-J: each partition closes its windows by the idle clock when it falls
// silent, no second earlier, and no partition waits for the other.
func TestSilentPartitionsCloseTheirWindowsByTick(t *testing.T) {
	l := newLive(t, partition.Definition{Late: 5 * windows.Second})
	for _, s := range []struct {
		p         int
		event     float64
		arrival   int64
		watermark float64
	}{
		{0, 1, 1, 1}, {1, 2, 2, 2}, {0, 8, 8, 8}, {0, 11, 11, 11}, {1, 9, 12, 9},
	} {
		l.send(s.p, s.event, s.arrival)
		if got := l.mark(s.p); got != s.watermark {
			t.Fatalf("wall %d: W%d is %v, want %v", s.arrival, s.p, got, s.watermark)
		}
	}
	// An advance of the idle clock is applied where it closes a window, so W shows
	// at which second that was.
	l.pass(15)
	if got := l.mark(1); got != 9 {
		t.Errorf("wall 15: W1 is %v: the window that ends at 10 has closed before the watermark passed 10", got)
	}
	l.at.Store(16)
	l.eventually("the window (0,10] of partition 1", func() bool { return l.mark(1) == 11 })
	if got := l.mark(0); got != 11 {
		t.Errorf("wall 16: W0 is %v, want 11", got)
	}
	l.pass(25)
	if got := l.mark(0); got != 11 {
		t.Errorf("wall 25: W0 is %v: the window that ends at 20 has closed before the watermark passed 20", got)
	}
	l.at.Store(26)
	l.eventually("the window (10,20] of partition 0", func() bool { return l.mark(0) == 21 })
	var got []string
	for _, r := range l.rows("live", 3) {
		end, err := time.Parse(time.RFC3339Nano, r["e"].(string))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s (,%v] n=%v", r["deviceId"], end.Sub(l.base).Seconds(), r["n"]))
	}
	want := []string{l.keys[0] + " (,10] n=2", l.keys[1] + " (,10] n=2", l.keys[0] + " (,20] n=1"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

// 3, 5: what the policies put aside arrives on the late topic with the reason
// and the clocks that it was judged by.
func TestLateRowsArriveWithTheirReason(t *testing.T) {
	l := newLive(t, partition.Definition{Late: 5 * windows.Second, OnLate: "side_output", OnOutOfOrder: "side_output"})
	l.send(1, 30, 30)
	l.send(1, 1, 40)   // before 40 − 5
	l.send(1, 41, 41)  // on time
	l.send(1, 40, 41)  // within the tolerance, behind the watermark 41
	l.send(1, 400, 42) // more than five minutes ahead
	var got []string
	for _, r := range l.rows("hub.late", 3) {
		got = append(got, fmt.Sprintf("%v offset %v of %v/%v", r["reason"], r["offset"], r["source"], r["partition"]))
		if r["key"] != l.keys[1] || r["pipeline"] != "live" || r["payload"] == nil || r["eventTime"] == nil || r["watermark"] == nil {
			t.Errorf("row %v lacks key, pipeline, payload or times", r)
		}
	}
	want := []string{"late offset 1 of tele/1", "out_of_order offset 3 of tele/1", "early offset 4 of tele/1"}
	if !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

// 17: why names what holds a watermark back and when it will move by itself.
func TestWhyNamesWhatHoldsTheWatermark(t *testing.T) {
	l := newLive(t, partition.Definition{Late: 5 * windows.Second, OutOfOrder: 2 * windows.Second})
	l.send(0, 11, 12)
	w, err := l.node.Why(t.Context(), "live", l.keys[0], l.second(20))
	if err != nil {
		t.Fatal(err)
	}
	if w.Closed || w.Partition != 0 || w.FiresAfter != "13s" {
		t.Errorf("closed %v, partition %d, fires after %s; want open on partition 0, 13s after the newest arrival (20 + 5 − 12)", w.Closed, w.Partition, w.FiresAfter)
	}
	newest, arrival := windows.TickOf(l.second(11)).String(), windows.TickOf(l.second(12)).String()
	for _, want := range []string{"held by the partition's newest event", newest, "out-of-order tolerance 2s", arrival, "late tolerance 5s"} {
		if !strings.Contains(w.Text, want) {
			t.Errorf("why does not name %q:\n%s", want, w.Text)
		}
	}
	l.at.Store(26)
	l.eventually("the close of the window", func() bool {
		w, err = l.node.Why(t.Context(), "live", l.keys[0], l.second(20))
		return err == nil && w.Closed
	})
}

// Design 3.6: a pipeline that takes its time delays no twin.
func TestTwinsDoNotWaitForSlowPipelines(t *testing.T) {
	h := newHarness(t)
	var err error
	h.node, err = actors.Start(t.Context(), actors.Options{
		Log: h.log, Cluster: joinCluster, Hub: "hub", Data: h.dir, Partitions: 2,
		CommitEvery: 20 * time.Millisecond, PipelineDelay: time.Hour,
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.stop)
	h.apply("slow", `SELECT deviceId, COUNT(*) AS n INTO slow FROM devices GROUP BY deviceId, TumblingWindow(second, 10)`)
	h.eventually("the pipeline's start", func() bool {
		ask, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, _, err := h.node.Pipeline(ask, "slow")
		// A partition that does not answer has begun with its first record, that of
		// the pipeline's own change.
		return err == nil && len(s.Partitions) == 2 && (s.State == "running" || ask.Err() != nil)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range 4 {
		id := fmt.Sprintf("d%d", i)
		if _, err := h.node.PutIdentity(ctx, device.Change{Wanted: device.Identity{DeviceID: id, Status: device.Enabled, Auth: device.Auth{Type: device.AuthCA}}}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		h.node.PatchReported(ctx, device.Ref{Device: id}, []byte(`{"a":1}`), device.Audit{}, func(_ int64, err error) { done <- err })
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-ctx.Done():
			t.Fatal("a reported patch waits for a pipeline that takes an hour a record")
		}
	}
}
