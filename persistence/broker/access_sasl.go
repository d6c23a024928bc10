package broker

import (
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/gemello/gemello/persistence/broker/access"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// login is one authentication of a connection. After the handshake there is
// an exchange until it has succeeded; a failed one ends the connection.
type login struct {
	exchange  *access.Exchange
	mechanism string // of the last that succeeded
}

// saslHandshake names the mechanism. On a connection that is authenticated it
// begins again (KIP-368).
func (s *Server) saslHandshake(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.SASLHandshakeRequest)
	resp := r.response().(*kmsg.SASLHandshakeResponse)
	resp.SupportedMechanisms = access.Mechanisms()
	l := &r.conn.session.login
	l.exchange = nil
	if r.header.version < 1 {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		return resp, nil
	}
	if !slices.Contains(access.Mechanisms(), req.Mechanism) {
		resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		return resp, nil
	}
	e, err := s.guard.users.Begin(req.Mechanism, rand.Reader)
	if err != nil {
		resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		return resp, nil
	}
	l.exchange = e
	return resp, nil
}

// saslAuthenticate takes a message of the mechanism. The answer to a wrong one
// waits, which makes guessing slow, and is the last on the connection.
func (s *Server) saslAuthenticate(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.SASLAuthenticateRequest)
	resp := r.response().(*kmsg.SASLAuthenticateResponse)
	resp.SASLAuthBytes = []byte{}
	session := &r.conn.session
	e := session.login.exchange
	if e == nil {
		resp.ErrorCode = kerr.IllegalSaslState.Code
		resp.ErrorMessage = kmsg.StringPtr("SaslAuthenticate before SaslHandshake; begin with the handshake")
		return resp, nil
	}
	answer, done, err := e.Step(req.SASLAuthBytes)
	if done && session.login.mechanism != "" {
		// Rights don't change in the middle of a connection.
		switch {
		case session.principal() != e.Principal():
			err = errors.New("another user than the connection began with; connect anew")
		case session.login.mechanism != e.Mechanism():
			err = errors.New("another mechanism than the connection began with; connect anew")
		}
	}
	if err != nil {
		return s.saslFailed(r, resp, e, err)
	}
	resp.SASLAuthBytes = answer
	if done {
		session.admit(e.Principal())
		session.login = login{mechanism: e.Mechanism()}
	}
	return resp, nil
}

func (s *Server) saslFailed(r *request, resp *kmsg.SASLAuthenticateResponse, e *access.Exchange, err error) (kmsg.Response, error) {
	c := r.conn
	c.session.admit(access.Principal{}) // nothing more is served
	c.session.login = login{}
	s.opts.Logger.Warn("log client not let in", "remote", c.nc.RemoteAddr().String(), "user", e.Name(), "mechanism", e.Mechanism(), "error", err)
	text := "Authentication failed: " + err.Error()
	if errors.Is(err, access.ErrCredentials) {
		text = "Authentication failed with " + e.Mechanism() + ": name or password is wrong; correct the client's credentials"
	}
	resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
	resp.ErrorMessage = &text
	if !sleep(r.ctx, s.guard.wrong(c, time.Now())) {
		return nil, r.ctx.Err()
	}
	r.slot.last = true
	return resp, nil
}
