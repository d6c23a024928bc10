package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

// poll reads until a partition's position is at least to, and checks that
// batches join without gap.
func poll(t *testing.T, r *eventlog.Reader, topic string, partition int32, from, to int64) (words []string) {
	t.Helper()
	at := from
	for at < to {
		batches, err := r.Poll(within(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			if b.Topic != topic || b.Partition != partition {
				continue
			}
			if b.First != at {
				t.Fatalf("batch from %d, position is %d", b.First, at)
			}
			at = b.Next
			for _, rec := range b.Records {
				words = append(words, word(rec))
			}
		}
	}
	if at != to {
		t.Fatalf("position is %d, want %d", at, to)
	}
	return words
}

func TestReaderSeesTheEndOfATransactionalTopic(t *testing.T) {
	u := newLog(t)
	out := u.topic(t, "out", eventlog.TopicSpec{})
	term := u.term(t, "core")
	for i := range 3 {
		if err := term.Commit(within(t), []eventlog.Record{record(out, 0, "a", fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	r := u.reader(t, eventlog.ReaderOptions{})
	r.Assign(out, 0, 0)
	// Each commit is one record and one control record.
	if got, want := strings.Join(poll(t, r, out, 0, 0, 6), " "), "0:a=0 2:a=1 4:a=2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReaderHandsOutCommittedRecordsOnly(t *testing.T) {
	u := newLog(t)
	out := u.topic(t, "out", eventlog.TopicSpec{})
	u.openTransaction(t, "core", record(out, 0, "a", "aborted"))
	if err := u.term(t, "core").Commit(within(t), []eventlog.Record{record(out, 0, "a", "committed")}); err != nil {
		t.Fatal(err)
	}
	u.openTransaction(t, "other", record(out, 0, "a", "open"))
	// aborted, its marker, committed, its marker, open
	committed := u.reader(t, eventlog.ReaderOptions{})
	committed.Assign(out, 0, 0)
	if got, want := strings.Join(poll(t, committed, out, 0, 0, 4), " "), "2:a=committed"; got != want {
		t.Errorf("read committed: %q, want %q", got, want)
	}
	all := u.reader(t, eventlog.ReaderOptions{ReadUncommitted: true})
	all.Assign(out, 0, 0)
	if got, want := strings.Join(poll(t, all, out, 0, 0, 5), " "), "0:a=aborted 2:a=committed 4:a=open"; got != want {
		t.Errorf("read uncommitted: %q, want %q", got, want)
	}
}

func TestReaderDoesNotJumpFromAnOffsetThatIsNotThere(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{Partitions: 2})
	a := u.appender(t, eventlog.AppenderOptions{})
	appendAll(t, a, &eventlog.Record{Topic: topic, Key: []byte("k"), Value: []byte("v")})
	p := eventlog.Partition([]byte("k"), 2)
	r := u.reader(t, eventlog.ReaderOptions{})
	r.Assign(topic, p, 7)
	batches, err := r.Poll(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(batches) != 1 || !errors.Is(batches[0].Err, eventlog.ErrOffsetOutOfRange) || len(batches[0].Records) > 0 || batches[0].Next != 7 {
		t.Fatalf("got %+v", batches)
	}
	r.Assign(topic, p, 0)
	if got := poll(t, r, topic, p, 0, 1); len(got) != 1 {
		t.Errorf("after a new assignment: %v", got)
	}
}

func TestReaderOfAMissingTopicSaysSo(t *testing.T) {
	u := newLog(t)
	r := u.reader(t, eventlog.ReaderOptions{})
	r.Assign(u.prefix+".missing", 0, 0)
	batches, err := r.Poll(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(batches) != 1 || !errors.Is(batches[0].Err, eventlog.ErrNoTopic) {
		t.Errorf("got %+v", batches)
	}
}

func TestReaderAssignmentTakesEffectWhilePollWaits(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{})
	appendAll(t, u.appender(t, eventlog.AppenderOptions{}), &eventlog.Record{Topic: topic, Value: []byte("v")})
	r := u.reader(t, eventlog.ReaderOptions{})
	got := make(chan []eventlog.Batch, 1)
	go func() {
		batches, _ := r.Poll(within(t))
		got <- batches
	}()
	r.Assign(topic, 0, 0)
	if batches := <-got; len(batches) != 1 || len(batches[0].Records) != 1 {
		t.Errorf("got %+v", batches)
	}
}

func TestReaderAssignedBackReadsAgainFromThere(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{})
	var records []*eventlog.Record
	for i := range 100 {
		records = append(records, &eventlog.Record{Topic: topic, Value: []byte(fmt.Sprint(i))})
	}
	appendAll(t, u.appender(t, eventlog.AppenderOptions{}), records...)
	r := u.reader(t, eventlog.ReaderOptions{})
	for _, from := range []int64{0, 90, 10, 0} {
		r.Assign(topic, 0, from)
		if got := poll(t, r, topic, 0, from, 100); len(got) != int(100-from) {
			t.Errorf("from %d: %d records", from, len(got))
		}
	}
	r.Unassign(topic, 0)
	ctx, cancel := context.WithTimeout(within(t), 100*time.Millisecond)
	defer cancel()
	appendAll(t, u.appender(t, eventlog.AppenderOptions{}), &eventlog.Record{Topic: topic})
	if batches, err := r.Poll(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("unassigned: got %+v, %v", batches, err)
	}
}

func TestReaderPauseHoldsBackAndLosesNothing(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{})
	a := u.appender(t, eventlog.AppenderOptions{})
	appendAll(t, a, &eventlog.Record{Topic: topic, Value: []byte("1")})
	r := u.reader(t, eventlog.ReaderOptions{})
	r.Assign(topic, 0, 0)
	poll(t, r, topic, 0, 0, 1)
	r.Pause(topic, 0)
	appendAll(t, a, &eventlog.Record{Topic: topic, Value: []byte("2")})
	ctx, cancel := context.WithTimeout(within(t), 200*time.Millisecond)
	defer cancel()
	if batches, err := r.Poll(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("paused: got %+v, %v", batches, err)
	}
	r.Resume(topic, 0)
	if got := poll(t, r, topic, 0, 1, 2); len(got) != 1 {
		t.Errorf("resumed: got %v", got)
	}
}

func TestReaderCloseEndsPoll(t *testing.T) {
	u := newLog(t)
	r := u.reader(t, eventlog.ReaderOptions{})
	errs := make(chan error, 1)
	go func() {
		_, err := r.Poll(within(t))
		errs <- err
	}()
	r.Close()
	if err := <-errs; !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
