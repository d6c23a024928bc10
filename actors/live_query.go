package actors

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// LiveOptions bound the live queries of a node.
type LiveOptions struct {
	Queries    int // followed at a time; 0: 64
	Rows       int // in the answers of all together, of which key and checksum are kept; 0: 1,000,000
	QueueBytes int // of events of one query that its reader has not taken; 0: 4 MiB
	// Pending bounds the documents of a partition that have changed and were not
	// looked at by its live queries yet; 0: 16,384. What is beyond is found by
	// reading the partition anew.
	Pending int
}

func (o LiveOptions) orDefaults() LiveOptions {
	set(&o.Queries, 64)
	set(&o.Rows, 1_000_000)
	set(&o.QueueBytes, 4<<20)
	set(&o.Pending, 16<<10)
	return o
}

// Reasons that a live query is cut for.
const (
	CutSlow     = "slow"     // the reader does not take the events as fast as they come
	CutRows     = "rows"     // the answers of this node's live queries hold too many rows
	CutStopping = "stopping" // the node stops
	CutFailed   = "failed"   // a stored twin can't be read
	CutMissed   = "missed"   // changes were missed while it was resumed; resume again
)

// eventOverhead is about what an event takes beside its row.
const eventOverhead = 160

// liveQueries are the node's live queries.
type liveQueries struct {
	limits LiveOptions
	feeds  []*liveFeed // by partition
	rows   atomic.Int64
	wg     sync.WaitGroup // of the feeds' goroutines
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex // guards the following; nothing blocks while it is held
	stopped bool
	all     map[*LiveQuery]struct{}
}

func (n *Node) openLive() {
	l := &n.live
	l.limits = n.options.Live.orDefaults()
	l.all = map[*LiveQuery]struct{}{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, h := range n.devices {
		l.feeds = append(l.feeds, newLiveFeed(n, h))
	}
	if r := n.options.Registerer; r != nil {
		n.metrics.live.register(prometheus.WrapRegistererWithPrefix("gemello_", r), func() float64 { return float64(l.rows.Load()) })
	}
}

// StopLiveQueries cuts all live queries and refuses new ones. It returns when
// nothing of them runs any more.
func (n *Node) StopLiveQueries() {
	l := &n.live
	l.mu.Lock()
	l.stopped = true
	for s := range l.all {
		s.cut(CutStopping)
	}
	l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
	l.wg.Wait()
}

// LiveQuery is a query whose answer is kept up: its events say what comes into
// the answer, changes in it and leaves it. Its methods are safe for concurrent
// use; Close must be called.
type LiveQuery struct {
	node  *Node
	query *query.Query
	ready chan struct{} // holds one token when there is something to take

	mu      sync.Mutex // guards the following; nothing blocks while it is held
	events  []query.Event
	bytes   int     // of events
	late    int     // of those among them that are changes, which nothing holds back
	at      []int64 // by partition: below which all is in events or taken; -1 until its first complete answer
	waiting int     // partitions that have not been read to their end yet
	ended   bool
}

// Follow begins a live query. With positions, which an earlier one gave, the
// events are what has changed since; where the log can't tell that any more, the
// first event is a reset and the whole answer comes anew. The errors are
// device.ErrArgument, ErrUnavailable and ErrBusy.
func (n *Node) Follow(ctx context.Context, q *query.Query, after []device.LogPosition) (*LiveQuery, error) {
	if err := q.CanFollow(); err != nil {
		return nil, err
	}
	s := &LiveQuery{node: n, query: q, ready: make(chan struct{}, 1), at: make([]int64, len(n.devices)), waiting: len(n.devices)}
	for p := range s.at {
		s.at[p] = -1
	}
	if err := n.live.add(s); err != nil {
		return nil, err
	}
	n.metrics.live.queries.Inc()
	if err := s.begin(ctx, after); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (l *liveQueries) add(s *LiveQuery) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stopped:
		return fmt.Errorf("the node stops: %w", ErrUnavailable)
	case len(l.all) >= l.limits.Queries:
		return fmt.Errorf("%d live queries are followed already: %w", l.limits.Queries, ErrBusy)
	}
	l.all[s] = struct{}{}
	return nil
}

// begin has every partition's feed serve the query.
func (s *LiveQuery) begin(ctx context.Context, after []device.LogPosition) error {
	reason := ""
	if len(after) > 0 {
		var err error
		if reason, err = s.node.resumable(ctx, after); err != nil {
			return err
		}
		if reason == "" {
			return s.resume(ctx, after)
		}
		s.reset(reason)
	}
	for _, f := range s.node.live.feeds {
		f.join(newLivePart(s))
	}
	return nil
}

// reset voids what the reader holds.
func (s *LiveQuery) reset(reason string) {
	s.push(0, []query.Event{{Kind: query.Reset, Reason: reason}}, -1, false, true)
}

// Ready holds a token when events wait or the query has ended.
func (s *LiveQuery) Ready() <-chan struct{} { return s.ready }

// Take returns the events that wait, and the position to resume from after them:
// "" while a partition's answer is not complete. open tells whether others may
// follow; the last event of a query that was cut is query.Cut.
func (s *LiveQuery) Take() (events []query.Event, position string, open bool) {
	s.mu.Lock()
	events = s.events
	paced := s.bytes >= s.node.live.limits.QueueBytes/2
	s.events, s.bytes, s.late = nil, 0, 0
	position, open = s.positionLocked(), !s.ended
	s.mu.Unlock()
	if paced && open {
		for _, f := range s.node.live.feeds {
			f.tell()
		}
	}
	return events, position, open
}

func (s *LiveQuery) positionLocked() string {
	var b []byte
	for p, at := range s.at {
		if at < 0 {
			return ""
		}
		if p > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(p), 10)
		b = strconv.AppendInt(append(b, ':'), at, 10)
	}
	return string(b)
}

// Close ends the query.
func (s *LiveQuery) Close() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	l := &s.node.live
	l.mu.Lock()
	_, known := l.all[s]
	delete(l.all, s)
	l.mu.Unlock()
	if known {
		s.node.metrics.live.queries.Dec()
	}
	for _, f := range l.feeds {
		f.tell()
	}
}

func (s *LiveQuery) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// room reports whether a partition may be read further: what it is read for is
// taken at the reader's pace.
func (s *LiveQuery) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes < s.node.live.limits.QueueBytes/2
}

// push queues events of a partition. complete says that they bring the reader to
// position at of it; paced that they come no faster than room allows. A reader
// that lags too far behind changes is cut before they are queued.
func (s *LiveQuery) push(p int32, events []query.Event, at int64, complete, paced bool) {
	size := 0
	for i := range events {
		size += len(events[i].Row) + len(events[i].Ref.Device) + len(events[i].Ref.Module) + eventOverhead
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if !paced && s.late > 0 && s.late+size > s.node.live.limits.QueueBytes {
		s.cutLocked(CutSlow)
		return
	}
	s.events = append(s.events, events...)
	s.bytes += size
	if !paced {
		s.late += size
	}
	if complete {
		first := s.at[p] < 0
		s.at[p] = at
		if first {
			if s.waiting--; s.waiting == 0 {
				s.events = append(s.events, query.Event{Kind: query.Ready})
			}
		}
	}
	if len(s.events) > 0 {
		s.wakeLocked()
	}
	for i := range events {
		s.node.metrics.live.events.WithLabelValues(events[i].Kind.String()).Inc()
	}
}

func (s *LiveQuery) cut(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.cutLocked(reason)
	}
}

func (s *LiveQuery) cutLocked(reason string) {
	s.ended = true
	s.events = append(s.events, query.Event{Kind: query.Cut, Reason: reason})
	s.node.metrics.live.cuts.WithLabelValues(reason).Inc()
	s.wakeLocked()
}

func (s *LiveQuery) wakeLocked() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// hold counts rows that come into the answer or leave it; false: the node keeps no
// more.
func (s *LiveQuery) hold(n int) bool {
	l := &s.node.live
	if l.rows.Add(int64(n)) <= int64(l.limits.Rows) || n <= 0 {
		return true
	}
	l.rows.Add(int64(-n))
	return false
}
