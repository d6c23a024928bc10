package eventlog_test

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gemello/gemello/persistence/eventlog"
)

// admin does to a log what others may do to it.
func (u *underTest) admin(t *testing.T) *kadm.Client {
	t.Helper()
	cl, err := kadm.NewOptClient(kgo.SeedBrokers(u.seed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestTopicDeletedUnderATermIsItsSinkError(t *testing.T) {
	u := newLog(t)
	out, kept := u.topic(t, "out", eventlog.TopicSpec{}), u.topic(t, "kept", eventlog.TopicSpec{})
	term := u.term(t, "core")
	slab := []eventlog.Record{record(kept, 0, "a", "1"), record(out, 0, "a", "1")}
	if err := term.Commit(within(t), slab); err != nil {
		t.Fatal(err)
	}
	if _, err := u.admin(t).DeleteTopic(within(t), out); err != nil {
		t.Fatal(err)
	}
	err := term.Commit(within(t), slab)
	if sink, ok := errors.AsType[*eventlog.SinkError](err); !ok || sink.Topic != out {
		t.Fatalf("got %v (%v), want a SinkError of %s", err, eventlog.Classify(err), out)
	}
	if err := u.term(t, "core").Commit(within(t), slab[:1]); err != nil {
		t.Error(err)
	}
}

func TestTopicDeletedUnderAReaderStopsIt(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{})
	appendAll(t, u.appender(t, eventlog.AppenderOptions{}), &eventlog.Record{Topic: topic})
	r := u.reader(t, eventlog.ReaderOptions{})
	r.Assign(topic, 0, 0)
	poll(t, r, topic, 0, 0, 1)
	if _, err := u.admin(t).DeleteTopic(within(t), topic); err != nil {
		t.Fatal(err)
	}
	batches, err := r.Poll(within(t))
	if err != nil || len(batches) != 1 || !errors.Is(batches[0].Err, eventlog.ErrNoTopic) {
		t.Errorf("got %+v, %v", batches, err)
	}
}

func TestRetentionPassingAReaderStopsIt(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{})
	a := u.appender(t, eventlog.AppenderOptions{})
	for range 5 {
		appendAll(t, a, &eventlog.Record{Topic: topic, Key: []byte("k")})
	}
	var os kadm.Offsets
	os.AddOffset(topic, 0, 3, -1)
	if _, err := u.admin(t).DeleteRecords(within(t), os); err != nil {
		t.Fatal(err)
	}
	ranges, err := u.Offsets(within(t), topic)
	if err != nil || ranges[0] != (eventlog.Range{Start: 3, Stable: 5, High: 5}) {
		t.Fatalf("range is %+v, %v", ranges, err)
	}
	r := u.reader(t, eventlog.ReaderOptions{})
	r.Assign(topic, 0, 1)
	batches, err := r.Poll(within(t))
	if err != nil || len(batches) != 1 || !errors.Is(batches[0].Err, eventlog.ErrOffsetOutOfRange) {
		t.Errorf("reader: got %+v, %v", batches, err)
	}
	none := func(*eventlog.Record) error { return nil }
	if err := u.ReadRange(within(t), topic, 0, 1, 5, none); !errors.Is(err, eventlog.ErrOffsetOutOfRange) {
		t.Errorf("range: got %v", err)
	}
	if got, ok, err := u.LastByKey(within(t), topic, 0, []byte("k")); err != nil || !ok || got.Offset != 4 {
		t.Errorf("last: got %v, %v, %v", got, ok, err)
	}
}

func TestDeletedTopicsAreGoneAndMissingOnesArePassedOver(t *testing.T) {
	u := newLog(t)
	topic, kept := u.topic(t, "out", eventlog.TopicSpec{FlushMessages: 1}), u.topic(t, "kept", eventlog.TopicSpec{})
	if err := u.DeleteTopics(within(t), topic, u.prefix+".never-was"); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Topic(within(t), topic); !errors.Is(err, eventlog.ErrNoTopic) {
		t.Errorf("got %v", err)
	}
	if _, err := u.Topic(within(t), kept); err != nil {
		t.Error(err)
	}
}
