package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/persistence/eventlog"
)

// WebhookSender posts messages to webhooks.
type WebhookSender interface {
	// Post sends a batch. An error that wraps ErrWebhookRefused says that the
	// receiver will never take it; all others are tried again.
	Post(ctx context.Context, w partition.Webhook, batch []WebhookMessage) error
}

// ErrWebhookRefused: the receiver of a webhook will not take a batch.
var ErrWebhookRefused = errors.New("the receiver refused it")

// WebhookMessage is a message for a webhook; its headers are those of the
// built-in endpoint (docs/format/messages.md) and the message's place in the
// device log, which stays the same when it is posted again.
type WebhookMessage struct {
	Key, Value []byte
	Headers    []partition.Header
	Time       time.Time // when it was copied
}

// WebhookOptions configure the posting of messages to webhooks.
type WebhookOptions struct {
	Sender   WebhookSender // nil: what routes send to webhooks waits
	Attempts int           // to post a batch before its messages are dead letters; 0: 12
	MaxWait  time.Duration // longest pause between two of them; 0: 1 min
}

// Bounds of one post.
const (
	webhookBatch      = 100
	webhookBatchBytes = 1 << 20
	webhookTimeout    = 30 * time.Second
	webhookFirstWait  = 200 * time.Millisecond
	webhookLook       = time.Second // how often ownership is looked at and progress is saved
)

func (o WebhookOptions) orDefaults() WebhookOptions {
	set(&o.Attempts, 12)
	set(&o.MaxWait, time.Minute)
	return o
}

// WebhookStatus is how the posting to a webhook fares on this node.
type WebhookStatus struct {
	Name        string
	State       string // "idle", "delivering", "retrying"
	Cause       string // why the last attempt failed
	Lag         int64  // messages that wait
	Delivered   int64
	DeadLetters int64
}

// webhook posts the messages of one webhook's topic, partition by partition in
// order, at least once: how far it came is kept in a consumer group of the
// topic's name, and what was posted after that is posted again after a crash.
type webhook struct {
	node   *Node
	name   string
	topic  string
	cancel context.CancelFunc
	done   chan struct{}

	next  map[int32]int64 // next offset to post, of the partitions that are read; the loop's own
	saved map[int32]int64

	mu     sync.Mutex // guards the following; nothing is called while it is held
	status WebhookStatus
}

// runWebhooks starts and stops posting, so that it is done for exactly the names
// given. It is called with routing.turn held.
func (n *Node) runWebhooks(names []string) {
	if n.options.Webhooks.Sender == nil {
		return
	}
	n.routing.mu.Lock()
	var gone []*webhook
	for name, w := range n.routing.webhooks {
		if !slices.Contains(names, name) {
			gone = append(gone, w)
			delete(n.routing.webhooks, name)
		}
	}
	for _, name := range names {
		if n.routing.webhooks[name] != nil {
			continue
		}
		w := &webhook{node: n, name: name, topic: n.webhookPrefix() + name, done: make(chan struct{}), next: map[int32]int64{}, saved: map[int32]int64{}}
		w.status = WebhookStatus{Name: name, State: "idle"}
		var ctx context.Context
		ctx, w.cancel = context.WithCancel(n.failed)
		n.routing.webhooks[name] = w
		n.group.Go(func() error {
			defer close(w.done)
			return w.run(ctx)
		})
	}
	n.routing.mu.Unlock()
	for _, w := range gone {
		w.cancel()
		<-w.done
	}
}

func (n *Node) webhookStatus() []WebhookStatus {
	n.routing.mu.Lock()
	defer n.routing.mu.Unlock()
	var all []WebhookStatus
	for _, w := range n.routing.webhooks {
		w.mu.Lock()
		all = append(all, w.status)
		w.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b WebhookStatus) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

// run posts until ctx ends. Trouble with the log is waited out.
func (w *webhook) run(ctx context.Context) error {
	reader, err := w.node.log.NewReader(eventlog.ReaderOptions{MaxBytes: 4 << 20, MaxPartitionBytes: 512 << 10})
	if err != nil {
		return err
	}
	defer reader.Close()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		w.save(ctx)
	}()
	looked := time.Time{}
	for ctx.Err() == nil {
		if now := w.node.now(); now.Sub(looked) >= webhookLook {
			looked = now
			if err := w.look(ctx, reader); err != nil && ctx.Err() == nil {
				w.node.logger.Warn("webhook: ask the log", "webhook", w.name, "err", err)
			}
		}
		polled, cancel := context.WithTimeout(ctx, webhookLook)
		batches, err := reader.Poll(polled)
		cancel()
		if err != nil && polled.Err() == nil {
			pause(ctx, webhookLook)
		}
		for _, b := range batches {
			err := w.batch(ctx, reader, b)
			if ctx.Err() != nil {
				return nil // how far it came is saved at the end
			}
			if err != nil {
				w.node.logger.Warn("webhook: read the log", "webhook", w.name, "err", err)
				reader.Unassign(b.Topic, b.Partition)
				delete(w.next, b.Partition)
			}
		}
	}
	return nil
}

// look makes the partitions that are read those whose devices core runs here, so
// that of several nodes one posts a message, saves progress and measures the lag.
func (w *webhook) look(ctx context.Context, reader *eventlog.Reader) error {
	if err := w.save(ctx); err != nil {
		return err
	}
	var missing []int32
	for p, h := range w.node.devices {
		_, reads := w.next[int32(p)]
		switch runs := h.status.Load().State == "running"; {
		case runs && !reads:
			missing = append(missing, int32(p))
		case !runs && reads:
			reader.Unassign(w.topic, int32(p))
			delete(w.next, int32(p))
		}
	}
	if len(missing) > 0 {
		committed, err := w.node.log.GroupOffsets(ctx, w.topic, w.topic)
		if err != nil {
			return err
		}
		ranges, err := w.node.log.Offsets(ctx, w.topic)
		if err != nil {
			return err
		}
		for _, p := range missing {
			r, ok := ranges[p]
			if !ok {
				continue
			}
			at, ok := committed[p]
			if !ok || at < r.Start {
				at = r.Start
			}
			w.next[p], w.saved[p] = at, at
			reader.Assign(w.topic, p, at)
			reader.Resume(w.topic, p)
		}
	}
	stable, err := w.node.log.Stable(ctx, w.topic)
	if err != nil {
		return err
	}
	lag := int64(0)
	for p, at := range w.next {
		lag += max(0, stable[p]-at)
	}
	w.mu.Lock()
	w.status.Lag = lag
	w.mu.Unlock()
	return nil
}

// save commits how far each partition has come.
func (w *webhook) save(ctx context.Context) error {
	moved := map[int32]int64{}
	for p, at := range w.next {
		if w.saved[p] != at {
			moved[p] = at
		}
	}
	if len(moved) == 0 {
		return nil
	}
	if err := w.node.log.CommitGroupOffsets(ctx, w.topic, map[string]map[int32]int64{w.topic: moved}); err != nil {
		return err
	}
	for p, at := range moved {
		w.saved[p] = at
	}
	return nil
}

// batch posts what was read of one partition.
func (w *webhook) batch(ctx context.Context, reader *eventlog.Reader, b eventlog.Batch) error {
	if b.Err != nil {
		return b.Err
	}
	next, ok := w.next[b.Partition]
	if !ok {
		return nil // it was given up meanwhile
	}
	recs := b.Records
	for len(recs) > 0 && recs[0].Offset < next {
		recs = recs[1:]
	}
	for len(recs) > 0 {
		n, bytes := 0, 0
		for n < len(recs) && n < webhookBatch && (n == 0 || bytes+len(recs[n].Value) <= webhookBatchBytes) {
			bytes += len(recs[n].Value)
			n++
		}
		if err := w.deliver(ctx, recs[:n]); err != nil {
			return err
		}
		w.next[b.Partition] = recs[n-1].Offset + 1
		recs = recs[n:]
	}
	if b.Next > w.next[b.Partition] {
		w.next[b.Partition] = b.Next
	}
	return nil
}

// deliver posts records until they are taken or dead letters. Of a batch that is
// refused each message is tried alone: one bad message is not the end of others.
func (w *webhook) deliver(ctx context.Context, recs []*eventlog.Record) error {
	err := w.post(ctx, recs)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrWebhookRefused) && len(recs) > 1:
		for i := range recs {
			if err := w.deliver(ctx, recs[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	for _, r := range recs {
		if err := w.bury(ctx, r, err); err != nil {
			return err
		}
	}
	return nil
}

// post tries to post records until they are taken, refused, or the attempts are
// used up.
func (w *webhook) post(ctx context.Context, recs []*eventlog.Record) error {
	batch := make([]WebhookMessage, len(recs))
	for i, r := range recs {
		batch[i] = WebhookMessage{Key: r.Key, Value: r.Value, Time: r.Timestamp, Headers: make([]partition.Header, len(r.Headers))}
		for j, h := range r.Headers {
			batch[i].Headers[j] = partition.Header(h)
		}
	}
	o := &w.node.options.Webhooks
	wait := webhookFirstWait
	w.say("delivering", nil)
	for attempt := 1; ; attempt++ {
		err := w.attempt(ctx, batch)
		if err == nil {
			w.mu.Lock()
			w.status.Delivered += int64(len(recs))
			w.mu.Unlock()
			w.say("idle", nil)
			w.node.metrics.webhooks.posted.WithLabelValues(w.name, "ok").Add(float64(len(recs)))
			return nil
		}
		w.node.metrics.webhooks.posts.WithLabelValues(w.name).Inc()
		w.say("retrying", err)
		if errors.Is(err, ErrWebhookRefused) || ctx.Err() != nil || attempt >= o.Attempts {
			return err
		}
		if !pause(ctx, wait/2+rand.N(wait)) {
			return ctx.Err()
		}
		if attempt == 1 {
			// The receiver may be out of order for long: what it took before must
			// not come again when the node ends meanwhile.
			if err := w.save(ctx); err != nil {
				w.node.logger.Warn("webhook: save progress", "webhook", w.name, "err", err)
			}
		}
		wait = min(2*wait, o.MaxWait)
	}
}

func (w *webhook) attempt(ctx context.Context, batch []WebhookMessage) error {
	// The address may have been changed while the batch waited.
	hooks := w.node.routing.plan.Load().Routing.Webhooks
	i := slices.IndexFunc(hooks, func(h partition.Webhook) bool { return h.Name == w.name })
	if i < 0 {
		return fmt.Errorf("webhook %s is gone", w.name)
	}
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	return w.node.options.Webhooks.Sender.Post(ctx, hooks[i], batch)
}

func (w *webhook) say(state string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.State = state
	if err != nil {
		w.status.Cause = err.Error()
	} else if state == "idle" {
		w.status.Cause = ""
	}
}

// bury appends a message that is not taken to the dead letters and returns when
// it is durable there.
func (w *webhook) bury(ctx context.Context, r *eventlog.Record, cause error) error {
	row := partition.Undelivered(w.name, cause.Error(), w.topic, r.Partition, r.Offset, r.Key, r.Value)
	done := make(chan error, 1)
	w.node.appender.Append(ctx, &eventlog.Record{Topic: w.node.topics.deadLetter, Partition: -1, Key: r.Key, Value: row}, func(_ *eventlog.Record, err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("write a dead letter: %w", err)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	w.status.DeadLetters++
	w.mu.Unlock()
	w.node.metrics.webhooks.posted.WithLabelValues(w.name, "dead_letter").Inc()
	return nil
}
