package mqtt

import (
	"errors"
	"os"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// Read buffers: an idle connection has a small one of its own; a busy one has
// one of the pool, until the sweep finds it idle; a packet that does not fit
// gets a buffer that grows with what has come of it.
const (
	smallBuffer = 512
	bigBuffer   = 16 << 10
)

var (
	errLost    = &breach{ingest.ReasonLost, codeSuccess, string(ingest.ReasonLost)}
	errSilent  = &breach{ingest.ReasonLost, codeKeepAlive, "keep_alive"}
	errGoodbye = &breach{ingest.ReasonClient, codeSuccess, string(ingest.ReasonClient)}
	errStopped = &breach{ingest.ReasonShutdown, codeShuttingDown, string(ingest.ReasonShutdown)}
)

// run is the reader's goroutine: from CONNACK to the end of the connection.
func (c *conn) run() {
	defer c.s.wg.Done()
	b := c.serve()
	c.finish(b)
}

func (c *conn) serve() *breach {
	for {
		if err := c.consume(); err != nil {
			return asBreach(err)
		}
		if c.draining.Load() {
			break
		}
		c.lastSeen.Store(c.s.coarse.Load())
		c.busy.Store(false)
		n, err := c.nc.Read(c.buf[c.w:])
		c.busy.Store(true)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				return errLost
			}
			// Somebody wants the reader's attention: Shutdown, or the sweep for
			// a buffer that is not needed.
			c.nc.SetReadDeadline(time.Time{})
			c.shrink()
		}
		c.w += n
		if c.draining.Load() {
			break
		}
	}
	c.drain()
	return errStopped
}

// consume handles all packets that are complete and makes room for more.
func (c *conn) consume() error {
	full := c.w == len(c.buf)
	for c.r < c.w {
		if c.skip > 0 {
			n := min(c.skip, c.w-c.r)
			c.skip -= n
			c.r += n
			continue
		}
		h, ok, err := parseHeader(c.buf[c.r:c.w])
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		limit := maxControl
		if h.kind == typePublish {
			limit = maxPacket
		}
		if h.length > limit {
			if ok, err = c.pass(h, c.buf[c.r+h.size:c.w]); err != nil {
				return err
			} else if !ok {
				c.room(min(h.size+h.length, maxControl+maxTopic))
				return nil
			}
			c.skip = h.size + h.length
			continue
		}
		end := c.r + h.size + h.length
		if end > c.w {
			c.room(h.size + h.length)
			return nil
		}
		packet := c.buf[c.r+h.size : end]
		c.r = end
		if err := c.handle(h, packet); err != nil {
			return err
		}
	}
	if c.r == c.w {
		c.r, c.w = 0, 0
		if len(c.buf) > bigBuffer {
			c.buf = c.s.takeBig()
			c.big.Store(true)
		} else if full && len(c.buf) < bigBuffer {
			c.grow(bigBuffer)
		}
		return nil
	}
	c.room(smallBuffer)
	return nil
}

// room moves what is unread to the front and grows the buffer towards size: to
// the pool's size at once, further only as data comes in.
func (c *conn) room(size int) {
	if c.r > 0 {
		copy(c.buf, c.buf[c.r:c.w])
		c.r, c.w = 0, c.w-c.r
	}
	if size <= len(c.buf) {
		return
	}
	if len(c.buf) < bigBuffer {
		c.grow(bigBuffer)
	} else if c.w == len(c.buf) {
		c.grow(min(size, 2*len(c.buf)))
	}
}

func (c *conn) grow(size int) {
	old := c.buf
	if size == bigBuffer {
		c.buf = c.s.takeBig()
	} else {
		c.buf = make([]byte, size)
	}
	copy(c.buf, old[:c.w])
	c.s.putBig(old)
	c.big.Store(true)
}

// shrink gives an idle connection its small buffer back.
func (c *conn) shrink() {
	if c.w > smallBuffer || !c.big.Load() {
		return
	}
	old := c.buf
	c.buf = make([]byte, smallBuffer)
	copy(c.buf, old[:c.w])
	c.s.putBig(old)
	c.big.Store(false)
	c.mu.Lock()
	c.queue.shrink()
	c.mu.Unlock()
}

// release ends the use of the read buffer.
func (c *conn) release() {
	c.s.putBig(c.buf)
	c.buf = nil
}

func (s *Server) takeBig() []byte {
	if p, ok := s.bigPool.Get().(*[bigBuffer]byte); ok {
		return p[:]
	}
	return make([]byte, bigBuffer)
}

func (s *Server) putBig(b []byte) {
	if len(b) == bigBuffer {
		s.bigPool.Put((*[bigBuffer]byte)(b))
	}
}

// handle acts on one packet. An error ends the connection.
func (c *conn) handle(h header, b []byte) error {
	switch h.kind {
	case typePublish:
		return c.handlePublish(h.flags, b)
	case typePuback:
		return c.handlePuback(h.flags, b)
	case typeSubscribe:
		return c.handleSubscribe(h.flags, b)
	case typeUnsubscribe:
		return c.handleUnsubscribe(h.flags, b)
	case typePingreq:
		if h.flags != 0 || len(b) != 0 {
			return errMalformed
		}
		c.send([]byte{typePingresp << 4, 0})
		return nil
	case typeDisconnect:
		return c.handleDisconnect(h.flags, b)
	case typeConnect:
		return errSecond
	}
	return errProtocol
}

// handlePuback takes the acknowledgement of a command that was sent with QoS 1,
// which completes it. An unknown id is no reason to close: clients that queue
// their packets while offline acknowledge on the new connection what the old one
// brought.
func (c *conn) handlePuback(flags byte, b []byte) error {
	d := decoder{b: b}
	id := d.u16()
	if flags != 0 || d.bad || c.level == level311 && len(d.b) > 0 {
		return errMalformed
	}
	if len(d.b) > 0 {
		d.u8()
	}
	if len(d.b) > 0 {
		if _, err := d.properties(propsOf(typePuback)); err != nil {
			return err
		}
	}
	if len(d.b) > 0 {
		return errMalformed
	}
	if id == 0 {
		return errPacketID
	}
	if lock, ok := c.takeCommand(id); ok {
		c.link.Settle(lock, device.OutcomeComplete, func(error) {})
		return nil
	}
	c.s.metrics.refuse("unknown_puback")
	return nil
}

// withWill is the reason code of a DISCONNECT that wants the will published.
const withWill = 0x04

func (c *conn) handleDisconnect(flags byte, b []byte) error {
	if flags != 0 {
		return errMalformed
	}
	d := decoder{b: b}
	code := byte(0)
	if c.level == level5 {
		if len(d.b) > 0 {
			code = d.u8()
		}
		if len(d.b) > 0 {
			p, err := d.properties(propsOf(typeDisconnect))
			if err != nil {
				return err
			}
			if p.has(propSessionExpiry) {
				if err := c.setExpiry(p.sessionExpiry); err != nil {
					return err
				}
			}
		}
	}
	if len(d.b) > 0 {
		return errMalformed
	}
	c.polite = code == 0
	return errGoodbye
}

// setExpiry takes a new session expiry; a session that was to end with its
// connection can't get one [MQTT-3.14.2-2].
func (c *conn) setExpiry(seconds uint32) error {
	if c.expiry == 0 && seconds != 0 {
		return errProtocol
	}
	seconds = min(seconds, uint32(c.s.limits.SessionExpiry.Seconds()))
	c.keep = &seconds
	return nil
}

// drain waits until the hub has answered for all messages of the connection.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.queue.n > 0 && !c.closing {
		c.space.Wait()
	}
}
