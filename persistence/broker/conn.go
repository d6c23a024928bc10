package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxInflight bounds the requests of a connection that are not answered yet.
// Clients have five or so under way.
const maxInflight = 64

// conn is one client. One goroutine reads requests and serves them, one writes
// responses.
type conn struct {
	server  *Server
	nc      net.Conn
	session session
	fetches fetchSessions // of the reading goroutine

	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex // guards what follows; not held during I/O
	queue    []*slot    // requests not answered, oldest first
	closed   bool
	produces int           // parked pipelined requests
	wake     chan struct{} // to the writer: the head of queue may be finished
	room     chan struct{} // to the reader: queue or produces has shrunk
}

// slot is the place of a request in the order of responses.
type slot struct {
	conn          *conn
	correlationID int32
	pipelined     bool
	resp          kmsg.Response
	finished      bool
	release       []func() // called when the response is written or dropped
}

// finish gives the slot its response; nil sends none.
func (s *slot) finish(resp kmsg.Response) {
	c := s.conn
	c.mu.Lock()
	if s.finished {
		c.mu.Unlock()
		panic("broker: request answered twice")
	}
	s.resp, s.finished = resp, true
	if s.pipelined {
		c.produces--
		signal(c.room)
	}
	head := len(c.queue) > 0 && c.queue[0] == s
	c.mu.Unlock()
	if head {
		signal(c.wake)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func newConn(s *Server, nc net.Conn) *conn {
	ctx, cancel := context.WithCancel(s.ctx)
	return &conn{
		server: s, nc: nc, ctx: ctx, cancel: cancel,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// run serves the connection until either side ends it.
func (c *conn) run() {
	c.session = c.server.guard.newSession(c)
	var writer sync.WaitGroup
	writer.Go(c.write)
	err := c.read()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && c.ctx.Err() == nil {
		c.server.opts.Logger.Debug("connection closed", "remote", c.nc.RemoteAddr().String(), "error", err)
	}
	c.cancel()
	c.nc.Close()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	writer.Wait()
}

// read takes requests until the connection ends.
func (c *conn) read() error {
	src := bufio.NewReaderSize(c.nc, 8<<10)
	for {
		f, err := c.server.readFrame(c, src)
		if err != nil {
			return err
		}
		if err := c.serve(f); err != nil {
			return err
		}
	}
}

// serve decodes and serves one request.
func (c *conn) serve(f frame) error {
	h, ok := c.server.table[f.header.key]
	if !ok {
		return fmt.Errorf("request key %d is not known", f.header.key)
	}
	var err error
	req := &request{conn: c, handler: h, header: f.header, ctx: c.ctx}
	if f.header.version < h.min || f.header.version > h.max {
		if h.key != kmsg.ApiVersions {
			return fmt.Errorf("%s version %d is not served; %d to %d are", h.key.Name(), f.header.version, h.min, h.max)
		}
		// KIP-511: the client learns from a response of version 0 what to
		// speak, and asks again.
		req.body = kmsg.RequestForKey(f.header.key)
		req.header.version, req.unsupported = 0, true
	} else {
		req.body = kmsg.RequestForKey(f.header.key)
		req.body.SetVersion(f.header.version)
		rest, err := req.header.parseRest(f.rest, req.body.IsFlexible())
		if err != nil {
			return err
		}
		if err := req.body.ReadFrom(rest); err != nil {
			return fmt.Errorf("%s version %d: %w", h.key.Name(), f.header.version, err)
		}
	}
	if !h.open && !c.server.guard.admits(c) {
		return fmt.Errorf("%s before authentication", h.key.Name())
	}
	if err := c.admit(req); err != nil {
		return err
	}
	req.slot.release = append(req.slot.release, f.release)
	resp, err := h.serve(req)
	if err != nil {
		return fmt.Errorf("%s version %d: %w", h.key.Name(), f.header.version, err)
	}
	if resp != nil {
		req.reply(resp)
	}
	return nil
}

// admit gives the request its place, when there is one and when it may begin.
func (c *conn) admit(r *request) error {
	for {
		c.mu.Lock()
		if len(c.queue) < maxInflight && (r.handler.pipelined || c.produces == 0) {
			break
		}
		c.mu.Unlock()
		select {
		case <-c.room:
		case <-c.ctx.Done():
			return net.ErrClosed
		}
	}
	defer c.mu.Unlock()
	r.slot = &slot{conn: c, correlationID: r.header.correlationID, pipelined: r.handler.pipelined}
	c.queue = append(c.queue, r.slot)
	if r.slot.pipelined {
		c.produces++
	}
	return nil
}

// write sends responses in the order of requests.
func (c *conn) write() {
	var buf []byte
	for {
		ready, open := c.ready()
		if !open {
			for _, s := range ready {
				s.drop()
			}
			return
		}
		buf = buf[:0]
		for i, s := range ready {
			if s.resp != nil {
				buf = appendResponse(buf, s.correlationID, s.resp)
			}
			s.drop()
			if len(buf) < 64<<10 && i < len(ready)-1 {
				continue
			}
			c.nc.SetWriteDeadline(time.Now().Add(c.server.opts.WriteTimeout))
			if _, err := c.nc.Write(buf); err != nil {
				// The reader sees it and ends the connection.
				c.nc.Close()
			}
			buf = buf[:0]
		}
		if cap(buf) > 1<<20 {
			buf = nil
		}
	}
}

// drop gives back what the response held.
func (s *slot) drop() {
	for _, f := range s.release {
		if f != nil {
			f()
		}
	}
	s.release, s.resp = nil, nil
}

// ready waits for responses at the head of the queue. When the connection has
// ended it returns those that are left, finished or not, and false.
func (c *conn) ready() (ready []*slot, open bool) {
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
		closed := c.closed
		c.mu.Unlock()
		if n > 0 {
			signal(c.room)
		}
		if n > 0 || closed {
			return ready, !closed
		}
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			return nil, false
		}
	}
}
