package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// batchMaxBytes is what the client may put in one batch of one partition. It
// stays below the default max.message.bytes of brokers (1,048,588), since a
// batch above that is refused as if each of its records were too large.
const batchMaxBytes = 1_000_000

// TermOptions tune a term.
type TermOptions struct {
	// Timeout bounds a transaction: a commit that takes longer is aborted by
	// the log, and an abandoned one holds up readers that long; 0 is 15 s.
	Timeout time.Duration
	// MaxBytes bounds what a commit buffers of its records at a time; beyond it
	// Commit waits for acknowledgements; 0 is 256 MiB.
	MaxBytes int
	// MaxBatchBytes bounds one batch of one partition, for logs whose topics
	// take less than 1 MB; 0 is 1,000,000.
	MaxBatchBytes int32
	// Compress compresses batches with LZ4. It costs CPU on both sides and pays
	// where the network or the log's disk is the limit.
	Compress bool
}

// Term is one life of one transactional id. It is for one goroutine; Close may
// be called from any.
type Term struct {
	id      string
	timeout time.Duration
	cl      *kgo.Client
	metrics *metrics
	known   known // Commit's own

	mu     sync.Mutex // guards closed
	closed bool
	err    error // what ended the term; Commit's own
}

// NewTerm begins a term. When it returns, every earlier term of the id, here
// or elsewhere, is fenced, and what it left open is aborted.
func (l *Log) NewTerm(ctx context.Context, transactionalID string, o TermOptions) (*Term, error) {
	timeout := cmp.Or(o.Timeout, 15*time.Second)
	compression := kgo.NoCompression()
	if o.Compress {
		compression = kgo.Lz4Compression()
	}
	cl, err := l.client(
		kgo.TransactionalID(transactionalID),
		kgo.TransactionTimeout(timeout),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*Record, int) int {
			return func(r *Record, n int) int {
				if r.Partition >= 0 {
					return int(r.Partition)
				}
				return int(Partition(r.Key, int32(n)))
			}
		})),
		// A full batch leaves at once; the rest leaves with Commit's flush. So
		// batches are as large as the slab allows, and no commit lingers.
		kgo.ProducerLinger(time.Minute),
		kgo.ProducerBatchMaxBytes(cmp.Or(o.MaxBatchBytes, batchMaxBytes)),
		kgo.ProducerBatchCompression(compression),
		kgo.MaxBufferedRecords(termMaxRecords),
		kgo.MaxBufferedBytes(cmp.Or(o.MaxBytes, 256<<20)),
		kgo.UnknownTopicRetries(unknownTopicRetries),
		kgo.RecordDeliveryTimeout(timeout),
	)
	if err != nil {
		return nil, fmt.Errorf("term %s: %w", transactionalID, err)
	}
	if _, _, err := cl.ProducerID(ctx); err != nil {
		cl.Close()
		return nil, fmt.Errorf("begin term %s: %w", transactionalID, err)
	}
	l.metrics.terms.Inc()
	return &Term{id: transactionalID, timeout: timeout, cl: cl, metrics: l.metrics, known: known{}}, nil
}

const termMaxRecords = 4 << 20

// Commit writes the records and commits them as one transaction. A record goes
// to its Partition, or, if that is negative, to the one Partition gives to its
// key. At least one record is required, since an empty transaction would not
// prove that the term still stands.
//
// On success each record's Partition and Offset are where it is. A zero
// Timestamp becomes the clock's, and stays in the slab. On any error
// the term is over: the transaction is aborted, or its outcome is not known,
// and the next term finds out. The slab is the term's until Commit returns;
// after an error the client may still hold on to it, so it must not be used
// again. ctx bounds the whole; the term's time-out does so too.
func (t *Term) Commit(ctx context.Context, records []Record) error {
	start := time.Now()
	err := t.commit(ctx, records)
	if err != nil {
		t.metrics.commitErrors.WithLabelValues(Classify(err).String()).Inc()
		t.err = err
		t.Close()
		return err
	}
	t.metrics.commitSeconds.Observe(time.Since(start).Seconds())
	t.metrics.commitRecords.Add(float64(len(records)))
	return nil
}

func (t *Term) commit(ctx context.Context, records []Record) error {
	if t.isClosed() {
		return fmt.Errorf("commit of term %s: %w", t.id, &termError{cmp.Or[error](t.err, ErrClosed)})
	}
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	fail := func(step string, err error) error {
		if errors.Is(err, kgo.ErrClientClosed) && ctx.Err() != nil {
			err = ctx.Err() // which is why
		}
		return fmt.Errorf("commit of term %s: %s: %w", t.id, step, &termError{closedError(err)})
	}
	if len(records) == 0 {
		return fail("begin", errors.New("no records"))
	}
	// Produce waits for room regardless of ctx, since a context of its own would
	// cost each record; so the end of ctx ends the client.
	stop := context.AfterFunc(ctx, t.Close)
	defer stop()
	if err := t.cl.BeginTransaction(); err != nil {
		return fail("begin", err)
	}
	var p pending
	p.left = len(records)
	p.done = make(chan struct{})
	promise := p.promise // one closure for the slab
	for i := range records {
		r := &records[i]
		r.Context = nil // of an earlier use of the slab
		t.cl.Produce(context.Background(), r, promise)
		if p.failed() {
			// The rest would be buffered only to be thrown away.
			return fail("produce", p.worst())
		}
	}
	if err := t.cl.Flush(ctx); err != nil {
		return fail("produce", cmp.Or(p.worst(), err))
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return fail("produce", cmp.Or(p.worst(), ctx.Err()))
	}
	if err := p.worst(); err != nil {
		return fail("produce", err)
	}
	if err := t.known.await(ctx, records, t.cl.PartitionLeader); err != nil {
		return fail("end", err)
	}
	if err := t.cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fail("end", err)
	}
	return nil
}

func (t *Term) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// Close ends the term; what it left open is aborted by the next term of the id
// or by the log after the time-out.
func (t *Term) Close() {
	t.mu.Lock()
	closed := t.closed
	t.closed = true
	t.mu.Unlock()
	if !closed {
		t.cl.Close()
	}
}
