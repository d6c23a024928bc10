package eventlog_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

func TestReadRangeEndsBehindTrailingControlRecords(t *testing.T) {
	u := newLog(t)
	out := u.topic(t, "out", eventlog.TopicSpec{})
	if err := u.term(t, "core").Commit(within(t), []eventlog.Record{record(out, 0, "a", "1")}); err != nil {
		t.Fatal(err)
	}
	u.openTransaction(t, "core", record(out, 0, "a", "aborted"))
	u.term(t, "core") // aborts it: the log ends in a control record
	ranges, err := u.Offsets(within(t), out)
	if err != nil {
		t.Fatal(err)
	}
	if ranges[0].High != 4 {
		t.Fatalf("high watermark is %d, want 4", ranges[0].High)
	}
	if got, want := u.committed(t, out, 0, 0), "0:a=1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := u.committed(t, out, 0, 2); got != "" {
		t.Errorf("from behind the last record: %q", got)
	}
}

func TestReadRangeStaysInItsBounds(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{})
	var records []*eventlog.Record
	for i := range 20 {
		records = append(records, &eventlog.Record{Topic: topic, Value: fmt.Append(nil, i)})
	}
	appendAll(t, u.appender(t, eventlog.AppenderOptions{}), records...)
	for _, c := range []struct{ from, to int64 }{{0, 20}, {3, 4}, {5, 5}, {19, 20}, {0, 1}} {
		next := c.from
		err := u.ReadRange(within(t), topic, 0, c.from, c.to, func(r *eventlog.Record) error {
			if r.Offset != next {
				t.Errorf("[%d,%d): got offset %d, want %d", c.from, c.to, r.Offset, next)
			}
			next++
			return nil
		})
		if err != nil || next != c.to {
			t.Errorf("[%d,%d): ended at %d with %v", c.from, c.to, next, err)
		}
	}
	stop := errors.New("stop")
	if err := u.ReadRange(within(t), topic, 0, 0, 20, func(*eventlog.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("visit's error became %v", err)
	}
	none := func(*eventlog.Record) error { return nil }
	if err := u.ReadRange(within(t), topic, 0, 30, 40, none); !errors.Is(err, eventlog.ErrOffsetOutOfRange) {
		t.Errorf("beyond the end: %v", err)
	}
	if err := u.ReadRange(within(t), topic, 0, 10, 40, none); !errors.Is(err, eventlog.ErrOffsetOutOfRange) {
		t.Errorf("to beyond the end: %v", err)
	}
	if err := u.ReadRange(within(t), u.prefix+".missing", 0, 0, 1, none); !errors.Is(err, eventlog.ErrNoTopic) {
		t.Errorf("missing topic: %v", err)
	}
}

func TestLastByKeyIsFoundBehindManyOthers(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "checkpoints", eventlog.TopicSpec{Compacted: true})
	term := u.term(t, "core")
	commit := func(records ...eventlog.Record) {
		t.Helper()
		if err := term.Commit(within(t), records); err != nil {
			t.Fatal(err)
		}
	}
	commit(record(topic, 0, "mine", "old"))
	commit(record(topic, 0, "mine", "new"), record(topic, 0, "mine2", "other"))
	for range 20 {
		noise := make([]eventlog.Record, 100)
		for i := range noise {
			noise[i] = record(topic, 0, fmt.Sprint("core", i), "x")
		}
		commit(noise...)
	}
	u.openTransaction(t, "other", record(topic, 0, "mine", "aborted"))
	u.term(t, "other")
	for key, want := range map[string]string{"mine": "new", "mine2": "other", "core99": "x"} {
		got, ok, err := u.LastByKey(within(t), topic, 0, []byte(key))
		if err != nil || !ok || string(got.Value) != want {
			t.Errorf("%s: got %v, %v, %v, want %s", key, got, ok, err, want)
		}
	}
	if got, ok, err := u.LastByKey(within(t), topic, 0, []byte("nobody")); ok || err != nil {
		t.Errorf("nobody: got %v, %v", got, err)
	}
	if _, _, err := u.LastByKey(within(t), u.prefix+".missing", 0, nil); !errors.Is(err, eventlog.ErrNoTopic) {
		t.Errorf("missing topic: %v", err)
	}
}

func TestLastByKeyWaitsForWhatIsOpenBeforeTheEnd(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "checkpoints", eventlog.TopicSpec{Compacted: true})
	u.openTransaction(t, "other", record(topic, 0, "theirs", "open"))
	if err := u.term(t, "core").Commit(within(t), []eventlog.Record{record(topic, 0, "mine", "1")}); err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 1)
	go func() {
		r, ok, err := u.LastByKey(within(t), topic, 0, []byte("mine"))
		if err != nil || !ok {
			found <- fmt.Sprint(ok, err)
			return
		}
		found <- string(r.Value)
	}()
	select {
	case got := <-found:
		t.Fatalf("it did not wait: %s", got)
	case <-time.After(100 * time.Millisecond):
	}
	u.term(t, "other")
	if got := <-found; got != "1" {
		t.Errorf("got %s", got)
	}
}
