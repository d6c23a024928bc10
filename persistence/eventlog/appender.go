package eventlog

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"
)

// AppenderOptions bound an appender.
type AppenderOptions struct {
	// MaxRecords and MaxBytes bound what is appended and not yet acknowledged;
	// 0 is 100,000 records and 64 MiB.
	MaxRecords, MaxBytes int
	// Linger is how long a record may wait for company in its batch; 0 sends
	// at once, and records that come while a request is under way share the
	// next one. At most a minute.
	Linger time.Duration
	// MaxBatchBytes bounds one batch of one partition; 0 is 1,000,000. Smaller
	// ones are what other clients send, not what is fastest.
	MaxBatchBytes int32
	// DeliveryTimeout is how long a record is tried before done gets an error,
	// where its fate is known; 0 is 30 s.
	DeliveryTimeout time.Duration
}

// Appender writes records outside transactions: idempotent, acks=all, ordered
// within a key. It is safe for concurrent use.
type Appender struct {
	cl      *kgo.Client
	metrics *metrics
	room    *semaphore.Weighted
	max     int64
	least   int64        // what even an empty record takes of room
	last    atomic.Int64 // newest timestamp given, Unix milliseconds
}

// NewAppender makes an appender with a client of its own.
func (l *Log) NewAppender(o AppenderOptions) (*Appender, error) {
	maxRecords := cmp.Or(o.MaxRecords, 100_000)
	maxBytes := cmp.Or(o.MaxBytes, 64<<20)
	cl, err := l.client(
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*Record, int) int {
			return func(r *Record, n int) int { return int(Partition(r.Key, int32(n))) }
		})),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(o.Linger),
		kgo.ProducerBatchMaxBytes(cmp.Or(o.MaxBatchBytes, batchMaxBytes)),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.UnknownTopicRetries(unknownTopicRetries),
		kgo.RecordDeliveryTimeout(cmp.Or(o.DeliveryTimeout, 30*time.Second)),
		// Room is counted here, so the client's own limit must not be met first.
		kgo.MaxBufferedRecords(maxRecords+1),
	)
	if err != nil {
		return nil, fmt.Errorf("appender: %w", err)
	}
	return &Appender{
		cl:      cl,
		metrics: l.metrics,
		room:    semaphore.NewWeighted(int64(maxBytes)),
		max:     int64(maxBytes),
		least:   int64(max(1, maxBytes/maxRecords)),
	}, nil
}

// Append writes r to the partition that Partition gives to its key; what
// r.Partition holds is overwritten. A zero Timestamp is set to the clock, but
// never below an earlier one, for logs that don't stamp on their own.
//
// While the appender is over its limits Append blocks, until ctx ends; ctx
// bounds that wait alone and not the delivery, since records of others share
// the batch. done is called exactly once, after the log has acknowledged the
// record (r.Partition and r.Offset are set) or given up on it: from the
// client's goroutine, which serves all records, so it must not block; or from
// within Append if the record was never accepted. r must not be touched
// until then.
func (a *Appender) Append(ctx context.Context, r *Record, done func(*Record, error)) {
	size := int64(len(r.Key) + len(r.Value))
	for i := range r.Headers {
		size += int64(len(r.Headers[i].Key) + len(r.Headers[i].Value))
	}
	// One semaphore bounds both: each record takes its bytes or its share of
	// the records, whichever is more. A record larger than all room waits for
	// all of it and is then judged by the log.
	weight := min(max(size, a.least), a.max)
	if !a.room.TryAcquire(weight) {
		a.metrics.appendBlocked.Inc()
		if err := a.room.Acquire(ctx, weight); err != nil {
			a.metrics.appendRefused.Inc()
			done(r, fmt.Errorf("append to topic %s: no room: %w", r.Topic, err))
			return
		}
	}
	if r.Timestamp.IsZero() {
		r.Timestamp = a.stamp()
	}
	a.cl.Produce(context.Background(), r, func(r *Record, err error) {
		a.room.Release(weight)
		if err != nil {
			a.metrics.appendErrors.Inc()
			err = fmt.Errorf("append to topic %s: %w", r.Topic, sinkError(r.Topic, closedError(err)))
		} else {
			a.metrics.appendRecords.Inc()
			a.metrics.appendBytes.Add(float64(size))
		}
		done(r, err)
	})
}

// stamp returns the clock, but never less than it returned before.
func (a *Appender) stamp() time.Time {
	now := time.Now().UnixMilli()
	for {
		last := a.last.Load()
		if now <= last {
			return time.UnixMilli(last)
		}
		if a.last.CompareAndSwap(last, now) {
			return time.UnixMilli(now)
		}
	}
}

// Flush waits until all that was appended is done, or ctx ends.
func (a *Appender) Flush(ctx context.Context) error {
	if err := a.cl.Flush(ctx); err != nil {
		return fmt.Errorf("flush appender: %w", err)
	}
	return nil
}

// Close fails what is not acknowledged yet, with ErrClosed; it may still
// arrive. Call Flush first to avoid that.
func (a *Appender) Close() { a.cl.Close() }
