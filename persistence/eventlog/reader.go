package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ReaderOptions bound a reader.
type ReaderOptions struct {
	// MaxBytes bounds one fetch over all partitions of a broker, and so what
	// is buffered ahead of Poll; 0 is 16 MiB. The log may exceed it by one
	// batch.
	MaxBytes int32
	// MaxPartitionBytes bounds what one fetch brings of one partition; 0 is
	// 2 MiB.
	MaxPartitionBytes int32
	// ReadUncommitted hands out records of open and aborted transactions too.
	ReadUncommitted bool
}

// Batch is what a Poll brings of one partition.
type Batch struct {
	Topic     string
	Partition int32
	// Records in offset order, without control records. They share memory with
	// the fetch they came in.
	Records []*Record
	// First is the position before this batch and Next the one after it:
	// control records and gaps count, so Next may grow with no Records. A batch
	// whose First is not the position the caller is at belongs to an earlier
	// assignment of the partition and is to be dropped.
	First, Next int64
	// Stable and High are the last stable offset and the high watermark as of
	// this fetch.
	Stable, High int64
	// Err, when set, stopped the partition: it is not fetched again until it is
	// assigned anew. ErrOffsetOutOfRange and ErrNoTopic are told apart;
	// Stable and High are not known then.
	Err error
}

type topicPartition struct {
	topic     string
	partition int32
}

// change is a wish of another goroutine that the polling one fulfils, so that
// no batch fetched before it is delivered as if it came after.
type change struct {
	kind   byte // one of the change kinds
	tp     topicPartition
	offset int64
}

const (
	changeAssign byte = iota
	changeUnassign
	changePause // from here on: of fetching, not of the assignment
	changeResume
)

// Reader follows directly assigned partitions. Poll is for one goroutine; the
// other methods are safe for concurrent use and take effect with the next
// Poll, or with the one that is waiting.
type Reader struct {
	cl      *kgo.Client
	metrics *metrics

	mu      sync.Mutex // guards what follows; never held during I/O
	changes []change
	wake    context.CancelFunc // ends the wait of the Poll under way; nil if none
	closed  bool

	// Poll's own: the next offset of each assigned partition, and how often in
	// a row its topic was said to be missing.
	position map[topicPartition]int64
	missing  map[topicPartition]int
}

// NewReader makes a reader with a client of its own and nothing assigned.
func (l *Log) NewReader(o ReaderOptions) (*Reader, error) {
	level := kgo.ReadCommitted()
	if o.ReadUncommitted {
		level = kgo.ReadUncommitted()
	}
	cl, err := l.client(
		kgo.FetchIsolationLevel(level),
		// Without them the end of a transactional topic is never seen: its last
		// record is a control record.
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(cmp.Or(o.MaxBytes, 16<<20)),
		kgo.FetchMaxPartitionBytes(cmp.Or(o.MaxPartitionBytes, 2<<20)),
		kgo.FetchMaxWait(fetchMaxWait),
		// To learn that a topic is gone, which the client takes for a passing
		// state.
		kgo.KeepRetryableFetchErrors(),
	)
	if err != nil {
		return nil, fmt.Errorf("reader: %w", err)
	}
	return &Reader{cl: cl, metrics: l.metrics, position: make(map[topicPartition]int64), missing: make(map[topicPartition]int)}, nil
}

// fetchMaxWait is how long a broker holds a fetch that has nothing to answer.
const fetchMaxWait = 500 * time.Millisecond

// Assign reads the partition from offset on; it replaces an earlier assignment
// of the partition and its pause.
func (r *Reader) Assign(topic string, partition int32, offset int64) {
	r.change(change{changeAssign, topicPartition{topic, partition}, offset})
}

// Unassign stops reading the partition.
func (r *Reader) Unassign(topic string, partition int32) {
	r.change(change{changeUnassign, topicPartition{topic, partition}, 0})
}

// Pause holds the partition's fetches back. What is fetched and not yet polled
// is thrown away and fetched again after Resume, so pause with hysteresis.
func (r *Reader) Pause(topic string, partition int32) {
	r.change(change{changePause, topicPartition{topic, partition}, 0})
}

// Resume ends a pause.
func (r *Reader) Resume(topic string, partition int32) {
	r.change(change{changeResume, topicPartition{topic, partition}, 0})
}

func (r *Reader) change(c change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A change makes earlier ones of its partition void: an assignment all of
	// them, a pause only a pause. So there are at most two of a partition,
	// however long nobody polls.
	r.changes = slices.DeleteFunc(r.changes, func(earlier change) bool {
		return earlier.tp == c.tp && (c.kind <= changeUnassign || earlier.kind > changeUnassign)
	})
	r.changes = append(r.changes, c)
	if r.wake != nil {
		r.wake()
	}
}

// Close ends the reader; a Poll under way returns ErrClosed.
func (r *Reader) Close() {
	r.mu.Lock()
	r.closed = true
	if r.wake != nil {
		r.wake()
	}
	r.mu.Unlock()
	r.cl.Close()
}

// Poll waits until there are records or a partition fails, and returns at
// least one batch, or an error: that of ctx, ErrClosed, or one that is not a
// partition's matter, after which Poll may be called again.
func (r *Reader) Poll(ctx context.Context) ([]Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pollCtx, err := r.begin(ctx)
		if err != nil {
			return nil, err
		}
		fetches := r.cl.PollFetches(pollCtx)
		if err := r.end(); err != nil {
			return nil, err
		}
		if batches, err := r.batches(fetches); err != nil || len(batches) > 0 {
			return batches, err
		}
	}
}

// begin applies what was asked for and opens a wait that wake ends.
func (r *Reader) begin(ctx context.Context) (context.Context, error) {
	r.mu.Lock()
	changes := r.changes
	r.changes = nil
	if r.closed {
		r.mu.Unlock()
		return nil, ErrClosed
	}
	pollCtx, wake := context.WithCancel(ctx)
	r.wake = wake
	r.mu.Unlock()
	for _, c := range changes {
		r.apply(c)
	}
	return pollCtx, nil
}

func (r *Reader) end() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wake()
	r.wake = nil
	if r.closed {
		return ErrClosed
	}
	return nil
}

func (r *Reader) apply(c change) {
	one := map[string][]int32{c.tp.topic: {c.tp.partition}}
	switch c.kind {
	case changeAssign:
		if _, ok := r.position[c.tp]; ok {
			r.cl.RemoveConsumePartitions(one)
		}
		r.cl.ResumeFetchPartitions(one)
		r.position[c.tp] = c.offset
		r.cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{
			c.tp.topic: {c.tp.partition: kgo.NoResetOffset().At(c.offset)},
		})
	case changeUnassign:
		delete(r.position, c.tp)
		delete(r.missing, c.tp)
		r.cl.RemoveConsumePartitions(one)
		r.cl.ResumeFetchPartitions(one)
	case changePause:
		r.cl.PauseFetchPartitions(one)
	case changeResume:
		r.cl.ResumeFetchPartitions(one)
	}
}

// batches turns fetches into batches. An error that is not about a topic is
// returned.
func (r *Reader) batches(fetches kgo.Fetches) (batches []Batch, err error) {
	records := 0
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err != nil {
			switch {
			case errors.Is(p.Err, context.Canceled), errors.Is(p.Err, context.DeadlineExceeded):
				return // the end of the wait
			case p.Topic == "":
				err = fmt.Errorf("read: %w", closedError(p.Err))
				return
			case p.Partition < 0:
				// The whole topic.
				for tp := range r.position {
					if tp.topic == p.Topic {
						batches = r.failed(batches, tp, p.Err)
					}
				}
				return
			}
		}
		tp := topicPartition{p.Topic, p.Partition}
		first, ok := r.position[tp]
		if !ok {
			return // unassigned meanwhile
		}
		if n := len(p.Records); n > 0 {
			b := Batch{
				Topic: p.Topic, Partition: p.Partition,
				First: first, Next: p.Records[n-1].Offset + 1,
				Stable: p.LastStableOffset, High: p.HighWatermark,
				Records: withoutControl(p.Records),
			}
			records += len(b.Records)
			r.position[tp] = b.Next
			delete(r.missing, tp)
			batches = append(batches, b)
		}
		if p.Err != nil {
			batches = r.failed(batches, tp, p.Err)
		}
	})
	r.metrics.readRecords.Add(float64(records))
	return batches, err
}

// failed appends the batch that stops a partition, unless the error is one that
// passes.
func (r *Reader) failed(batches []Batch, tp topicPartition, err error) []Batch {
	if kerr.IsRetriable(err) {
		// The client looks for the leader by itself. All that matters of this
		// is a topic that stays away.
		if !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.UnknownTopicID) {
			return batches
		}
		if r.missing[tp]++; r.missing[tp] < unknownTopicRetries {
			return batches
		}
	}
	at := r.position[tp]
	r.apply(change{changeUnassign, tp, 0})
	r.metrics.readErrors.Inc()
	return append(batches, Batch{
		Topic: tp.topic, Partition: tp.partition, First: at, Next: at,
		Err: fmt.Errorf("read topic %s partition %d at offset %d: %w", tp.topic, tp.partition, at, readError(err)),
	})
}

// withoutControl drops control records in place.
func withoutControl(records []*Record) []*Record {
	for i, rec := range records {
		if !rec.Attrs.IsControl() {
			continue
		}
		kept := records[:i]
		for _, rec := range records[i+1:] {
			if !rec.Attrs.IsControl() {
				kept = append(kept, rec)
			}
		}
		return kept
	}
	return records
}

// readError gives the client's error the name that callers look for.
func readError(err error) error {
	if _, ok := errors.AsType[*kgo.ErrDataLoss](err); ok || errors.Is(err, kerr.OffsetOutOfRange) {
		return fmt.Errorf("%w: %w", ErrOffsetOutOfRange, err)
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) {
		return fmt.Errorf("%w: %w", ErrNoTopic, err)
	}
	return err
}
