package broker

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/persistence/broker/access"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// guard knows who may connect and what they may do.
type guard struct {
	users *access.Users
	rules *access.Rules
	// anonymous tells that clients on this machine need not authenticate.
	anonymous bool

	mu       sync.Mutex // guards throttle; not held while an answer waits
	throttle access.Throttle
}

// newGuard makes verifiers of all passwords, that of the node included.
func newGuard(o Options, nodePassword string) (*guard, error) {
	g := &guard{anonymous: len(o.Users) == 0, rules: access.Open()}
	logins := []access.Login{{Name: nodeUser, Password: nodePassword, Super: true}}
	var rules []access.Rule
	for _, u := range o.Users {
		grants := o.Grants[u.Name]
		logins = append(logins, access.Login{Name: u.Name, Password: u.Password, Super: len(grants) == 0})
		for _, grant := range grants {
			rules = append(rules, grant.Rules(u.Name)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Grants)) {
		if !slices.ContainsFunc(o.Users, func(u User) bool { return u.Name == name }) {
			return nil, fmt.Errorf("log grants of %q: there is no such user; correct the name", name)
		}
	}
	reserved := access.Reserved{Private: o.Private, ReadOnly: o.ReadOnly, Prefix: o.PrivatePrefix}
	if g.anonymous && !reserved.Empty() {
		rules = append(rules, reserved.Rules(anonymousUser)...)
	}
	if !g.anonymous && !reserved.Empty() {
		// Grants may be wider than what is reserved, which is the node's.
		for _, r := range reserved.Rules("*") {
			if r.Deny {
				rules = append(rules, r)
			}
		}
	}
	var err error
	if g.users, err = access.NewUsers(logins, 0, rand.Reader); err != nil {
		return nil, fmt.Errorf("log users: %w", err)
	}
	// Without rules all who are let in may do everything.
	if len(rules) > 0 {
		if g.rules, err = access.NewRules(rules); err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
	}
	return g, nil
}

// session is what a connection has shown of its user. The zero value is a
// connection that has not authenticated. It belongs to the goroutine that
// reads the connection, but for who: parked requests ask for that as well.
type session struct {
	who      *atomic.Pointer[access.Principal]
	admitted bool // requests other than those of open handlers are served
	login    login
}

func (s *session) principal() access.Principal {
	if s.who == nil {
		return access.Principal{}
	}
	return *s.who.Load()
}

// admit lets the connection in as p; the zero principal shuts it out.
func (s *session) admit(p access.Principal) {
	s.who.Store(&p)
	s.admitted = p != access.Principal{}
}

// newSession begins the session of a connection.
func (g *guard) newSession(c *conn) session {
	s := session{who: new(atomic.Pointer[access.Principal])}
	s.admit(access.Principal{})
	if g.anonymous && local(c.nc.RemoteAddr()) {
		s.admit(access.Principal{Name: anonymousUser})
	}
	return s
}

// local reports whether a client runs on this machine. A connection without a
// socket does.
func local(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// admits reports whether requests other than those of open handlers are
// served.
func (g *guard) admits(c *conn) bool { return c.session.admitted }

// wrong counts a wrong guess from the connection's host and returns how long
// the answer has to wait.
func (g *guard) wrong(c *conn, now time.Time) time.Duration {
	host := ""
	if tcp, ok := c.nc.RemoteAddr().(*net.TCPAddr); ok {
		host = tcp.IP.String()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.throttle.Wrong(host, now)
}

// allowed reports whether the connection's user may do op to the resource.
func (s *Server) allowed(c *conn, op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) bool {
	return s.guard.rules.Allowed(c.session.principal(), op, resource, name)
}

// allowedSome reports whether there is a resource of the type that the
// connection's user may do op to: without a name, an idempotent producer has to
// have the right to write some topic (KIP-679).
func (s *Server) allowedSome(c *conn, op kmsg.ACLOperation, resource kmsg.ACLResourceType) bool {
	return s.guard.rules.AllowedSome(c.session.principal(), op, resource)
}

// operations are those that make sense on a resource, as Apache Kafka lists
// them.
func operations(resource kmsg.ACLResourceType) []kmsg.ACLOperation {
	switch resource {
	case kmsg.ACLResourceTypeTopic:
		return []kmsg.ACLOperation{
			kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete,
			kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
		}
	case kmsg.ACLResourceTypeGroup:
		return []kmsg.ACLOperation{
			kmsg.ACLOperationRead, kmsg.ACLOperationDelete, kmsg.ACLOperationDescribe,
			kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
		}
	case kmsg.ACLResourceTypeCluster:
		return []kmsg.ACLOperation{
			kmsg.ACLOperationCreate, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationClusterAction,
			kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationIdempotentWrite,
		}
	case kmsg.ACLResourceTypeTransactionalId:
		return []kmsg.ACLOperation{kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe}
	}
	return nil
}

// authorized returns the operations that the connection's user may do to the
// resource, as bits by the number of the operation (KIP-430).
func (s *Server) authorized(c *conn, resource kmsg.ACLResourceType, name string) int32 {
	var set int32
	for _, op := range operations(resource) {
		if s.allowed(c, op, resource, name) {
			set |= 1 << op
		}
	}
	return set
}
