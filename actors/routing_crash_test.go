package actors_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// routed is a rig whose devices send numbered messages over routes; what each
// topic must hold is known beforehand.
type routed struct {
	*rig
	sent int
	want map[string][]string // numbers by topic
}

func newRouted(t *testing.T) *routed {
	return &routed{rig: newRig(t), want: map[string][]string{}}
}

// routes sends messages of class 0 and 1 to one topic, even numbers to another
// and to events, and what is left to events by the fallback.
func (r *routed) routes(n *running) {
	r.t.Helper()
	err := n.ChangeRouting(r.t.Context(), "put", "routes", device.Audit{}, func(p *partition.Routing) error {
		p.Routes = []partition.Route{
			{Name: "low", Condition: "as_number(class) < 2", Endpoints: []string{"topic:copies"}},
			{Name: "even", Condition: "$body.even = true", Endpoints: []string{"topic:even", "events"}},
			{Name: "again", Condition: "$body.even = true", Endpoints: []string{"events"}},
		}
		p.Enrichments = []partition.Enrichment{{Key: "hub", Value: "$iothubname", Endpoints: []string{"topic:copies"}}}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// messages appends n messages and waits until they are in the log.
func (r *routed) messages(n int) {
	r.t.Helper()
	failed := make(chan error, n)
	for range n {
		number, class := r.sent, r.sent%3
		r.sent++
		even := number%2 == 0
		text := strconv.Itoa(number)
		if class < 2 {
			r.want["copies"] = append(r.want["copies"], text)
		}
		if even {
			r.want["even"] = append(r.want["even"], text)
		}
		if even || class == 2 {
			r.want["hub.events"] = append(r.want["hub.events"], text)
		}
		r.appender.Append(r.t.Context(), &eventlog.Record{
			Topic: "hub.device-log", Key: fmt.Appendf(nil, "d%d", number%5),
			Value: fmt.Appendf(nil, `{"n":%d,"even":%v}`, number, even),
			Headers: []eventlog.Header{
				{Key: device.HeaderKind, Value: []byte(device.KindTelemetry)},
				{Key: device.HeaderBag, Value: fmt.Appendf(nil, "%%24.ct=application%%2Fjson&%%24.ce=utf-8&class=%d", class)},
			},
		}, func(_ *eventlog.Record, err error) { failed <- err })
	}
	for range n {
		if err := <-failed; err != nil {
			r.t.Fatal(err)
		}
	}
}

// once checks that each topic has each of its messages once. A last message
// comes behind all others of its partition, so nothing doubled can follow it.
func (r *routed) once() {
	r.t.Helper()
	r.messages(30) // some for each device, class and parity
	for topic, want := range r.want {
		var got []string
		for _, row := range r.rows(topic, len(want)) {
			got = append(got, strconv.Itoa(int(row["n"].(float64))))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			r.t.Errorf("%s has %d messages, want %d:\n%v\nwant\n%v", topic, len(got), len(want), got, want)
		}
	}
}

// At each write to the log that follows a message the connection to it is lost,
// and comes back.
func TestRoutesLoseAndDoubleNothingAtACut(t *testing.T) {
	r := newRouted(t)
	n := r.run(t.TempDir(), actors.Options{FlushRecords: 30})
	r.routes(n)
	for k := int64(0); k < 24; k += 3 {
		n.wires.fuse.Store(n.wires.writes.Load() + 1 + k)
		r.messages(6)
		r.eventually(fmt.Sprintf("the cut at write %d", k), func() bool { return n.wires.writes.Load() >= n.wires.fuse.Load() })
		n.wires.mend()
	}
	n.wires.fuse.Store(0)
	n.wires.mend()
	r.once()
	n.end()
}

// The same with nodes that are gone for good at that write, so that the next
// begins with what is committed, with and without its stores.
func TestRoutesLoseAndDoubleNothingAtACrash(t *testing.T) {
	for name, flush := range map[string]int64{"store at each commit": 1, "store far behind": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			r := newRouted(t)
			dir := t.TempDir()
			o := actors.Options{FlushRecords: flush, ReleaseTimeout: time.Millisecond}
			n := r.run(dir, o)
			r.routes(n)
			for k := range int64(16) {
				n.wires.fuse.Store(n.wires.writes.Load() + 1 + 2*k)
				r.messages(6)
				r.eventually(fmt.Sprintf("the cut at write %d", 2*k), func() bool { return n.wires.writes.Load() >= n.wires.fuse.Load() })
				n.crash()
				n = r.run(dir, o)
			}
			r.once()
			n.end()
		})
	}
}

// What is sent before a change of the routes goes by the old ones or the new, to one
// place; what is sent after it never by the old. A crash in between changes nothing.
func TestAChangeOfRoutesSplitsTheLogOnce(t *testing.T) {
	r := newRouted(t)
	dir := t.TempDir()
	o := actors.Options{ReleaseTimeout: time.Millisecond}
	n := r.run(dir, o)
	to := func(topic string) {
		t.Helper()
		err := n.ChangeRouting(t.Context(), "put", "routes", device.Audit{}, func(p *partition.Routing) error {
			p.Routes = []partition.Route{{Name: "all", Endpoints: []string{"topic:" + topic}}}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	const rounds, each = 6, 20
	to("t0")
	for i := range rounds {
		r.messages(each)
		to(fmt.Sprint("t", i+1))
		if i%2 == 1 {
			n.crash()
			n = r.run(dir, o)
		}
	}
	r.messages(each)
	where := map[int][]string{}
	r.eventually("all messages", func() bool {
		clear(where)
		for i := range rounds + 1 {
			topic := fmt.Sprint("t", i)
			for _, number := range r.committed(topic) {
				where[number] = append(where[number], topic)
			}
		}
		return len(where) == (rounds+1)*each
	})
	for number, topics := range where {
		// Cores that were away may come to it under later routes, never under earlier
		// ones.
		round := number / each
		if len(topics) != 1 || topics[0] < fmt.Sprint("t", round) {
			t.Errorf("message %d of round %d is in %v", number, round, topics)
		}
	}
	n.end()
}

// committed returns the numbers of the messages that a topic holds now.
func (r *routed) committed(topic string) (numbers []int) {
	r.t.Helper()
	ranges, err := r.log.Offsets(r.t.Context(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	stable, err := r.log.Stable(r.t.Context(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	for p, at := range ranges {
		err := r.log.ReadRange(r.t.Context(), topic, p, at.Start, stable[p], func(rec *eventlog.Record) error {
			var row struct{ N int }
			if err := json.Unmarshal(rec.Value, &row); err != nil {
				return err
			}
			numbers = append(numbers, row.N)
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return numbers
}
