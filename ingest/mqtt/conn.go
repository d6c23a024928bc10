package mqtt

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/ingest"
)

// conn is one connection. The handshake fills it; from then on its reader owns
// the fields without a lock, and everybody else uses what mu guards.
type conn struct {
	s        *Server
	nc       net.Conn
	link     ingest.Link
	clientID string
	id       identity
	level    byte
	maxOut   int           // greatest packet the client takes
	silence  time.Duration // longest pause the client may make
	expires  int64         // Unix nanoseconds, 0 never
	will     *ingest.Message
	delayed  bool // the will has a delay
	java     bool // the client is the SDK for Java
	shard    int
	index    int // in shard, guarded by the shard's lock

	// The reader's.
	buf     []byte
	r, w    int // buf[r:w] is unread
	skip    int // bytes of a refused packet still to come
	bag     string
	bagSize int
	expiry  uint32  // seconds that the session lives on, as granted
	keep    *uint32 // the same from DISCONNECT
	polite  bool    // the client said goodbye: no will
	strays  int     // answers to no method since the last that was called

	lastSeen   atomic.Int64 // server clock of the last read
	busy       atomic.Bool  // the reader works or waits for the hub, not for the client
	big        atomic.Bool  // buf comes from the pool
	draining   atomic.Bool  // stop reading, wait for the hub, close
	writeSince atomic.Int64 // server clock when the present write began, else 0

	// mu guards the following. Nothing that blocks is done under it. Callbacks
	// of the hub take it.
	mu       sync.Mutex
	space    sync.Cond // the reader waits for queue to shrink or closing
	attached bool      // CONNACK is out, the flusher may run
	closing  bool      // nothing but what is in out will be written
	closed   bool      // nc is closed
	writing  bool      // a flusher is at work
	reason   ingest.Reason
	label    string
	subs     subscriptions
	queue    inflight
	qos1     int          // entries of queue with QoS 1
	twins    int          // twin requests that wait for the hub
	methods  *methodCalls // nil until the first call
	out      []byte
	outItems int
	inWrite  int               // bytes that the flusher has taken
	early    []desired         // patches that came before CONNACK
	commands map[uint16]string // locks of the commands that wait for a PUBACK, by packet id
}

// desired is a patch of desired properties for the client.
type desired struct {
	version int64
	patch   []byte
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{s: s, nc: nc}
	c.space.L = &c.mu
	return c
}

var _ ingest.Session = (*conn)(nil)

// Close implements ingest.Session.
func (c *conn) Close(r ingest.Reason) {
	c.close(&breach{r, disconnectCode(r), string(r)})
}

// closeGrace is how long the last packets may take to leave.
const closeGrace = 2 * time.Second

// close ends the connection: what is queued is written, then the socket is
// closed, which wakes the reader. It never blocks. The first reason counts.
func (c *conn) close(b *breach) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeLocked(b)
}

func (c *conn) closeLocked(b *breach) {
	if c.closing {
		return
	}
	c.closing, c.reason, c.label = true, b.reason, b.label
	c.space.Broadcast()
	if !c.attached {
		return
	}
	grace := closeGrace
	if b == errSlow {
		// It would not read the rest either.
		c.out, c.outItems, grace = c.out[:0], 0, 0
	}
	if c.level == level5 && b.code != codeSuccess {
		c.out = append(c.out, typeDisconnect<<4, 2, b.code, 0)
	}
	c.nc.SetWriteDeadline(time.Now().Add(grace))
	c.flushLocked()
}

// DesiredChanged implements ingest.Session.
func (c *conn) DesiredChanged(version int64, patch []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	if !c.attached {
		if len(c.early) >= maxEarly {
			c.closeLocked(errSlow)
			return
		}
		c.early = append(c.early, desired{version, patch})
		return
	}
	c.sendDesiredLocked(version, patch)
}

// maxEarly bounds the patches that can wait for CONNACK; their size is bounded
// by the twin's.
const maxEarly = 8

// admit sends CONNACK and what waited for it. It fails when the connection was
// closed in the meantime.
func (c *conn) admit(connack []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.attached = true
	c.sendLocked(connack)
	for _, d := range c.early {
		c.sendDesiredLocked(d.version, d.patch)
	}
	c.early = nil
	return true
}

// finish is the last act of the reader.
func (c *conn) finish(b *breach) {
	c.close(b)
	s := c.s
	s.remove(c)
	s.sessions.detach(c, c.keep, s.now())
	c.release()
	c.mu.Lock()
	reason, label := c.reason, c.label
	c.subs, c.early, c.methods, c.commands = subscriptions{}, nil, nil, nil
	c.mu.Unlock()
	switch reason {
	case ingest.ReasonProtocol, ingest.ReasonForbidden, ingest.ReasonTooLarge, ingest.ReasonSlow, ingest.ReasonBusy:
		s.metrics.refuse(label)
		s.log.Info("mqtt connection ended", "client", c.clientID, "reason", string(reason), "cause", label)
	}
	s.metrics.ended(reason)
	// A will's delay would outlive the Link: the will goes out at once, unless a
	// newer connection shows already that the client is not gone.
	will := c.will
	if c.polite || c.delayed && reason == ingest.ReasonTakenOver {
		will = nil
	}
	c.link.Close(reason, will)
}
