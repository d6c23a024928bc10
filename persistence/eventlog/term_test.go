package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gemello/gemello/persistence/eventlog"
)

func TestCommitIsVisibleWithTheOffsetsItReported(t *testing.T) {
	u := newLog(t)
	out := u.topic(t, "out", eventlog.TopicSpec{Partitions: 2})
	term := u.term(t, "core")
	slab := []eventlog.Record{record(out, 0, "a", "1"), record(out, 1, "b", "2"), record(out, 0, "c", "3")}
	for round := range 3 {
		if err := term.Commit(within(t), slab); err != nil {
			t.Fatal(err)
		}
		for i := range slab {
			r := &slab[i]
			if got := u.committed(t, out, r.Partition, r.Offset); !strings.HasPrefix(got, word(r)) {
				t.Errorf("round %d: at the offset of %s is %q", round, word(r), got)
			}
		}
	}
}

// The client learns of a topic while the first records for it are on their way,
// and must not take a transaction for empty that has some.
func TestFirstCommitToATopicIsCommitted(t *testing.T) {
	u := newLog(t)
	const terms, rounds = 8, 4
	var all sync.WaitGroup
	for n := range terms {
		out := u.topic(t, fmt.Sprint("out", n), eventlog.TopicSpec{})
		all.Go(func() {
			for round := range rounds {
				term := u.term(t, fmt.Sprint("core", n))
				if err := term.Commit(within(t), []eventlog.Record{record(out, 0, "a", "1")}); err != nil {
					t.Error(err)
					return
				}
				stable, err := u.Stable(within(t), out)
				// Each commit is one record and one control record.
				if want := int64(2 * (round + 1)); err != nil || stable[0] != want {
					t.Errorf("after commit %d of %s the last stable offset is %d, %v; want %d", round, out, stable[0], err, want)
					return
				}
				term.Close()
			}
		})
	}
	all.Wait()
}

func TestOlderTermIsFencedAndWhatItLeftOpenStaysInvisible(t *testing.T) {
	u := newLog(t)
	out := u.topic(t, "out", eventlog.TopicSpec{})
	older := u.term(t, "core")
	if err := older.Commit(within(t), []eventlog.Record{record(out, 0, "a", "older")}); err != nil {
		t.Fatal(err)
	}
	newer := u.term(t, "core")
	err := older.Commit(within(t), []eventlog.Record{record(out, 0, "a", "zombie")})
	if eventlog.Classify(err) != eventlog.Fenced {
		t.Fatalf("the older term got %v (%v), want fenced", err, eventlog.Classify(err))
	}
	if err := newer.Commit(within(t), []eventlog.Record{record(out, 0, "a", "newer")}); err != nil {
		t.Fatal(err)
	}
	err = older.Commit(within(t), []eventlog.Record{record(out, 0, "a", "zombie")})
	if eventlog.Classify(err) != eventlog.Fenced {
		t.Errorf("the older term's next commit got %v", err)
	}
	got := u.committed(t, out, 0, 0)
	if strings.Contains(got, "zombie") || !strings.Contains(got, "a=older") || !strings.Contains(got, "a=newer") {
		t.Errorf("committed is %q", got)
	}
}

// openTransaction leaves a transaction of the id open, as a process that dies
// between produce and commit does.
func (u *underTest) openTransaction(t *testing.T, id string, records ...eventlog.Record) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(u.seed), kgo.TransactionalID(u.prefix+"."+id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if err := cl.ProduceSync(within(t), &records[i]).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenTransactionIsAbortedByTheNextTermAndNeverSeen(t *testing.T) {
	u := newLog(t)
	out := u.topic(t, "out", eventlog.TopicSpec{})
	u.openTransaction(t, "core", record(out, 0, "a", "lost"))
	ranges, err := u.Offsets(within(t), out)
	if err != nil {
		t.Fatal(err)
	}
	if got := ranges[0]; got != (eventlog.Range{Start: 0, Stable: 0, High: 1}) {
		t.Errorf("with an open transaction the range is %+v", got)
	}
	term := u.term(t, "core")
	if err := term.Commit(within(t), []eventlog.Record{record(out, 0, "a", "kept")}); err != nil {
		t.Fatal(err)
	}
	if got := u.committed(t, out, 0, 0); strings.Contains(got, "lost") || !strings.HasSuffix(got, "a=kept") {
		t.Errorf("committed is %q", got)
	}
}

func TestCommitNamesTheTopicThatRefusesIt(t *testing.T) {
	for name, bad := range map[string]func(u *underTest) eventlog.Record{
		"missing topic": func(u *underTest) eventlog.Record { return record(u.prefix+".missing", 0, "a", "1") },
		"record too large": func(u *underTest) eventlog.Record {
			return record(u.topic(t, "small", eventlog.TopicSpec{MaxMessageBytes: 1000}), 0, "a", strings.Repeat("x", 2000))
		},
		"record larger than a batch": func(u *underTest) eventlog.Record {
			return record(u.topic(t, "plain", eventlog.TopicSpec{}), 0, "a", strings.Repeat("x", 3<<20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newLog(t)
			out := u.topic(t, "out", eventlog.TopicSpec{})
			rec := bad(u)
			term := u.term(t, "core")
			err := term.Commit(within(t), []eventlog.Record{record(out, 0, "a", "with it"), rec})
			sink, ok := errors.AsType[*eventlog.SinkError](err)
			if !ok || sink.Topic != rec.Topic || eventlog.Classify(err) != eventlog.Fatal {
				t.Fatalf("got %v (%v), want a SinkError of %s", err, eventlog.Classify(err), rec.Topic)
			}
			if err := term.Commit(within(t), []eventlog.Record{record(out, 0, "a", "after")}); err == nil {
				t.Error("the term went on after an error")
			}
			if err := u.term(t, "core").Commit(within(t), []eventlog.Record{record(out, 0, "a", "next term")}); err != nil {
				t.Fatal(err)
			}
			if got := u.committed(t, out, 0, 0); !strings.HasSuffix(got, "a=next term") || strings.Contains(got, "with it") {
				t.Errorf("committed is %q", got)
			}
		})
	}
}

func TestEmptyCommitIsRefused(t *testing.T) {
	u := newLog(t)
	if err := u.term(t, "core").Commit(within(t), nil); err == nil {
		t.Error("it was taken, though it proves nothing")
	}
}

func TestCommitThatIsGivenUpEndsTheTerm(t *testing.T) {
	u := newLog(t)
	out := u.topic(t, "out", eventlog.TopicSpec{})
	term := u.term(t, "core")
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	err := term.Commit(ctx, []eventlog.Record{record(out, 0, "a", "1")})
	if err == nil || eventlog.Classify(err) != eventlog.NewTerm {
		t.Errorf("got %v, want an error that asks for a new term", err)
	}
	if err := term.Commit(within(t), []eventlog.Record{record(out, 0, "a", "2")}); eventlog.Classify(err) != eventlog.NewTerm {
		t.Errorf("the next commit got %v", err)
	}
}

func TestCommitOfASlabLargerThanABatch(t *testing.T) {
	u := newLog(t)
	out := u.topic(t, "out", eventlog.TopicSpec{Partitions: 3})
	slab := make([]eventlog.Record, 30_000)
	for i := range slab {
		slab[i] = record(out, int32(i%3), fmt.Sprint("k", i), strings.Repeat("v", 100))
	}
	term := u.term(t, "core")
	for range 2 {
		if err := term.Commit(within(t), slab); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for p := range int32(3) {
		n += strings.Count(u.committed(t, out, p, 0), "=")
	}
	if n != 2*len(slab) {
		t.Errorf("%d records are committed, want %d", n, 2*len(slab))
	}
}

// mute is a connection to a log that seems to hear and never answers any more
// once the network is gone.
type mute struct {
	net.Conn
	gone <-chan struct{}
}

func (c mute) Write(p []byte) (int, error) {
	select {
	case <-c.gone:
		return len(p), nil
	default:
		return c.Conn.Write(p)
	}
}

func TestCommitIntoAMuteLogEndsWithItsContext(t *testing.T) {
	for name, slab := range map[string][]eventlog.Record{
		"all buffered":       {record("out", 0, "a", "1")},
		"more than has room": slices.Repeat([]eventlog.Record{record("out", 0, "a", strings.Repeat("x", 1000))}, 10),
	} {
		t.Run(name, func(t *testing.T) {
			u := newLog(t)
			out := u.topic(t, "out", eventlog.TopicSpec{})
			gone := make(chan struct{})
			l, err := eventlog.Open(within(t), eventlog.Options{
				Seeds: []string{u.seed},
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, address)
					return mute{conn, gone}, err
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Close)
			term, err := l.NewTerm(within(t), u.prefix+".core", eventlog.TermOptions{MaxBytes: 3000})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(term.Close)
			if err := term.Commit(within(t), []eventlog.Record{record(out, 0, "a", "before")}); err != nil {
				t.Fatal(err)
			}
			close(gone)
			for i := range slab {
				slab[i].Topic = out
			}
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			if err := term.Commit(ctx, slab); eventlog.Classify(err) != eventlog.NewTerm || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
}
