package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// frame is one request as it arrived, decoded as far as all requests are alike.
type frame struct {
	header  header
	handler *handler
	rest    []byte // after headerStart
	// release gives back what the frame takes of the budget, and rest if it is
	// to be used again.
	release func()
}

const (
	// freeFrame is the size of a request that is served whatever else is under
	// way, so that members' heartbeats get through.
	freeFrame = 16 << 10
	// firstRead is how much of a large request is made room for before
	// anything of it has arrived; from there on room grows with what arrives.
	firstRead = 64 << 10
	// unauthenticatedFrame bounds requests of those who have not said who they
	// are.
	unauthenticatedFrame = 64 << 10
	// decoded is how many bytes in memory a byte of a request may become, other
	// than of records: an empty topic takes three bytes on the wire.
	decoded = 32

	// frameTimeout bounds the time that a step of a request takes to arrive, and
	// roomTimeout how long it waits for room in memory.
	frameTimeout = 30 * time.Second
	roomTimeout  = 20 * time.Second
)

var errBusy = errors.New("too many bytes of requests under way")

// readFrame reads the next request whole. Only as much memory is taken as has
// arrived.
func (s *Server) readFrame(c *conn, src *bufio.Reader) (frame, error) {
	var head [4 + headerStart]byte
	if err := s.awaitFrame(c, src, head[:4]); err != nil {
		return frame{}, err
	}
	c.nc.SetReadDeadline(time.Now().Add(frameTimeout))
	if size := int32(binary.BigEndian.Uint32(head[:])); size < headerStart {
		return frame{}, fmt.Errorf("request of %d bytes; none has fewer than %d", size, headerStart)
	}
	if _, err := io.ReadFull(src, head[4:]); err != nil {
		return frame{}, err
	}
	f := frame{header: parseHeaderStart(head[4:])}
	f.handler = s.table[f.header.key]
	if f.handler == nil {
		return frame{}, fmt.Errorf("request key %d is not known", f.header.key)
	}
	size := int64(int32(binary.BigEndian.Uint32(head[:])))
	if limit := s.frameLimit(c, f.handler); size < headerStart || size > limit {
		return frame{}, fmt.Errorf("%s of %d bytes; %d to %d are served", f.handler.key.Name(), size, headerStart, limit)
	}
	c.nc.SetReadDeadline(time.Now().Add(frameTimeout))
	size -= headerStart
	if size <= freeFrame {
		f.rest = make([]byte, size)
		_, err := io.ReadFull(src, f.rest)
		return f, err
	}
	return s.readLarge(c, src, f, int(size))
}

// awaitFrame reads the first bytes of a request. A client that waits for an
// answer is not idle.
func (s *Server) awaitFrame(c *conn, src *bufio.Reader, head []byte) error {
	c.idle.Store(time.Now().UnixNano())
	defer c.idle.Store(0)
	for {
		c.nc.SetReadDeadline(time.Now().Add(s.idleTimeout(c)))
		n, err := io.ReadFull(src, head)
		var timeout net.Error
		if n == 0 && errors.As(err, &timeout) && timeout.Timeout() && c.busy() {
			continue
		}
		return err
	}
}

// idleTimeout is shorter for those who have not said who they are.
func (s *Server) idleTimeout(c *conn) time.Duration {
	if !s.guard.admits(c) {
		return min(s.opts.IdleTimeout, frameTimeout)
	}
	return s.opts.IdleTimeout
}

func (s *Server) frameLimit(c *conn, h *handler) int64 {
	switch {
	case !s.guard.admits(c):
		return unauthenticatedFrame
	case h.key == kmsg.Produce:
		return int64(s.opts.MaxRequestBytes)
	}
	return int64(max(s.opts.MaxRequestBytes/16, freeFrame))
}

// readLarge reads a request that the budget is asked for.
func (s *Server) readLarge(c *conn, src *bufio.Reader, f frame, size int) (frame, error) {
	held := &lease{budget: s.inflight}
	produce := f.handler.key == kmsg.Produce
	weight := int64(decoded)
	if produce {
		weight = 1
	}
	if err := c.reserve(size); err != nil {
		return frame{}, err
	}
	room := min(size, firstRead)
	buf := []byte(nil)
	defer c.reading.end()
	fail := func(err error) (frame, error) {
		held.release()
		s.buffers.put(buf)
		c.unreserve(size)
		return frame{}, err
	}
	for {
		if err := s.makeRoom(c, held, int64(room)*weight-held.n); err != nil {
			return fail(err)
		}
		grown := s.buffers.get(room)
		grown = append(grown, buf...)
		s.buffers.put(buf)
		n := len(grown)
		buf = grown[:room]
		c.nc.SetReadDeadline(time.Now().Add(frameTimeout))
		for n < room {
			c.reading.begin()
			end := min(room, n+stepBytes)
			if _, err := io.ReadFull(src, buf[n:end]); err != nil {
				return fail(err)
			}
			n = end
		}
		if room == size {
			break
		}
		room = min(size, 4*room)
	}
	f.rest = buf
	f.release = func() {
		held.release()
		c.unreserve(size)
		if produce {
			s.buffers.put(buf)
		}
	}
	return f, nil
}

// makeRoom takes n bytes of the budget. A connection that waits too long is
// closed, and what it holds comes back.
func (s *Server) makeRoom(c *conn, held *lease, n int64) error {
	c.reading.end() // it is not the client that keeps others waiting
	ctx, cancel := context.WithTimeout(c.ctx, roomTimeout)
	defer cancel()
	if s.awaitRoom(ctx, held, n) != nil {
		return errBusy
	}
	return nil
}
