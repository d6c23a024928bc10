package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
)

// lenientListener speaks TLS to clients that don't encode what they put into a
// path, as Azure's service SDK for Java does: net/http refuses a request line with
// a percent sign that begins no escape before any handler sees it.
type lenientListener struct {
	net.Listener
	config *tls.Config
}

// Accept returns a connection whose handshake is made by its first read.
func (l lenientListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &lenientConn{Conn: tls.Server(nc, l.config)}
	c.begins.Store(true)
	return c, nil
}

// lenientConn mends the request lines of one connection.
type lenientConn struct {
	*tls.Conn
	begins atomic.Bool // the next byte is the first of a request
	// The following are the reader's.
	line []byte // of a request, while its end has not come
	out  []byte // to be read before the connection
	// state is the handler's, of which there is one at a time.
	state *tls.ConnectionState
}

// maxRequestLine is how much of a line is waited for, in bytes; a longer one is
// passed on as it is.
const maxRequestLine = 16 << 10

// Read reads from the connection. The line that begins a request comes as a whole.
func (c *lenientConn) Read(p []byte) (int, error) {
	if len(c.out) > 0 {
		n := copy(p, c.out)
		c.out = c.out[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if !c.begins.Load() || len(p) == 0 {
		return n, err
	}
	if bytes.IndexByte(p[:n], '\n') < 0 || len(c.line) > 0 {
		c.line = append(c.line, p[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err // the rest may come with a later read
		}
		if err == nil && bytes.IndexByte(p[:n], '\n') < 0 && len(c.line) < maxRequestLine {
			return c.Read(p)
		}
		if len(c.line) == 0 {
			return n, err
		}
		c.begins.Store(false)
		c.out, c.line = mendRequestLine(c.line), nil
		return c.Read(p)
	}
	c.begins.Store(false)
	if mended := mendRequestLine(p[:n]); len(mended) > n {
		n = copy(p, mended)
		c.out = mended[n:]
	}
	return n, err
}

// mendRequestLine encodes the percent signs in the path of the request that b
// begins with, in each segment in which one of them begins no escape: there, none
// of them does. What needs no mending is returned as it is.
func mendRequestLine(b []byte) []byte {
	from := bytes.IndexByte(b, ' ') + 1
	if from == 0 {
		return b
	}
	size := bytes.IndexAny(b[from:], "? \n")
	if size < 0 || bytes.IndexByte(b[from:from+size], '%') < 0 {
		return b
	}
	line, _, _ := bytes.Cut(b[from+size:], []byte("\n"))
	if !bytes.Contains(line, []byte(" HTTP/1.")) {
		return b
	}
	mended := append(make([]byte, 0, len(b)+16), b[:from]...)
	for i, segment := range bytes.Split(b[from:from+size], []byte("/")) {
		if i > 0 {
			mended = append(mended, '/')
		}
		if _, err := url.PathUnescape(string(segment)); err != nil {
			segment = bytes.ReplaceAll(segment, []byte("%"), []byte("%25"))
		}
		mended = append(mended, segment...)
	}
	if len(mended) == from+size {
		return b
	}
	return append(mended, b[from+size:]...)
}

// connKey is where a request's context holds its connection.
type connKey struct{}

// serveLenient serves HTTP/1.1 over TLS. Handlers find the TLS state of a request,
// which net/http sets for connections of its own alone.
func serveLenient(s *http.Server, l net.Listener, config *tls.Config) error {
	handler := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*lenientConn); ok {
			if c.state == nil {
				state := c.ConnectionState()
				c.state = &state
			}
			r.TLS = c.state
		}
		handler.ServeHTTP(w, r)
	})
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if c, ok := c.(*lenientConn); ok && state == http.StateIdle {
			c.begins.Store(true)
		}
	}
	return s.Serve(lenientListener{l, config})
}
