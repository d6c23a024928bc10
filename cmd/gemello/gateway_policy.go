package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/ingest"
)

// sharedSessions are the live sessions that were admitted by what many share, the
// key of a policy or a CA, so that they end with it.
type sharedSessions struct {
	mu sync.Mutex // guards of; nothing is called while it is held
	of map[string]map[*link]sharedSession
}

type sharedSession struct {
	verifier *verifier
	session  ingest.Session
}

// groupDeviceCA is the group of the sessions that a CA stands for. No policy has
// such a name.
const groupDeviceCA = "\x00device CA"

// group names what the session was admitted by, "" for the device's own.
func (v *verifier) group(a *admitted) string {
	switch {
	case v.token != nil:
		return v.token.Policy
	case a.byCA:
		return groupDeviceCA
	}
	return ""
}

// chain checks the certificates against the CAs as they are now.
func (v *verifier) chain() (until time.Time, err error) {
	ref := device.Ref{Device: v.c.DeviceID, Module: v.c.ModuleID}
	return v.gateway.cas.verify(v.c.PeerCertificates, ref.String(), v.gateway.now())
}

// stands checks what many share as it is now.
func (v *verifier) stands() error {
	if v.token == nil {
		_, err := v.chain()
		return err
	}
	return v.signedByPolicy()
}

// policyKeys are those of the token's policy as it is now, if it may connect
// devices.
func (v *verifier) policyKeys() (credential.Keys, error) {
	p, ok := v.gateway.policies.Policy(v.token.Policy)
	if !ok || !p.Permissions.Has(credential.DeviceConnect) {
		return credential.Keys{}, fmt.Errorf("%w: policy %q may not connect devices", ingest.ErrUnauthorized, v.token.Policy)
	}
	return p.Keys, nil
}

// signedByPolicy checks the token against its policy as it is now.
func (v *verifier) signedByPolicy() error {
	keys, err := v.policyKeys()
	if err == nil {
		_, err = v.token.Verify(keys, v.gateway.now(), clockSkew)
	}
	return err
}

// watchShared keeps an admitted session among those of its group. A change
// between its admission and now is seen here.
func (l *link) watchShared(v *verifier, s ingest.Session) {
	group := v.group(l.admitted.Load())
	if group == "" {
		return
	}
	w := &l.gateway.shared
	w.mu.Lock()
	l.group = group
	if w.of == nil {
		w.of = map[string]map[*link]sharedSession{}
	}
	if w.of[group] == nil {
		w.of[group] = map[*link]sharedSession{}
	}
	w.of[group][l] = sharedSession{v, s}
	w.mu.Unlock()
	if v.stands() != nil {
		s.Close(ingest.ReasonDisabled)
	}
}

func (l *link) forgetShared() {
	w := &l.gateway.shared
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.group == "" {
		return
	}
	delete(w.of[l.group], l)
	if len(w.of[l.group]) == 0 {
		delete(w.of, l.group)
	}
}

// recheck cuts the sessions of a group that nothing stands for any more.
func (g *gateway) recheck(what, group string) {
	g.shared.mu.Lock()
	list := make([]sharedSession, 0, len(g.shared.of[group]))
	for _, s := range g.shared.of[group] {
		list = append(list, s)
	}
	g.shared.mu.Unlock()
	cut := 0
	for _, s := range list {
		if s.verifier.stands() != nil {
			s.session.Close(ingest.ReasonDisabled)
			cut++
		}
	}
	name := group
	if group == groupDeviceCA {
		name = g.cas.file
	}
	g.logger.Info("credentials that sessions share have changed", "what", what, "name", name, "sessions", len(list), "cut", cut)
}
