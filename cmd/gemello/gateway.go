package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/device/throttle"
	"github.com/gemello/gemello/ingest"
)

// clockSkew is how long after its end a device's token still passes: devices'
// clocks drift (azure-iot-wire 1.2).
const clockSkew = 5 * time.Minute

// gateway admits device sessions: it verifies credentials and joins what ingest
// asks for with what the node offers.
type gateway struct {
	node     *actors.Node
	hosts    []string // in lower case
	policies *policies
	sealer   *credential.Sealer
	logger   *slog.Logger
	now      func() time.Time
	life     string // makes session ids unique over restarts
	sessions atomic.Uint64
	shared   sharedSessions
	cas      *deviceCAs // nil: no CA is trusted for devices
	limiter  *limiter
	accepts  func(netip.Addr) bool // addresses of devices
}

var _ ingest.Hub = (*gateway)(nil)

func newGateway(node *actors.Node, hosts []string, p *policies, s *credential.Sealer, limiter *limiter, accepts func(netip.Addr) bool, logger *slog.Logger) *gateway {
	life := make([]byte, 8)
	rand.Read(life)
	g := &gateway{node: node, policies: p, sealer: s, limiter: limiter, accepts: accepts, logger: logger, now: time.Now, life: hex.EncodeToString(life)}
	for _, h := range hosts {
		g.hosts = append(g.hosts, strings.ToLower(h))
	}
	p.onChange(func(name string) { g.recheck("policy", name) })
	return g
}

// trustDeviceCAs lets devices in whose certificates lead to one of the CAs. It is
// called before the first connect.
func (g *gateway) trustDeviceCAs(d *deviceCAs) {
	g.cas = d
	d.onChange(func() { g.recheck("device CAs", groupDeviceCA) })
}

// Connect verifies the credential and makes the connection the device's
// session.
func (g *gateway) Connect(ctx context.Context, c ingest.Credentials, s ingest.Session) (ingest.Link, error) {
	if !g.accepts(c.Remote.Addr()) {
		return nil, fmt.Errorf("%w: the IP filter rejects %s", ingest.ErrUnauthorized, c.Remote.Addr())
	}
	l := &link{gateway: g, credentials: c, ref: device.Ref{Device: c.DeviceID, Module: c.ModuleID}, id: fmt.Sprintf("%s-%d", g.life, g.sessions.Add(1))}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	v, err := g.verifier(c)
	if err != nil {
		return nil, err
	}
	err = g.node.Attach(ctx, l.ref, actors.Attachment{
		ID: l.id, Session: actorSession{s},
		Check: func(id *device.Identity) error {
			got, err := v.verify(id)
			if err != nil {
				return err
			}
			if l.admitted.Load() == nil {
				if err := g.limiter.connection(c.DeviceID); err != nil {
					return err
				}
				l.admitted.Store(&got)
			} else if l.admitted.Load().generation != got.generation {
				return fmt.Errorf("%w: %s was deleted and made again", ingest.ErrUnauthorized, l.ref)
			}
			return nil
		},
	})
	if errors.Is(err, device.ErrNotFound) || errors.Is(err, device.ErrModuleNotFound) {
		return nil, fmt.Errorf("%w: %w", ingest.ErrUnauthorized, err)
	}
	if err != nil {
		return nil, ingestError(err)
	}
	l.watchShared(v, s)
	g.node.Presence(l.ctx, actors.Connection{Ref: l.ref, Session: l.id, Connected: true, ModelID: c.ModelID, Audit: l.audit()})
	return l, nil
}

// verifier holds what of a credential does not depend on the identity.
type verifier struct {
	gateway *gateway
	c       ingest.Credentials
	token   *credential.Token
}

// admitted is a credential that an identity accepts.
type admitted struct {
	auth       string // "scope;type" for the log
	credential string // which key or certificate
	generation string
	byCA       bool // the certificate counts for the CA that signed it
	expires    time.Time
}

func (g *gateway) verifier(c ingest.Credentials) (*verifier, error) {
	v := &verifier{gateway: g, c: c}
	ref := device.Ref{Device: c.DeviceID, Module: c.ModuleID}
	if err := ref.Valid(); err != nil {
		return nil, fmt.Errorf("%w: %v", ingest.ErrUnauthorized, err)
	}
	if c.Token == "" {
		if len(c.PeerCertificates) == 0 {
			return nil, fmt.Errorf("%w: neither token nor certificate", ingest.ErrUnauthorized)
		}
		return v, nil
	}
	t, err := credential.ParseToken(c.Token)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ingest.ErrUnauthorized, err)
	}
	path := []string{"devices", c.DeviceID}
	if c.ModuleID != "" {
		path = append(path, "modules", c.ModuleID)
	}
	if err := t.Covers(g.hosts, path...); err != nil {
		return nil, fmt.Errorf("%w: %v", ingest.ErrUnauthorized, err)
	}
	v.token = &t
	if t.Policy != "" {
		if _, err := v.policyKeys(); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// verify checks the credential against an identity as it is now.
func (v *verifier) verify(id *device.Identity) (admitted, error) {
	refuse := func(format string, args ...any) (admitted, error) {
		return admitted{}, fmt.Errorf("%w: "+format, append([]any{ingest.ErrUnauthorized}, args...)...)
	}
	if id.Status != device.Enabled {
		return refuse("device %s is disabled", id.DeviceID)
	}
	a := admitted{generation: id.GenerationID}
	scope := "device"
	if id.ModuleID != "" {
		scope = "module"
	}
	if v.token == nil {
		a.auth, a.credential = scope+";x509", "certificate"
		if id.Auth.Type == device.AuthCA {
			var err error
			if a.expires, err = v.chain(); err != nil {
				return refuse("%v", err)
			}
			a.byCA = true
			return a, nil
		}
		if !credential.MatchThumbprint(v.c.PeerCertificates[0].Raw, &id.Auth) {
			return refuse("the certificate is not that of %s", id.Ref())
		}
		return a, nil
	}
	var keys credential.Keys
	if v.token.Policy != "" {
		var err error
		if keys, err = v.policyKeys(); err != nil {
			return admitted{}, err
		}
		a.auth = "hub;sas"
	} else {
		if id.Auth.Type != device.AuthSAS {
			return refuse("%s does not authenticate with keys", id.Ref())
		}
		var err error
		if keys, err = v.gateway.sealer.OpenDevice(id); err != nil {
			return admitted{}, err
		}
		a.auth = scope + ";sas"
	}
	which, err := v.token.Verify(keys, v.gateway.now(), clockSkew)
	if err != nil {
		return refuse("%v", err)
	}
	a.credential, a.expires = which, v.token.Expires.Add(clockSkew)
	return a, nil
}

// actorSession lets the device actor close a connection in ingest's terms.
type actorSession struct{ ingest.Session }

func (s actorSession) Close(reason string) {
	switch reason {
	case actors.ClosedTakenOver:
		s.Session.Close(ingest.ReasonTakenOver)
	default:
		s.Session.Close(ingest.ReasonDisabled)
	}
}

// link is an admitted session.
type link struct {
	*gateway
	credentials ingest.Credentials
	ref         device.Ref
	id          string
	admitted    atomic.Pointer[admitted]
	ctx         context.Context // ends when the session is closed
	cancel      context.CancelFunc
	closed      sync.Once
	usage       usage
	group       string // of the sessions that end with what it was admitted by, "" for the device's own
}

var _ ingest.Link = (*link)(nil)

func (l *link) ID() string         { return l.id }
func (l *link) Expires() time.Time { return l.admitted.Load().expires }

func (l *link) audit() device.Audit {
	return device.Audit{Actor: "device:" + l.ref.String(), Credential: l.admitted.Load().credential, Address: l.credentials.Remote.String(), RequestID: l.id}
}

func (l *link) Publish(m ingest.Message, done func(error)) {
	l.limiter.message(l.ctx, &l.usage)
	l.publish(l.ctx, m, done)
}

func (l *link) publish(ctx context.Context, m ingest.Message, done func(error)) {
	a := l.admitted.Load()
	l.node.Publish(ctx, actors.Telemetry{
		DeviceID: l.credentials.DeviceID, ModuleID: l.credentials.ModuleID, Bag: m.Bag,
		Auth: a.auth, GenerationID: a.generation, ModelID: l.credentials.ModelID, Body: m.Body,
	}, func(err error) { done(ingestError(err)) })
}

// Twin reads the twin on a goroutine of its own: the caller is the connection's
// reader, and the number under way is bounded by the session.
func (l *link) Twin(done func([]byte, error)) {
	if err := l.limiter.request(throttle.TwinReads, &l.usage); err != nil {
		done(nil, err)
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(l.ctx, 20*time.Second)
		defer cancel()
		doc, err := l.node.Twin(ctx, l.ref)
		if err != nil {
			done(nil, ingestError(err))
			return
		}
		done(doc.Twin.AppendDeviceView(nil), nil)
	}()
}

func (l *link) PatchReported(patch []byte, ifVersion int64, done func(int64, error)) {
	if err := l.limiter.request(throttle.TwinUpdates, &l.usage); err != nil {
		done(0, err)
		return
	}
	var once sync.Once
	answer := func(v int64, err error) { once.Do(func() { done(v, ingestError(err)) }) }
	var cancel func()
	submitted := make(chan struct{})
	timer := time.AfterFunc(20*time.Second, func() {
		<-submitted
		cancel()
		answer(0, ingest.ErrBusy)
	})
	cancel = l.node.PatchReportedIf(l.ctx, l.ref, patch, ifVersion, l.audit(), func(v int64, err error) {
		timer.Stop()
		answer(v, err)
	})
	close(submitted)
}

func (l *link) MethodResponse(rid string, status int, payload []byte) {
	l.node.MethodResponse(l.ref, rid, status, payload)
}

func (l *link) Ready(f ingest.Feature, on bool) { l.node.Ready(l.ref, l.id, f, on) }

func (l *link) Settle(lock string, o device.Outcome, done func(error)) {
	l.node.SettleDelivery(l.ref, l.id, lock, o, l.audit(), func(err error) { done(ingestError(err)) })
}

func (l *link) Close(_ ingest.Reason, will *ingest.Message) {
	l.closed.Do(func() {
		background := context.WithoutCancel(l.ctx)
		l.cancel()
		if will != nil {
			l.publish(background, *will, func(err error) {
				if err != nil {
					l.logger.Warn("append will", "err", err)
				}
			})
		}
		l.forgetShared()
		l.node.Detach(l.ref, l.id)
		l.node.Presence(background, actors.Connection{Ref: l.ref, Session: l.id, Audit: l.audit()})
	})
}

// ingestError maps the node's errors to those of ingest.
func ingestError(err error) error {
	for _, m := range [...]struct{ from, to error }{
		{device.ErrNotFound, ingest.ErrNotFound}, {device.ErrModuleNotFound, ingest.ErrNotFound}, {device.ErrTooLarge, ingest.ErrTooLarge},
		{device.ErrArgument, ingest.ErrInvalid}, {device.ErrFormat, ingest.ErrInvalid}, {device.ErrPrecondition, ingest.ErrPrecondition},
		{actors.ErrBusy, ingest.ErrBusy}, {actors.ErrUnavailable, ingest.ErrBusy},
	} {
		if errors.Is(err, m.from) && !errors.Is(err, m.to) {
			return fmt.Errorf("%w: %w", m.to, err)
		}
	}
	return err
}
