package broker

import (
	"context"
	"net"
)

// Dial connects a client of the same process without a socket, whatever the
// address; it suits kgo.Dialer. Such a connection counts towards
// MaxConnections and is served like one of a loopback address, without TLS.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
	near, far := net.Pipe()
	if !s.serveConn(far) {
		<-s.slots
		near.Close()
		return nil, net.ErrClosed
	}
	return near, nil
}
