package mqtt

import "runtime"

// sendLocked queues a packet.
func (c *conn) sendLocked(p []byte) {
	if c.closing {
		return
	}
	c.grabLocked()
	c.out = append(c.out, p...)
	c.queuedLocked()
}

func (c *conn) send(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendLocked(p)
}

// publishLocked queues a QoS 0 PUBLISH. Packets over what the client takes are
// dropped, as MQTT 5 demands [MQTT-3.1.2-25].
func (c *conn) publishLocked(topic, body []byte) bool {
	if c.closing || publishSize(c.level, len(topic), len(body)) > c.maxOut {
		return false
	}
	c.grabLocked()
	c.out = appendPublish(c.out, c.level, topic, body)
	c.queuedLocked()
	return true
}

// grabLocked gives an idle connection a buffer to write to.
func (c *conn) grabLocked() {
	if c.out == nil {
		c.out = c.s.takeOut()
	}
}

// queuedLocked follows each packet that was appended to out.
func (c *conn) queuedLocked() {
	c.outItems++
	l := &c.s.limits
	if c.outItems > l.OutboundPackets || len(c.out)+c.inWrite > l.OutboundBytes {
		c.closeLocked(errSlow)
		return
	}
	c.flushLocked()
}

// flushLocked makes sure that a flusher runs if there is something to do.
func (c *conn) flushLocked() {
	if c.writing || c.closed || !c.attached || len(c.out) == 0 && !c.closing {
		return
	}
	c.writing = true
	c.s.startFlush(c)
}

// flush writes until there is nothing left. Packets that are queued during a
// write leave together with the next one.
func (c *conn) flush() {
	for {
		c.mu.Lock()
		buf := c.out
		c.out, c.outItems, c.inWrite = nil, 0, len(buf)
		if len(buf) == 0 {
			c.writing = false
			c.closed = c.closing
			closed := c.closed
			c.mu.Unlock()
			c.s.putOut(buf)
			if closed {
				c.nc.Close()
			}
			return
		}
		c.mu.Unlock()
		c.writeSince.Store(c.s.coarse.Load())
		_, err := c.nc.Write(buf)
		c.writeSince.Store(0)
		c.s.putOut(buf)
		if err != nil {
			c.mu.Lock()
			c.closeLocked(errLost)
			c.out, c.outItems, c.inWrite = nil, 0, 0
			c.writing, c.closed = false, true
			c.mu.Unlock()
			c.nc.Close()
			return
		}
	}
}

// outBuffer is the size of the write buffers that are lent to connections with
// something to write. One that had to grow is not kept.
const outBuffer = 512

func (s *Server) takeOut() []byte {
	if p, ok := s.outPool.Get().(*[outBuffer]byte); ok {
		return p[:0]
	}
	return make([]byte, 0, outBuffer)
}

func (s *Server) putOut(b []byte) {
	if cap(b) == outBuffer {
		s.outPool.Put((*[outBuffer]byte)(b[:outBuffer]))
	}
}

// startFlush hands c to a flusher that waits for work, else to a new one. A
// write can block, so each has its own goroutine; a few stay for the next
// connection, which spares most starts under load.
func (s *Server) startFlush(c *conn) {
	select {
	case s.flushes <- c:
	default:
		s.wg.Add(1)
		go s.flusher(c)
	}
}

func (s *Server) flusher(c *conn) {
	defer s.wg.Done()
	for {
		c.flush()
		if s.flushers.Add(1) > int32(4*runtime.GOMAXPROCS(0)) {
			s.flushers.Add(-1)
			return
		}
		select {
		case c = <-s.flushes:
			s.flushers.Add(-1)
		case <-s.quit:
			s.flushers.Add(-1)
			return
		}
	}
}
