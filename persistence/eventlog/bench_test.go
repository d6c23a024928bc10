//go:build unix

package eventlog_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gemello/gemello/persistence/broker"
	"github.com/gemello/gemello/persistence/eventlog"
)

const benchPartitions = 8

// durable is a log that acknowledges what is on disk.
func durable(b *testing.B) *underTest {
	b.Helper()
	if kafka != "" {
		return newLog(b)
	}
	s, err := broker.Start(within(b), broker.Options{Dir: b.TempDir(), SyncWrites: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	u := &underTest{seed: s.Addr(), prefix: "b", server: s}
	u.Log = u.open(b)
	return u
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, records int, start time.Duration) {
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(cpu()-start)/float64(records), "cpu-ns/record")
}

func body() []byte {
	return []byte(`{"deviceId":"device-000001","t":1700000000000,"temperature":21.53,"vibration":0.125,"state":"ok"}012345678901`)
}

// The embedded log runs in this process, so its share is in cpu-ns; against a
// Kafka (GEMELLO_KAFKA) it is not.
func BenchmarkAppend(b *testing.B) {
	u := durable(b)
	topic := u.topic(b, "log", eventlog.TopicSpec{Partitions: benchPartitions})
	a := u.appender(b, eventlog.AppenderOptions{})
	keys := make([][]byte, 10_000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "device-%06d", i)
	}
	value := body()
	failed := make(chan error, 1)
	done := func(_ *eventlog.Record, err error) {
		if err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}
	ctx := context.Background()
	start := cpu()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		a.Append(ctx, &eventlog.Record{Topic: topic, Key: keys[n%len(keys)], Value: value}, done)
		n++
	}
	if err := a.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
	report(b, n, start)
}

func benchSlab(topic string, n int) []eventlog.Record {
	slab := make([]eventlog.Record, n)
	for i := range slab {
		slab[i] = eventlog.Record{Topic: topic, Partition: -1, Key: fmt.Appendf(nil, "device-%06d", i%10_000), Value: body()}
	}
	return slab
}

func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 100, 100_000} {
		b.Run(fmt.Sprintf("records=%d", size), func(b *testing.B) {
			u := durable(b)
			topic := u.topic(b, "out", eventlog.TopicSpec{Partitions: benchPartitions})
			term := u.term(b, "core")
			slab := benchSlab(topic, size)
			commit := func() {
				for i := range slab {
					slab[i].Partition = -1
				}
				if err := term.Commit(context.Background(), slab); err != nil {
					b.Fatal(err)
				}
			}
			commit()
			start := cpu()
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				commit()
				n += size
			}
			report(b, n, start)
		})
	}
}

// BenchmarkCommitOfManyCores is one commit of one of 16 cores that commit all
// the time, as eight partitions of a hub do that can't keep up.
func BenchmarkCommitOfManyCores(b *testing.B) {
	u := durable(b)
	out := u.topic(b, "out", eventlog.TopicSpec{Partitions: benchPartitions})
	checkpoints := u.topic(b, "checkpoints", eventlog.TopicSpec{Partitions: benchPartitions})
	var core atomic.Int32
	b.SetParallelism(8) // times two processors
	b.RunParallel(func(pb *testing.PB) {
		n := core.Add(1)
		term, err := u.NewTerm(context.Background(), fmt.Sprint(u.prefix, n), eventlog.TermOptions{})
		if err != nil {
			b.Error(err)
			return
		}
		defer term.Close()
		for pb.Next() {
			slab := append(benchSlab(out, 100), record(checkpoints, n%benchPartitions, "core", "checkpoint"))
			if err := term.Commit(context.Background(), slab); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

const benchRead = 1_000_000

func BenchmarkRead(b *testing.B) {
	u := newLog(b)
	topic := u.topic(b, "log", eventlog.TopicSpec{Partitions: benchPartitions})
	term := u.term(b, "core")
	slab := benchSlab(topic, 100_000)
	for range benchRead / len(slab) {
		for i := range slab {
			slab[i].Partition = -1
		}
		if err := term.Commit(context.Background(), slab); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("reader", func(b *testing.B) {
		start := cpu()
		n := 0
		for b.Loop() {
			r, err := u.NewReader(eventlog.ReaderOptions{})
			if err != nil {
				b.Fatal(err)
			}
			for p := range int32(benchPartitions) {
				r.Assign(topic, p, 0)
			}
			for got := 0; got < benchRead; {
				batches, err := r.Poll(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				for i := range batches {
					got += len(batches[i].Records)
				}
			}
			r.Close()
			n += benchRead
		}
		report(b, n, start)
	})
	b.Run("plain client", func(b *testing.B) {
		start := cpu()
		n := 0
		for b.Loop() {
			at := make(map[int32]kgo.Offset)
			for p := range int32(benchPartitions) {
				at[p] = kgo.NewOffset().AtStart()
			}
			cl, err := kgo.NewClient(kgo.SeedBrokers(u.seed), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}),
				kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(16<<20), kgo.FetchMaxPartitionBytes(2<<20))
			if err != nil {
				b.Fatal(err)
			}
			for got := 0; got < benchRead; {
				got += cl.PollFetches(context.Background()).NumRecords()
			}
			cl.Close()
			n += benchRead
		}
		report(b, n, start)
	})
	b.Run("range", func(b *testing.B) {
		start := cpu()
		n := 0
		ranges, err := u.Offsets(context.Background(), topic)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			got := 0
			for p := range int32(benchPartitions) {
				if err := u.ReadRange(context.Background(), topic, p, 0, ranges[p].High, func(*eventlog.Record) error { got++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			n += got
		}
		report(b, n, start)
	})
}
