package broker

import (
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// One record alone: what a synchronous producer waits.
func BenchmarkProduceOne(b *testing.B) {
	s := start(b, Options{Dir: b.TempDir(), SyncWrites: true})
	createTopic(b, s, "events", 1)
	cl := client(b, s, kgo.ProducerLinger(0))
	r := kgo.Record{Topic: "events", Value: make([]byte, 150)}
	b.ReportAllocs()
	for b.Loop() {
		one := r
		if err := cl.ProduceSync(b.Context(), &one).FirstErr(); err != nil {
			b.Fatal(err)
		}
	}
}

// Many records from several producers, as fast as they may.
func BenchmarkProduceMany(b *testing.B) {
	for _, producers := range []int{1, 8} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			s := start(b, Options{Dir: b.TempDir(), SyncWrites: true})
			createTopic(b, s, "events", 8)
			var clients []*kgo.Client
			for range producers {
				clients = append(clients, client(b, s, kgo.MaxBufferedRecords(50_000)))
			}
			value := make([]byte, 150)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i, cl := range clients {
				wg.Go(func() {
					for n := range b.N / producers {
						cl.Produce(b.Context(), &kgo.Record{Topic: "events", Partition: int32((n + i) % 8), Value: value}, func(_ *kgo.Record, err error) {
							if err != nil {
								b.Error(err)
							}
						})
					}
					if err := cl.Flush(b.Context()); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// Reading back what is there.
func BenchmarkFetch(b *testing.B) {
	s := start(b, Options{Dir: b.TempDir()})
	createTopic(b, s, "events", 1)
	const n, size = 200_000, 150
	cl := client(b, s)
	for range n {
		cl.Produce(b.Context(), &kgo.Record{Topic: "events", Value: make([]byte, size)}, nil)
	}
	if err := cl.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(n * size)
	b.ReportAllocs()
	for b.Loop() {
		reader := client(b, s, kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		for got := 0; got < n; {
			fetches := reader.PollFetches(b.Context())
			if err := fetches.Err(); err != nil {
				b.Fatal(err)
			}
			got += fetches.NumRecords()
		}
		reader.Close()
	}
}
