package mqtt

import (
	"container/list"
	"sync"
	"time"
)

// forever is the session expiry of sessions that don't expire.
const forever = 1<<32 - 1

// subscriptions are what a session has subscribed to. A bit of granted stands
// for each filterKind; prefixes holds the literal prefix of the kinds whose
// filter was not spelled in the usual way.
type subscriptions struct {
	granted  uint16
	qos0     uint16 // those granted with QoS 0
	prefixes map[filterKind]string
}

func (s *subscriptions) has(k filterKind) bool { return s.granted&(1<<k) != 0 }

func (s *subscriptions) remove(k filterKind) {
	s.granted &^= 1 << k
	s.qos0 &^= 1 << k
	delete(s.prefixes, k)
}

func (s *subscriptions) add(k filterKind, prefix, usual string) {
	s.remove(k)
	s.granted |= 1 << k
	if prefix != usual {
		if s.prefixes == nil {
			s.prefixes = make(map[filterKind]string)
		}
		s.prefixes[k] = prefix
	}
}

// session is what lives under a client id. While conn is set the subscriptions
// are the connection's.
type session struct {
	conn    *conn
	keep    uint32 // seconds to live without a connection
	subs    subscriptions
	expires time.Duration // server's clock, 0 never; without a connection only
	idle    *list.Element // in sessions.idle; without a connection only

	minute    time.Duration // start of the minute that takeovers counts
	takeovers int
}

// flapLimit is how many take-overs a minute are taken for two clients that
// fight for one id.
const flapLimit = 10

// sessions is the table of all sessions. Lock order: sessions.mu before conn.mu.
type sessions struct {
	limit   int
	metrics *metrics

	mu   sync.Mutex
	m    map[string]*session
	idle *list.List // client ids without a connection, the longest first
}

func newSessions(limit int, m *metrics) *sessions {
	return &sessions{limit: limit, metrics: m, m: make(map[string]*session), idle: list.New()}
}

// attach makes c the connection of its client id. It tells whether c goes on
// with an earlier session and which connection it took the place of; flapping
// is true once a minute for an identity that is taken over too often.
func (t *sessions) attach(c *conn, clean bool, keep uint32, now time.Duration) (present bool, old *conn, flapping bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.m[c.clientID]
	if s == nil {
		s = &session{}
		t.m[c.clientID] = s
	} else if s.conn == nil {
		present = !clean && (s.expires == 0 || s.expires > now)
		t.leaveIdle(s)
	} else {
		old = s.conn
		present = !clean && s.keep > 0
		old.mu.Lock()
		s.subs = old.subs
		old.subs = subscriptions{}
		old.mu.Unlock()
		t.metrics.takeovers.Inc()
		if now-s.minute >= time.Minute {
			s.minute, s.takeovers = now, 0
		}
		if s.takeovers++; s.takeovers == flapLimit {
			flapping = true
			t.metrics.flapping.Inc()
		}
	}
	if !present {
		s.subs = subscriptions{}
	}
	s.conn, s.keep = c, keep
	c.mu.Lock()
	c.subs = s.subs
	c.mu.Unlock()
	s.subs = subscriptions{}
	return present, old, flapping
}

// detach ends c's hold on its session; the session goes or waits for the next
// connection. A keep of nil leaves what attach said.
func (t *sessions) detach(c *conn, keep *uint32, now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.m[c.clientID]
	if s == nil || s.conn != c {
		return
	}
	if keep != nil {
		s.keep = *keep
	}
	if s.keep == 0 {
		delete(t.m, c.clientID)
		return
	}
	c.mu.Lock()
	s.subs = c.subs
	c.mu.Unlock()
	s.conn = nil
	s.expires = 0
	if s.keep != forever {
		s.expires = now + time.Duration(s.keep)*time.Second
	}
	s.idle = t.idle.PushBack(c.clientID)
	t.metrics.sessions.Inc()
	for t.idle.Len() > t.limit {
		t.drop(t.idle.Front().Value.(string))
		t.metrics.evicted.Inc()
	}
}

// expire drops the sessions whose time is over.
func (t *sessions) expire(now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.idle.Front(); e != nil; {
		id := e.Value.(string)
		e = e.Next()
		if s := t.m[id]; s.expires != 0 && s.expires <= now {
			t.drop(id)
		}
	}
}

func (t *sessions) drop(id string) {
	t.leaveIdle(t.m[id])
	delete(t.m, id)
}

func (t *sessions) leaveIdle(s *session) {
	t.idle.Remove(s.idle)
	s.idle = nil
	t.metrics.sessions.Dec()
}
