package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// guard knows who may connect and what they may do.
type guard struct{}

func newGuard(o Options) (*guard, error) { return &guard{}, nil }

// session is what a connection has shown of its user. The zero value is a
// connection that has not authenticated. It belongs to the goroutine that
// reads the connection; parked requests may only read what does not change.
type session struct{}

// newSession begins the session of a connection.
func (g *guard) newSession(c *conn) session { return session{} }

// admits reports whether requests other than those of open handlers are
// served.
func (g *guard) admits(c *conn) bool { return true }

// allowed reports whether the connection's user may do op to the resource.
func (s *Server) allowed(c *conn, op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) bool {
	return true
}

// authorized returns the operations that the connection's user may do to the
// resource, as bits by the number of the operation (KIP-430).
func (s *Server) authorized(c *conn, resource kmsg.ACLResourceType, name string) int32 {
	return -2147483648
}

func (s *Server) accessHandlers() []handler { return nil }
