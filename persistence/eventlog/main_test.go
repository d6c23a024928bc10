package eventlog_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gemello/gemello/persistence/broker"
	"github.com/gemello/gemello/persistence/eventlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kafka is the address of a real Kafka to test against; without it each test
// has an embedded log of its own.
var kafka = os.Getenv("GEMELLO_KAFKA")

// underTest is the log that a test runs against.
type underTest struct {
	*eventlog.Log
	seed   string
	prefix string // of all names, so that tests can share a log
	server *broker.Server
}

// within returns a context that ends a test that hangs.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newLog(t testing.TB) *underTest {
	t.Helper()
	u := &underTest{seed: kafka, prefix: "t" + strings.ToLower(rand.Text()[:8])}
	if kafka == "" {
		var err error
		u.server, err = broker.Start(within(t), broker.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		u.seed = u.server.Addr()
		t.Cleanup(func() {
			if err := u.server.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	u.Log = u.open(t)
	return u
}

func (u *underTest) open(t testing.TB) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(within(t), eventlog.Options{Seeds: []string{u.seed}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// topic makes a topic with the spec's settings under a name of this test.
func (u *underTest) topic(t testing.TB, name string, spec eventlog.TopicSpec) string {
	t.Helper()
	spec.Name = u.prefix + "." + name
	spec.Partitions = max(1, spec.Partitions)
	if err := u.EnsureTopics(within(t), spec); err != nil {
		t.Fatal(err)
	}
	return spec.Name
}

func (u *underTest) term(t testing.TB, id string) *eventlog.Term {
	t.Helper()
	term, err := u.NewTerm(within(t), u.prefix+"."+id, eventlog.TermOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.Close)
	return term
}

func (u *underTest) reader(t testing.TB, o eventlog.ReaderOptions) *eventlog.Reader {
	t.Helper()
	r, err := u.NewReader(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func (u *underTest) appender(t testing.TB, o eventlog.AppenderOptions) *eventlog.Appender {
	t.Helper()
	a, err := u.NewAppender(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// appendAll appends and waits for all acknowledgements.
func appendAll(t testing.TB, a *eventlog.Appender, records ...*eventlog.Record) {
	t.Helper()
	errs := make(chan error, len(records))
	for _, r := range records {
		a.Append(within(t), r, func(_ *eventlog.Record, err error) { errs <- err })
	}
	for range records {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// committed reads what is committed of a partition from an offset on, up to
// the high watermark of now, as "offset:key=value" words.
func (u *underTest) committed(t testing.TB, topic string, partition int32, from int64) string {
	t.Helper()
	ranges, err := u.Offsets(within(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	err = u.ReadRange(within(t), topic, partition, from, ranges[partition].High, func(r *eventlog.Record) error {
		words = append(words, word(r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(words, " ")
}

func word(r *eventlog.Record) string { return fmt.Sprintf("%d:%s=%s", r.Offset, r.Key, r.Value) }

func record(topic string, partition int32, key, value string) eventlog.Record {
	return eventlog.Record{Topic: topic, Partition: partition, Key: []byte(key), Value: []byte(value)}
}
