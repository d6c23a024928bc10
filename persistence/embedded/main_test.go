package embedded

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/gemello/gemello/persistence/eventlog"
)

// serveDir makes the test binary a server on that directory, for tests that
// kill it.
const serveDir = "EMBEDDED_TEST_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveDir); dir != "" {
		s, err := Start(context.Background(), Options{Dir: dir, Listen: os.Getenv(serveDir + "_LISTEN")})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.Addr())
		bufio.NewReader(os.Stdin).ReadByte() // until killed
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func connect(t testing.TB, addr string, sasl eventlog.SASL) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(within(t), eventlog.Options{Seeds: []string{addr}, SASL: sasl})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func ensure(t testing.TB, l *eventlog.Log, specs ...eventlog.TopicSpec) {
	t.Helper()
	if err := l.EnsureTopics(within(t), specs...); err != nil {
		t.Fatal(err)
	}
}

func commit(t testing.TB, l *eventlog.Log, id string, records ...eventlog.Record) {
	t.Helper()
	term, err := l.NewTerm(within(t), id, eventlog.TermOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	if err := term.Commit(within(t), records); err != nil {
		t.Fatal(err)
	}
}

func record(topic string, partition int32, key, value string) eventlog.Record {
	return eventlog.Record{Topic: topic, Partition: partition, Key: []byte(key), Value: []byte(value)}
}

// read returns the committed records of a partition as "key=value" words.
func read(t testing.TB, l *eventlog.Log, topic string, partition int32) (words []string) {
	t.Helper()
	ranges, err := l.Offsets(within(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	r := ranges[partition]
	err = l.ReadRange(within(t), topic, partition, r.Start, r.High, func(rec *eventlog.Record) error {
		words = append(words, fmt.Sprintf("%s=%s", rec.Key, rec.Value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return words
}

// killed copies the directory of a running, idle server: what a kill at this
// moment would leave.
func killed(t testing.TB, s *Server) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(s.dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.Create(filepath.Join(to, rel))
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = io.Copy(out, in)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// segment returns the path of the only segment of a partition.
func segment(t testing.TB, dir, topic string, partition int32) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "partitions", fmt.Sprintf("%s-%d", topic, partition), "*.dat"))
	if err != nil || len(found) != 1 {
		t.Fatalf("segments of %s-%d: %v, %v", topic, partition, found, err)
	}
	return found[0]
}

// begin leaves a transaction open; the function it returns aborts it.
func begin(t testing.TB, s *Server, id string, r eventlog.Record) (abort func()) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr()), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(within(t), &r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := cl.EndTransaction(within(t), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
	}
}
