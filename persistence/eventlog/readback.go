package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadRange calls visit for the committed records in [from, to) of a
// partition, in order, and returns when the position is to; that it waits for
// transactions that are open before to is what makes it see all of them. An
// error of visit ends it. Records share memory with the fetch they came in.
// It is ErrOffsetOutOfRange if from is not on the log, and if to is beyond its
// end.
func (l *Log) ReadRange(ctx context.Context, topic string, partition int32, from, to int64, visit func(*Record) error) error {
	if from >= to {
		return nil
	}
	f, err := l.newFetcher(topic, partition)
	if err != nil {
		return err
	}
	defer f.close()
	return f.readRange(ctx, from, to, visit)
}

// LastByKey returns the newest committed record with the key. It takes the
// high watermark first, and waits for the transactions that are open before
// it, so a record committed before the call is never missed. It reads from
// near the tail, stepping back in growing strides.
func (l *Log) LastByKey(ctx context.Context, topic string, partition int32, key []byte) (*Record, bool, error) {
	ranges, err := l.Offsets(ctx, topic)
	if err != nil {
		return nil, false, err
	}
	r, ok := ranges[partition]
	if !ok {
		return nil, false, fmt.Errorf("topic %s partition %d: %w", topic, partition, ErrNoTopic)
	}
	f, err := l.newFetcher(topic, partition)
	if err != nil {
		return nil, false, err
	}
	defer f.close()
	var last *Record
	stride := int64(lastByKeyStride)
	for to := r.High; to > r.Start && last == nil; {
		from := max(r.Start, to-stride)
		err := f.readRange(ctx, from, to, func(rec *Record) error {
			if bytes.Equal(rec.Key, key) {
				last = rec
			}
			return nil
		})
		if errors.Is(err, ErrOffsetOutOfRange) {
			// Retention has passed from meanwhile; what is gone there is gone.
			if r, err = f.bounds(ctx, l); err == nil && r.Start <= from {
				err = ErrOffsetOutOfRange
			}
			if err == nil {
				continue
			}
		}
		if err != nil {
			return nil, false, err
		}
		to, stride = from, stride*4
	}
	return last, last != nil, nil
}

const (
	lastByKeyStride = 256
	readBackBytes   = 4 << 20
)

// fetcher reads one partition with fetches of its own. A consumer would not do:
// it tells of records only, and a range may end in batches whose records
// compaction has removed. A raw fetch tells the position after them.
type fetcher struct {
	cl         *kgo.Client
	topic      string
	partition  int32
	leader     int32 // -1: to be looked up
	decompress kgo.Decompressor
}

func (l *Log) newFetcher(topic string, partition int32) (*fetcher, error) {
	cl, err := l.client(namedFetches())
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", topic, err)
	}
	return &fetcher{cl: cl, topic: topic, partition: partition, leader: -1, decompress: kgo.DefaultDecompressor()}, nil
}

func (f *fetcher) close() { f.cl.Close() }

func (f *fetcher) bounds(ctx context.Context, l *Log) (Range, error) {
	ranges, err := l.Offsets(ctx, f.topic)
	return ranges[f.partition], err
}

type fetched struct {
	fp   kgo.FetchPartition
	next int64
	err  error
}

// readRange fetches one step ahead of visit, so that decoding and visiting
// overlap.
func (f *fetcher) readRange(ctx context.Context, from, to int64, visit func(*Record) error) error {
	ctx, cancel := context.WithCancel(ctx)
	steps := make(chan fetched, 1)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		defer close(steps)
		for at := from; at < to; {
			var s fetched
			s.fp, s.next, s.err = f.fetch(ctx, at, to)
			select {
			case steps <- s:
			case <-ctx.Done():
				return
			}
			if s.err != nil {
				return
			}
			at = s.next
		}
	}()
	defer func() {
		cancel()
		<-stopped
	}()
	at := from
	for s := range steps {
		if s.err != nil {
			return fmt.Errorf("read topic %s partition %d at offset %d of %d: %w", f.topic, f.partition, at, to, s.err)
		}
		for _, rec := range s.fp.Records {
			if rec.Offset >= to {
				break
			}
			if err := visit(rec); err != nil {
				return err
			}
		}
		at = s.next
	}
	if at < to {
		return fmt.Errorf("read topic %s partition %d at offset %d of %d: %w", f.topic, f.partition, at, to, ctx.Err())
	}
	return nil
}

// fetch returns what is committed at offset at, and the position after it. It
// waits while there is nothing.
func (f *fetcher) fetch(ctx context.Context, at, to int64) (kgo.FetchPartition, int64, error) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return kgo.FetchPartition{}, at, ctx.Err()
		case <-pause.C:
		}
		p, err := f.request(ctx, at)
		if err == nil {
			err = kerr.ErrorForCode(p.ErrorCode)
		}
		switch {
		case err == nil:
			if to > p.HighWatermark && p.HighWatermark >= 0 {
				return kgo.FetchPartition{}, at, fmt.Errorf("end is %d: %w", p.HighWatermark, ErrOffsetOutOfRange)
			}
			fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
				Offset: at, IsolationLevel: kgo.ReadCommitted(), Topic: f.topic, Partition: f.partition,
			}, p, f.decompress, nil)
			if fp.Err != nil {
				return fp, at, readError(fp.Err)
			}
			if next > at {
				return fp, next, nil
			}
			// Nothing yet: the broker has already waited.
			pause.Reset(0)
		case ctx.Err() != nil:
			return kgo.FetchPartition{}, at, ctx.Err()
		case kerr.IsRetriable(err) && !errors.Is(err, kerr.UnknownTopicOrPartition), kgo.IsRetryableBrokerErr(err):
			// A leader that moved or restarts.
			f.leader = -1
			pause.Reset(metadataMinAge)
		default:
			return kgo.FetchPartition{}, at, readError(err)
		}
	}
}

func (f *fetcher) request(ctx context.Context, at int64) (*kmsg.FetchResponseTopicPartition, error) {
	if f.leader < 0 {
		md, err := kadm.NewClient(f.cl).Metadata(ctx, f.topic)
		if err != nil {
			return nil, err
		}
		t, ok := md.Topics[f.topic]
		if !ok {
			return nil, ErrNoTopic
		}
		if t.Err != nil {
			return nil, t.Err
		}
		p, ok := t.Partitions[f.partition]
		if !ok {
			return nil, kerr.UnknownTopicOrPartition
		}
		if p.Leader < 0 {
			return nil, kerr.LeaderNotAvailable
		}
		f.leader = p.Leader
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxWaitMillis = int32(fetchMaxWait.Milliseconds())
	req.MinBytes = 1
	req.MaxBytes = readBackBytes
	req.IsolationLevel = 1
	req.SessionEpoch = -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = f.topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition = f.partition
	rp.CurrentLeaderEpoch = -1
	rp.FetchOffset = at
	rp.PartitionMaxBytes = readBackBytes
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	kresp, err := f.cl.Broker(int(f.leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := kresp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.Partition == f.partition {
				return p, nil
			}
		}
	}
	return nil, errors.New("the broker's answer lacks the partition")
}
