package actors

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

// feed is the one consumer that all cores of a class on this node share: the
// devices cores have one and the pipelines cores another, so that each has a
// cursor of its own (design 3.6). It hands batches to the queue of the core
// that reads the partition.
type feed struct {
	reader *eventlog.Reader
	logger *slog.Logger

	mu     sync.Mutex // guards queues; the reader may be called while it is held
	queues map[topicPartition]*queue
}

type topicPartition struct {
	topic     string
	partition int32
}

func newFeed(reader *eventlog.Reader, logger *slog.Logger) *feed {
	return &feed{reader: reader, logger: logger, queues: map[topicPartition]*queue{}}
}

// open assigns the partition from offset on and returns its queue; stable is the
// log's answer to a question put at asked. A queue of
// an earlier term is forgotten: batches that are still under way to it are
// dropped by the host, which knows its position.
func (f *feed) open(topic string, partition int32, offset, stable int64, asked time.Time) *queue {
	q := newQueue()
	q.known(stable, asked)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queues[topicPartition{topic, partition}] = q
	f.reader.Assign(topic, partition, offset)
	f.reader.Resume(topic, partition)
	return q
}

// close takes the partition away again if q is still its queue.
func (f *feed) close(topic string, partition int32, q *queue) {
	f.mu.Lock()
	defer f.mu.Unlock()
	tp := topicPartition{topic, partition}
	if f.queues[tp] == q {
		delete(f.queues, tp)
		f.reader.Unassign(topic, partition)
	}
}

// resume goes on fetching a partition whose queue has been drained.
func (f *feed) resume(topic string, partition int32, q *queue) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queues[topicPartition{topic, partition}] == q {
		f.reader.Resume(topic, partition)
	}
}

// run polls until ctx ends. A poll that fails for a passing reason is repeated;
// the error of one partition reaches that partition's host in its batch.
func (f *feed) run(ctx context.Context) error {
	for {
		batches, err := f.reader.Poll(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			f.logger.Warn("poll the log", "err", err)
			if !pause(ctx, 200*time.Millisecond) {
				return nil
			}
		}
		for _, b := range batches {
			f.deliver(b)
		}
	}
}

// watch asks the log for the ends of all topics that are read, until ctx ends: a
// core is idle only by the log's own word.
func (f *feed) watch(ctx context.Context, log *eventlog.Log, every time.Duration, now func() time.Time) error {
	for pause(ctx, every) {
		for _, topic := range f.topics() {
			asked := now()
			stable, err := log.Stable(ctx, topic)
			if err != nil {
				f.logger.Debug("ask for the end of a topic", "topic", topic, "err", err)
				continue
			}
			f.known(topic, stable, asked)
		}
	}
	return nil
}

func (f *feed) topics() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[string]bool{}
	for tp := range f.queues {
		seen[tp.topic] = true
	}
	return slices.Collect(maps.Keys(seen))
}

func (f *feed) known(topic string, stable map[int32]int64, asked time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, at := range stable {
		if q := f.queues[topicPartition{topic, p}]; q != nil {
			q.known(at, asked)
		}
	}
}

func (f *feed) deliver(b eventlog.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.queues[topicPartition{b.Topic, b.Partition}]
	if q != nil && q.push(b) {
		f.reader.Pause(b.Topic, b.Partition)
	}
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
