package broker

import "time"

const (
	// smallWrites is how many bytes of small responses are sent at once.
	smallWrites = 64 << 10
	// slowest is the rate, in bytes a second, below which a client that reads
	// costs others memory for too long.
	slowest = 256 << 10
)

// write sends responses in the order of requests.
func (c *conn) write() {
	small := make([]byte, 0, 512)
	for {
		ready := c.ready()
		if ready == nil {
			return
		}
		for i, s := range ready {
			if s.resp != nil && s.size <= smallWrites {
				small = appendResponse(small, s.correlationID, s.resp)
				s.drop()
			}
			if last := i == len(ready)-1; last || s.last || len(small) >= smallWrites || ready[i+1].size > smallWrites {
				c.send(small)
				small = small[:0]
			}
			if s.resp != nil {
				large := appendResponse(c.server.buffers.get(s.size), s.correlationID, s.resp)
				c.send(large)
				c.server.buffers.put(large)
			}
			s.drop()
			if s.last {
				c.abort()
			}
		}
		if cap(small) > 2*smallWrites {
			small = make([]byte, 0, 512)
		}
	}
}

// send writes whole responses. A client that does not read them is cut off.
func (c *conn) send(b []byte) {
	if len(b) == 0 {
		return
	}
	c.nc.SetWriteDeadline(time.Now().Add(c.server.opts.WriteTimeout + time.Duration(len(b)/slowest)*time.Second))
	defer c.writing.end()
	for len(b) > 0 {
		c.writing.begin()
		n, err := c.nc.Write(b[:min(len(b), stepBytes)])
		c.server.metrics.sent.Add(float64(n))
		if err != nil {
			c.abort()
			return
		}
		b = b[n:]
	}
}

// drop gives back what the slot held.
func (s *slot) drop() {
	for _, f := range s.release {
		f()
	}
	s.release, s.resp = nil, nil
}

// ready waits for the responses at the head of the queue; nil when the
// connection has ended.
func (c *conn) ready() (ready []*slot) {
	for {
		c.mu.Lock()
		n := 0
		for n < len(c.queue) && c.queue[n].finished {
			n++
		}
		if n > 0 {
			ready = append(ready, c.queue[:n]...)
			c.queue = append(c.queue[:0], c.queue[n:]...)
		}
		c.mu.Unlock()
		if n > 0 {
			signal(c.room)
			return ready
		}
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			return nil
		}
	}
}
