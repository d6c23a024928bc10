package broker

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/internal/invariants"
)

// maxInflight bounds the requests of a connection that are not answered yet.
// Clients have five or so under way.
const maxInflight = 64

// conn is one client. One goroutine reads requests and serves them, one writes
// responses. What a request holds of others' memory is given back when its
// response is written, or when the connection has ended and the request is
// answered.
type conn struct {
	server  *Server
	nc      net.Conn
	session session

	fetch     chan struct{} // holds one value while a fetch is under way, whose the next two are
	sessions  fetchSessions
	fetchSize int // bytes of records in the last answer

	ctx    context.Context
	cancel context.CancelFunc

	idle             atomic.Int64 // since when the next request is awaited; 0 if it is not
	reading, writing step

	mu       sync.Mutex // guards what follows; not held during I/O
	queue    []*slot    // requests not answered, oldest first
	closed   bool
	produces int           // parked pipelined requests
	reserved int           // bytes of large requests that are not answered
	wake     chan struct{} // to the writer: the head of queue may be finished
	room     chan struct{} // to the reader: queue, produces or reserved has shrunk
}

// slot is the place of a request in the order of responses.
type slot struct {
	conn          *conn
	correlationID int32
	pipelined     bool
	resp          kmsg.Response
	finished      bool
	size          int      // about, of the response; 0 is small
	last          bool     // the connection ends after the response
	release       []func() // called when the response is written or dropped
}

// finish gives the slot its response; nil sends none.
func (s *slot) finish(resp kmsg.Response) {
	c := s.conn
	c.mu.Lock()
	if s.finished {
		c.mu.Unlock()
		invariants.Check(false, "request %d answered twice", s.correlationID)
		return
	}
	s.resp, s.finished = resp, true
	if s.pipelined {
		c.produces--
		signal(c.room)
	}
	head := len(c.queue) > 0 && c.queue[0] == s
	gone := c.closed
	c.mu.Unlock()
	if gone {
		// Nobody writes any more.
		s.drop()
	} else if head {
		signal(c.wake)
	}
}

// onDone has f called when the response is written, or dropped because the
// connection has ended. It must be called before finish.
func (s *slot) onDone(f func()) {
	if f != nil {
		s.release = append(s.release, f)
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
		fetch: make(chan struct{}, 1), wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// run serves the connection until either side ends it.
func (c *conn) run() {
	c.session = c.server.guard.newSession(c)
	var writer sync.WaitGroup
	writer.Go(c.write)
	err := c.shakeHands()
	if err == nil {
		err = c.read()
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && c.ctx.Err() == nil {
		c.server.metrics.refused.Inc()
		c.server.opts.Logger.Debug("log connection ended", "remote", c.nc.RemoteAddr().String(), "error", err)
	}
	c.abort()
	writer.Wait()
	// A parked fetch sees that the connection has ended.
	c.fetch <- struct{}{}
	c.sessions.endAll(c.server)
	c.mu.Lock()
	c.closed = true
	// Those not finished are dropped when they are.
	left := slices.DeleteFunc(c.queue, func(s *slot) bool { return !s.finished })
	c.queue = nil
	c.mu.Unlock()
	for _, s := range left {
		s.drop()
	}
}

// handshakeTimeout bounds the TLS handshake.
const handshakeTimeout = 10 * time.Second

func (c *conn) shakeHands() error {
	tc, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, handshakeTimeout)
	defer cancel()
	return tc.HandshakeContext(ctx)
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
	release := f.release
	defer func() {
		if release != nil {
			release()
		}
	}()
	r, err := c.decode(f)
	if err == nil {
		err = c.admit(r)
	}
	if err != nil {
		return err
	}
	if r.handler.pipelined {
		// The frame is in use until the answer; what others keep of theirs is
		// their own.
		r.slot.onDone(release)
		release = nil
	}
	r.handler.served.Inc()
	c.server.metrics.received.Add(float64(4 + headerStart + len(f.rest)))
	resp, err := r.serve()
	if err != nil {
		r.reply(nil)
		return fmt.Errorf("%s version %d: %w", r.handler.key.Name(), r.header.version, err)
	}
	if resp != nil {
		r.reply(resp)
	}
	return nil
}

// serve calls the handler. One that panics is an error of ours, which must not
// end the process that the log is a part of: the connection is closed.
func (r *request) serve() (resp kmsg.Response, err error) {
	if !invariants.Enabled {
		defer func() {
			if v := recover(); v != nil {
				s := r.conn.server
				s.metrics.panics.Inc()
				s.opts.Logger.Error("log request panicked", "request", r.handler.key.Name(), "version", r.header.version,
					"panic", v, "stack", string(debug.Stack()))
				err = errPanicked
			}
		}()
	}
	return r.handler.serve(r)
}

var errPanicked = errors.New("the handler panicked")

// decode turns a frame into a request.
func (c *conn) decode(f frame) (*request, error) {
	h := f.handler
	r := &request{conn: c, handler: h, header: f.header, ctx: c.ctx, body: kmsg.RequestForKey(f.header.key)}
	if !h.open && !c.server.guard.admits(c) {
		return nil, fmt.Errorf("%s before authentication", h.key.Name())
	}
	if f.header.version < h.min || f.header.version > h.max {
		if h.key != kmsg.ApiVersions {
			return nil, fmt.Errorf("%s version %d is not served; %d to %d are", h.key.Name(), f.header.version, h.min, h.max)
		}
		// KIP-511: the client learns from a response of version 0 what to
		// speak, and asks again.
		r.header.version, r.unsupported = 0, true
		return r, nil
	}
	r.body.SetVersion(f.header.version)
	rest, err := r.header.parseRest(f.rest, r.body.IsFlexible())
	if err == nil && h.check != nil {
		err = h.check(rest, f.header.version)
	}
	if err == nil {
		err = r.body.ReadFrom(rest)
	}
	if err != nil {
		return nil, fmt.Errorf("%s version %d: %w", h.key.Name(), f.header.version, err)
	}
	return r, nil
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

// reserve waits until a large request does not make those that are not answered
// larger together than one may be.
func (c *conn) reserve(n int) error {
	for {
		c.mu.Lock()
		if c.reserved == 0 || c.reserved+n <= c.server.opts.MaxRequestBytes {
			c.reserved += n
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		select {
		case <-c.room:
		case <-c.ctx.Done():
			return net.ErrClosed
		}
	}
}

func (c *conn) unreserve(n int) {
	c.mu.Lock()
	c.reserved -= n
	c.mu.Unlock()
	signal(c.room)
}

// beginFetch waits for the fetch that is under way; false if the connection
// ended. endFetch must follow.
func (c *conn) beginFetch() bool {
	select {
	case c.fetch <- struct{}{}:
		return true
	case <-c.ctx.Done():
		return false
	}
}

func (c *conn) endFetch() { <-c.fetch }

// abort ends the connection from any goroutine.
func (c *conn) abort() {
	c.cancel()
	c.nc.Close()
}
