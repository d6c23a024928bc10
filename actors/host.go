package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/persistence/store"
	"github.com/gemello/gemello/windows"
)

// core is what a host runs: one of partition's two cores behind the little that
// differs between them.
type core interface {
	// Apply handles the record at the core's position and moves past it. An
	// error means that state could not be read or spilled: the term ends.
	Apply(*partition.Record) error
	// Skip moves the position over offsets that hold no data records.
	Skip(next int64)
	Position() int64
	// Touch names the keys of the records that come next; it changes nothing.
	Touch(keys [][]byte)
	// Stamp says when what follows is read; Tick advances the arrival clock of an
	// idle, caught-up partition to the estimate, or to the wall clock where
	// arrival is the first read.
	Stamp(now windows.Tick)
	Tick(estimate, wall windows.Tick) error
	// Replay applies one journal entry.
	Replay(partition.Entry) error
	// Suppress turns outputs and replies off while committed input is replayed.
	Suppress(bool)
	// Effects are those since the last Take; Take swaps in the given empty ones.
	Effects() *partition.Effects
	Take(*partition.Effects) *partition.Effects
	// Checkpoint fills in what the core knows: clocks, rewind point, plans.
	Checkpoint(*eventlog.Checkpoint)
	// Check compares the recovered state with the checkpoint's figures.
	Check(*eventlog.Checkpoint) error
	// Save writes all changes since the last Save or Load.
	Save(windows.Batch) error
	// Unsaved counts the records that a restart would have to replay.
	Unsaved() int64
	// Report fills in figures; Close gives back what the core shares with others.
	Report(*partition.Figures)
	Close()
}

// hostOptions are what differs between the hosts of a node.
type hostOptions struct {
	node      *Node
	name      string // the transactional id, which also names the core on shared topics
	kind      string // "devices" or "pipelines": metrics label and folder
	source    string // input topic
	partition int32
	feed      *feed
	// current has requests wait until the core has applied what the log held when
	// its term began.
	current bool

	// changed, when not nil, is called with the running core after the host was
	// told to look for changes: it reports whether it changed the core, which
	// makes a barrier.
	changed func(core) (bool, error)
	// differs, when not nil, reports whether changed would change the core, so
	// that what is as it should be needs no barrier.
	differs func(core) bool
	// restore builds the core for a term: from the store when its applied point
	// is usable, else from the log. It returns the offset to replay from.
	restore func(context.Context, restoring) (core, int64, error)
	// began, when not nil, is called on the host's goroutine with the core of a new
	// term before it serves anything, and noted when it has moved on.
	began, noted func(core)
	// applied is called on the host's goroutine when records have been applied.
	applied func(*partition.Effects)
	// look, when not nil, is called now and then with a core that has caught up:
	// it may append records about what time alone brings, and changes nothing.
	look func(core)
	// committed is called after a commit with the checkpoint that it wrote.
	committed func(*eventlog.Checkpoint)
}

// restoring is what a term knows before its core exists.
type restoring struct {
	checkpoint *eventlog.Checkpoint // nil: nothing was ever committed
	store      *store.Store
	applied    store.Applied
	usable     bool // the store holds a state at or below the checkpoint
}

// host owns one core on one goroutine: it recovers the core, feeds it, commits
// its effects and flushes its state, one term after the other (design 3.4).
type host struct {
	hostOptions
	logger   *slog.Logger
	requests chan *request
	wake     chan struct{} // holds one token after tell
	cancel   context.CancelFunc
	status   atomic.Pointer[HostStatus]
	rewind   atomic.Int64 // oldest input offset that a rebuild would need, -1: none known
	flushed  atomic.Int64 // input offset that the store has applied
	alarm    atomic.Bool  // that offset is no longer in the log
	stopped  chan struct{}
	gone     atomic.Bool // the source has no pipelines any more: the last term drops their state
	owned    bool        // it has committed, so whoever commits later has taken over; its goroutine's own
}

// request is a function to run on the host's goroutine; done is closed after.
type request struct {
	run   func(core)
	taken atomic.Bool   // by the core's goroutine, or back by who asked
	done  chan struct{} // closed when run has ended
	ended bool          // run came to its end; read after done
}

// serve runs the request unless who asked has given it up.
func (r *request) serve(c core) {
	if !r.taken.CompareAndSwap(false, true) {
		return
	}
	defer close(r.done)
	r.run(c)
	r.ended = true
}

// giveUp takes the request back, so that it never runs. One that runs already is
// waited for, as it is short and may write to what the caller holds: ok then
// tells that it came to its end.
func (r *request) giveUp() (ok bool) {
	if r.taken.CompareAndSwap(false, true) {
		return false
	}
	<-r.done
	return r.ended
}

// HostStatus says what a core's host is doing, for health and explain.
type HostStatus struct {
	Core      string
	Kind      string
	Source    string
	Partition int32
	State     string // "starting", "recovering", "running", "waiting", "fenced", "stopped"
	Cause     string // why it is not running, with the remedy
	Position  int64
	Committed int64
	Lag       int64
	Since     time.Time
}

// requestQueue bounds the requests that wait for one core; a full queue answers
// ErrBusy.
const requestQueue = 1024

func newHost(o hostOptions) *host {
	h := &host{
		hostOptions: o,
		logger:      o.node.logger.With("core", o.name),
		requests:    make(chan *request, requestQueue),
		wake:        make(chan struct{}, 1),
		stopped:     make(chan struct{}),
	}
	h.setStatus("starting", "")
	return h
}

func (h *host) setStatus(state, cause string) {
	s := HostStatus{Core: h.name, Kind: h.kind, Source: h.source, Partition: h.partition, State: state, Cause: cause, Since: h.node.now()}
	if old := h.status.Load(); old != nil {
		s.Position, s.Committed, s.Lag = old.Position, old.Committed, old.Lag
	}
	h.status.Store(&s)
}

// tell makes the host look for changes of plans at its next step.
func (h *host) tell() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// do runs fn on the core's goroutine and waits for it. While the core recovers
// it answers ErrUnavailable at once, and ErrBusy when too many requests wait; a
// core that is current makes it wait for what was in the log before. Once it has
// returned fn does not run, nor will it.
func (h *host) do(ctx context.Context, fn func(core)) error {
	if h.status.Load().State != "running" {
		return fmt.Errorf("%s is %s: %w", h.name, h.status.Load().State, ErrUnavailable)
	}
	r := &request{run: fn, done: make(chan struct{})}
	select {
	case h.requests <- r:
	default:
		return fmt.Errorf("%s: %d requests wait: %w", h.name, requestQueue, ErrBusy)
	}
	select {
	case <-r.done:
		if r.ended {
			return nil
		}
		return ErrUnavailable // it failed with the core
	case <-ctx.Done():
		if r.giveUp() {
			return nil
		}
		return ctx.Err()
	case <-h.stopped:
		if r.giveUp() {
			return nil
		}
		return ErrUnavailable
	}
}

// run lives terms until ctx ends. What a failed term did not commit is simply
// done again by the next.
func (h *host) run(ctx context.Context) {
	defer close(h.stopped)
	wait := 50 * time.Millisecond
	for {
		started := h.node.now()
		err := h.guarded(ctx)
		if ctx.Err() != nil {
			h.setStatus("stopped", "")
			return
		}
		class := eventlog.Classify(err)
		switch {
		case h.node.options.Heartbeat == 0 && class == eventlog.Fenced:
			class = eventlog.NewTerm // nobody else has this log: it gave up a transaction by itself
		case h.node.options.Heartbeat > 0 && class != eventlog.Fenced && h.taken(ctx):
			class = eventlog.Fenced
		}
		if h.node.now().Sub(started) > 10*time.Second {
			wait = 50 * time.Millisecond
		}
		switch class {
		case eventlog.Fenced:
			h.node.metrics.fences.WithLabelValues(h.kind).Inc()
			h.setStatus("fenced", "another process owns this partition; stop one of the two nodes")
			h.logger.Warn("fenced by another owner", "err", err)
			// An older process that mistook its loss for a failure of the log may
			// have come back: it goes away at the next try.
			if h.elder(ctx) && pause(ctx, wait/2+rand.N(wait)) {
				wait = min(2*wait, 5*time.Second)
				continue
			}
			if !h.awaitStandstill(ctx) {
				h.setStatus("stopped", "")
				return
			}
		default:
			var sink *eventlog.SinkError
			if errors.As(err, &sink) && h.node.sinkFailed(h, sink) {
				h.logger.Error("topic refused rows; the pipelines or routes that write to it are suspended", "topic", sink.Topic, "err", err)
			} else {
				h.logger.Warn("term ended", "err", err, "again_in", wait)
			}
			h.setStatus("waiting", err.Error())
			if !pause(ctx, wait/2+rand.N(wait)) {
				h.setStatus("stopped", "")
				return
			}
			wait = min(2*wait, 5*time.Second)
		}
	}
}

// checkRetention raises the alarm when the log no longer holds the input that a
// lost store would be rebuilt from: open windows then depend on the store alone.
func (h *host) checkRetention(start int64) {
	need := h.rewind.Load()
	lost := need >= 0 && need < start
	if lost && !h.alarm.Load() {
		h.logger.Error("the log no longer holds the input that open windows depend on; raise the topic's retention above the longest window",
			"topic", h.source, "partition", h.partition, "needed_from", need, "log_starts_at", start)
	}
	h.alarm.Store(lost)
	value := 0.0
	if lost {
		value = 1
	}
	h.node.metrics.retention.WithLabelValues(h.kind, strconv.Itoa(int(h.partition))).Set(value)
}

// guarded runs a term and turns a panic in it into its error: a fault in one
// core stops that core's term, not the node.
func (h *host) guarded(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			h.logger.Error("core panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s panicked: %v", h.name, r)
		}
	}()
	return h.term(ctx)
}

// taken reports whether another process has committed since this one did: after
// an error whose cause says nothing of it, such as a commit that timed out while
// this process was frozen, the other must not be fenced in turn.
func (h *host) taken(ctx context.Context) bool {
	c, ok := h.newest(ctx)
	return ok && c.Node != h.node.life && !c.Released && h.owned
}

// elder reports whether the owner of the partition is a process that started
// before this one: of two the later is the one that was meant to take over.
func (h *host) elder(ctx context.Context) bool {
	c, ok := h.newest(ctx)
	return ok && olderLife(c.Node, h.node.life)
}

// newest reads the core's newest checkpoint.
func (h *host) newest(ctx context.Context) (c *eventlog.Checkpoint, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, takenWithin)
	defer cancel()
	rec, found, err := h.node.log.LastByKey(ctx, h.node.topics.checkpoints, h.node.bookPartition(h.partition), []byte(h.name))
	if err != nil || !found {
		return nil, false
	}
	c, err = eventlog.DecodeCheckpoint(rec.Value)
	return c, err == nil
}

// takenWithin bounds the look at a log that may be why the term ended.
const takenWithin = 5 * time.Second

// awaitStandstill waits until the newest checkpoint has not changed for a few
// heartbeats: a fenced host must not fight a live owner (design 4).
func (h *host) awaitStandstill(ctx context.Context) bool {
	const still = 5 * time.Second
	var last int64 = -2
	for {
		if !pause(ctx, still+rand.N(still)) {
			return false
		}
		rec, found, err := h.node.log.LastByKey(ctx, h.node.topics.checkpoints, h.node.bookPartition(h.partition), []byte(h.name))
		if err != nil {
			continue
		}
		now := int64(-1)
		if found {
			now = rec.Offset
		}
		if now == last {
			return true
		}
		last = now
	}
}
