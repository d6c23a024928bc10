package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/persistence/eventlog"
)

// logLoad is the client's side of one round.
type logLoad struct {
	*LogOptions
	target  *logTarget
	process *logProcess // nil: somebody else's
	log     *eventlog.Log
	prefix  string
	topics  []string // that were made
	out     io.Writer
}

// logKeys is the number of keys, so that all partitions get the same share.
const logKeys = 10_000

// telemetry returns messages of a size that compress no better than
// measurements do, since a log may compress what it keeps.
func telemetry(size int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([][]byte, 1009) // with the keys, pairs repeat late
	for i := range values {
		b := fmt.Appendf(nil, `{"ts":%d,"temperature":%.3f,"humidity":%.3f,"pad":"`, 1_700_000_000_000+i, 20+random.Float64(), 40+random.Float64())
		for len(b) < size-2 {
			b = append(b, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[random.IntN(64)])
		}
		values[i] = append(b, `"}`...)
	}
	return values
}

func (l *logLoad) topic(ctx context.Context, name string) (string, error) {
	name = l.prefix + "." + name
	err := l.log.EnsureTopics(ctx, eventlog.TopicSpec{
		Name: name, Partitions: l.Partitions, Retention: -1, RetentionBytes: -1, FlushMessages: l.target.flush,
	})
	if err == nil {
		l.topics = append(l.topics, name)
	}
	return name, err
}

// producer appends records as fast as its log takes them. Records come from
// slabs, since one allocation each would be a good part of what they cost.
type producer struct {
	log    *eventlog.Appender
	topic  string
	keys   [][]byte
	values [][]byte
	acked  *atomic.Int64
	err    atomic.Pointer[error]
}

func (p *producer) run(ctx context.Context, limit int64) error {
	done := func(_ *eventlog.Record, err error) {
		if err != nil {
			p.err.CompareAndSwap(nil, &err)
			return
		}
		p.acked.Add(1)
	}
	var slab []eventlog.Record
	for n := int64(0); n < limit && ctx.Err() == nil && p.err.Load() == nil; n++ {
		if len(slab) == 0 {
			slab = make([]eventlog.Record, 512)
		}
		r := &slab[0]
		slab = slab[1:]
		r.Topic, r.Key, r.Value = p.topic, p.keys[n%int64(len(p.keys))], p.values[n%int64(len(p.values))]
		p.log.Append(context.Background(), r, done)
	}
	// What is under way is let finish: a log must not be loaded with the rest
	// of an earlier round.
	if err := p.log.Flush(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if err := p.err.Load(); err != nil {
		return *err
	}
	return nil
}

// producers runs n producers until ctx ends or each has sent its share. The end
// of gone says that the log is not coming back, and nothing is waited for.
func (l *logLoad) producers(ctx, gone context.Context, topic string, n int, records int64, acked *atomic.Int64) error {
	keys := make([][]byte, logKeys)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "device-%06d", i)
	}
	values := telemetry(l.Payload)
	var g errgroup.Group
	for range n {
		// Room for three times the five requests that may be under way, so that a
		// slow log has not minutes to do when the time is over.
		room := max(1<<20, 3*5*int(l.Partitions)*int(l.BatchBytes))
		a, err := l.log.NewAppender(eventlog.AppenderOptions{Linger: l.Linger, MaxBatchBytes: l.BatchBytes, MaxBytes: room})
		if err != nil {
			return err
		}
		p := &producer{log: a, topic: topic, keys: keys, values: values, acked: acked}
		g.Go(func() error {
			defer a.Close()
			defer context.AfterFunc(gone, a.Close)()
			return p.run(ctx, records)
		})
	}
	return g.Wait()
}

// produce measures n producers for a time.
func (l *logLoad) produce(ctx context.Context, n int) error {
	topic, err := l.topic(ctx, fmt.Sprintf("produce-%d", n))
	if err != nil {
		return err
	}
	const unlimited = 1 << 62
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var acked atomic.Int64
	ended := make(chan error, 1)
	go func() { ended <- l.producers(loading, context.WithoutCancel(ctx), topic, n, unlimited, &acked) }()
	wait := func(d time.Duration) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case err := <-ended:
			return errors.Join(err, ctx.Err(), errors.New("the producers ended too early"))
		}
	}
	if err := wait(l.Warm); err != nil {
		return err
	}
	records, client, server, from := acked.Load(), processCPU(), l.serverCPU(), time.Now()
	if err := wait(l.Measured); err != nil {
		return err
	}
	records, client, server = acked.Load()-records, processCPU()-client, l.serverCPU()-server
	elapsed := time.Since(from)
	stop()
	if err := <-ended; err != nil {
		return err
	}
	l.report(fmt.Sprintf("LogProduce/log=%s/producers=%d", l.target.name, n), fmt.Sprintf("produce_%d_records_s", n),
		records, elapsed, client, server)
	return nil
}

func (l *logLoad) report(name, measure string, records int64, elapsed, client, server time.Duration) {
	rate := float64(records) / elapsed.Seconds()
	l.target.add(measure, rate)
	report(l.out, name, records, float64(elapsed.Nanoseconds())/float64(max(1, records)), "ns/op",
		rate, "records/s", rate*float64(l.Payload)/1e6, "MB/s",
		server.Seconds()/elapsed.Seconds(), "server-cpus", client.Seconds()/elapsed.Seconds(), "client-cpus")
}

func (l *logLoad) serverCPU() time.Duration {
	if l.process == nil {
		return 0
	}
	return l.process.cpu()
}

// single measures one record alone, each after the acknowledgement of the one
// before, in one partition.
func (l *logLoad) single(ctx context.Context) error {
	topic, err := l.topic(ctx, "single")
	if err != nil {
		return err
	}
	a, err := l.log.NewAppender(eventlog.AppenderOptions{})
	if err != nil {
		return err
	}
	defer a.Close()
	values, key := telemetry(l.Payload), []byte("device")
	var lat latencies
	acked := make(chan error, 1)
	done := func(_ *eventlog.Record, err error) { acked <- err }
	const warm, most = 200, 5000
	end := time.Now().Add(l.Warm + l.Measured)
	for n := 0; n < most+warm && time.Now().Before(end); n++ {
		start := time.Now()
		a.Append(ctx, &eventlog.Record{Topic: topic, Key: key, Value: values[n%len(values)]}, done)
		if err := <-acked; err != nil {
			return err
		}
		if n >= warm {
			lat.add(time.Since(start))
		}
	}
	p50, p99 := micros(lat.quantile(0.5)), micros(lat.quantile(0.99))
	l.target.add(measureSingle, p50)
	l.target.add("single_p99_us", p99)
	report(l.out, "LogSingle/log="+l.target.name, lat.n, p50*1e3, "ns/op", p50, "p50-µs", p99, "p99-µs")
	return nil
}

// fill makes a topic with at least so many records, or with what a slow log
// takes in a while.
func (l *logLoad) fill(ctx context.Context, records int64) (string, error) {
	topic, err := l.topic(ctx, "consume")
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithTimeout(ctx, 15*time.Second)
	defer stop()
	const producers = 2
	var acked atomic.Int64
	return topic, l.producers(ctx, context.WithoutCancel(ctx), topic, producers, (records+producers-1)/producers, &acked)
}

// consume measures n consumers that share the partitions of a topic and read
// them from start to end.
func (l *logLoad) consume(ctx context.Context, topic string, n int) error {
	ranges, err := l.log.Offsets(ctx, topic)
	if err != nil {
		return err
	}
	n = min(n, len(ranges))
	readers := make([]*eventlog.Reader, n)
	left := make([]map[int32]int64, n)
	total := int64(0)
	for i := range readers {
		// The client's default sizes.
		readers[i], err = l.log.NewReader(eventlog.ReaderOptions{MaxBytes: 50 << 20, MaxPartitionBytes: 1 << 20})
		if err != nil {
			return err
		}
		defer readers[i].Close()
		left[i] = map[int32]int64{}
	}
	for p, r := range ranges {
		if r.High > r.Start {
			left[int(p)%n][p] = r.High
			total += r.High - r.Start
		}
	}
	var read atomic.Int64
	client, server, from := processCPU(), l.serverCPU(), time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for i, r := range readers {
		for p := range left[i] {
			r.Assign(topic, p, ranges[p].Start)
		}
		g.Go(func() error {
			for len(left[i]) > 0 {
				batches, err := r.Poll(ctx)
				if err != nil {
					return err
				}
				for _, b := range batches {
					if b.Err != nil {
						return b.Err
					}
					read.Add(int64(len(b.Records)))
					if b.Next >= left[i][b.Partition] {
						delete(left[i], b.Partition)
					}
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	elapsed := time.Since(from)
	if read.Load() != total {
		return fmt.Errorf("topic %s: %d records were read, %d are there", topic, read.Load(), total)
	}
	l.report(fmt.Sprintf("LogConsume/log=%s/consumers=%d", l.target.name, n), fmt.Sprintf("consume_%d_records_s", n),
		total, elapsed, processCPU()-client, l.serverCPU()-server)
	return nil
}
