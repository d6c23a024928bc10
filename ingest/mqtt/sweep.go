package mqtt

import (
	"sync"
	"time"

	"github.com/gemello/gemello/ingest"
)

// shards of the list of connections, so that connects don't queue behind the
// sweep.
const shards = 16

type shard struct {
	mu    sync.Mutex // before conn.mu
	conns []*conn
}

// sweepInterval is the resolution of keep-alive, token expiry and write
// time-outs. One goroutine watches all connections; none has a timer.
const sweepInterval = time.Second

// idleBuffer is how long a connection may pause before its large read buffer is
// taken away.
const idleBuffer = 2 * time.Second

func (s *Server) sweepAll() {
	defer s.wg.Done()
	t := time.NewTicker(sweepInterval)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-t.C:
		case <-s.quit:
			return
		}
		s.sweep(n%60 == 59)
	}
}

// sweep closes the connections whose time is over. Old sessions and failures
// are dropped only now and then.
func (s *Server) sweep(old bool) {
	wall, now := s.clock().UnixNano(), s.now()
	s.coarse.Store(int64(now))
	s.each(func(c *conn) { c.check(wall, now) })
	if old {
		s.sessions.expire(now)
		s.failures.forget(now)
	}
}

// check looks at one connection, wall in Unix nanoseconds.
func (c *conn) check(wall int64, now time.Duration) {
	if c.expires != 0 && wall >= c.expires {
		c.close(errExpired)
		return
	}
	if since := c.writeSince.Load(); since != 0 && now-time.Duration(since) > c.s.limits.WriteTime {
		c.close(errSlow)
		return
	}
	if c.busy.Load() {
		return
	}
	pause := now - time.Duration(c.lastSeen.Load())
	if pause > c.silence {
		c.close(errSilent)
		return
	}
	if pause >= idleBuffer && c.big.Load() {
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

var errExpired = &breach{ingest.ReasonExpired, codeNotAuthorized, string(ingest.ReasonExpired)}

// each calls f for all admitted connections, with a shard's lock held.
func (s *Server) each(f func(*conn)) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, c := range sh.conns {
			f(c)
		}
		sh.mu.Unlock()
	}
}

// add lists an admitted connection. It fails when the server is closed.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	delete(s.pending, c) // from here on Shutdown asks it to drain
	// A hash that spreads is all that is asked for.
	h := uint32(2166136261)
	for i := range len(c.clientID) {
		h = (h ^ uint32(c.clientID[i])) * 16777619
	}
	c.shard = int(h>>16) % shards
	sh := &s.shards[c.shard]
	sh.mu.Lock()
	c.index = len(sh.conns)
	sh.conns = append(sh.conns, c)
	sh.mu.Unlock()
	s.conns.Add(1)
	s.metrics.connections.Inc()
	return true
}

func (s *Server) remove(c *conn) {
	sh := &s.shards[c.shard]
	sh.mu.Lock()
	last := len(sh.conns) - 1
	sh.conns[c.index] = sh.conns[last]
	sh.conns[c.index].index = c.index
	sh.conns[last] = nil
	sh.conns = sh.conns[:last]
	sh.mu.Unlock()
	s.metrics.connections.Dec()
	s.conns.Done()
}
