package broker

import (
	"context"
	"sync/atomic"
	"time"
)

// step is a read or write of a connection that holds memory which others may
// want. The zero value is none.
type step struct{ since atomic.Int64 }

// begin notes that the step is under way, or has come on.
func (s *step) begin() { s.since.Store(time.Now().UnixNano()) }

func (s *step) end() { s.since.Store(0) }

// stepBytes is how much of a large read or write is one step.
const stepBytes = 256 << 10

// awaitRoom takes n bytes of a budget. While there is no room, connections that
// hold some and don't come on are ended, the one that has stood still longest
// first.
func (s *Server) awaitRoom(ctx context.Context, l *lease, n int64) error {
	if l.try(n) {
		return nil
	}
	s.metrics.throttled.Inc()
	patience := s.opts.WriteTimeout / 10
	for {
		round, cancel := context.WithTimeout(ctx, patience/4)
		err := l.take(round, n)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c := s.stalled(patience); c != nil {
			s.metrics.refused.Inc()
			s.opts.Logger.Debug("log connection ended: it holds memory that others need", "remote", c.nc.RemoteAddr().String())
			c.abort()
		}
	}
}

// stalled returns the connection whose step has stood still longest, if that is
// longer than patience.
func (s *Server) stalled(patience time.Duration) *conn {
	before := time.Now().Add(-patience).UnixNano()
	var worst *conn
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		for _, st := range []*step{&c.reading, &c.writing} {
			if since := st.since.Load(); since != 0 && since < before {
				worst, before = c, since
			}
		}
	}
	return worst
}

// evict ends the connection that has been idle longest, if that is long enough,
// so that connections nobody uses don't keep others out.
func (s *Server) evict() {
	before := time.Now().Add(-s.opts.IdleTimeout / 20).UnixNano()
	var idlest *conn
	s.mu.Lock()
	for c := range s.conns {
		if since := c.idle.Load(); since != 0 && since < before && !c.inProcess() && !c.busy() {
			idlest, before = c, since
		}
	}
	s.mu.Unlock()
	if idlest != nil {
		s.metrics.refused.Inc()
		idlest.abort()
	}
}

// inProcess reports whether the client is one of Dial's.
func (c *conn) inProcess() bool {
	addr := c.nc.RemoteAddr()
	return addr != nil && addr.Network() == "pipe"
}

// busy reports whether requests are not answered yet.
func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

// awaitSlot waits for room for one more connection; false if the server was
// closed.
func (s *Server) awaitSlot() bool {
	for {
		select {
		case s.slots <- struct{}{}:
			return true
		case <-s.ctx.Done():
			return false
		default:
		}
		s.evict()
		timer := time.NewTimer(evictPause)
		select {
		case s.slots <- struct{}{}:
			timer.Stop()
			return true
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// evictPause is how often it is looked for an idle connection when there are
// too many.
const evictPause = 100 * time.Millisecond
