package main

import (
	"net"
	"sync"
)

// connLimit bounds the connections of several listeners together. At the limit
// Accept waits: further clients stay in the system's listen queue.
type connLimit struct{ slots chan struct{} }

func newConnLimit(n int) *connLimit { return &connLimit{slots: make(chan struct{}, n)} }

// wrap returns a listener that takes a slot for each connection.
func (c *connLimit) wrap(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, limit: c, closed: make(chan struct{})}
}

// reserve takes a slot for a connection that a listener without slots has
// accepted, if there is one.
func (c *connLimit) reserve() (release func(), ok bool) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, true
	default:
		return nil, false
	}
}

type limitedListener struct {
	net.Listener
	limit  *connLimit
	once   sync.Once
	closed chan struct{} // closed by Close, which a waiting Accept must notice
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.limit.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.limit.slots
		return nil, err
	}
	return &limitedConn{Conn: conn, limit: l.limit}, nil
}

func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	limit *connLimit
	once  sync.Once
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.limit.slots })
	return err
}
