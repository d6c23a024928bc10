package main

import (
	"fmt"
	"sync"

	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/ingest"
)

// policySessions are the live sessions that were admitted with the key of a
// shared access policy, so that they end with it.
type policySessions struct {
	mu sync.Mutex // guards of; nothing is called while it is held
	of map[string]map[*link]policySession
}

type policySession struct {
	verifier *verifier
	session  ingest.Session
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

// watchPolicy keeps an admitted session among those of its policy. A change
// between its admission and now is seen here.
func (l *link) watchPolicy(v *verifier, s ingest.Session) {
	if v.token == nil || v.token.Policy == "" {
		return
	}
	w := &l.gateway.shared
	w.mu.Lock()
	l.policy = v.token.Policy
	if w.of == nil {
		w.of = map[string]map[*link]policySession{}
	}
	if w.of[l.policy] == nil {
		w.of[l.policy] = map[*link]policySession{}
	}
	w.of[l.policy][l] = policySession{v, s}
	w.mu.Unlock()
	if v.signedByPolicy() != nil {
		s.Close(ingest.ReasonDisabled)
	}
}

func (l *link) forgetPolicy() {
	w := &l.gateway.shared
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.policy == "" {
		return
	}
	delete(w.of[l.policy], l)
	if len(w.of[l.policy]) == 0 {
		delete(w.of, l.policy)
	}
}

// recheck cuts the sessions whose token a policy no longer stands for.
func (g *gateway) recheck(name string) {
	g.shared.mu.Lock()
	list := make([]policySession, 0, len(g.shared.of[name]))
	for _, s := range g.shared.of[name] {
		list = append(list, s)
	}
	g.shared.mu.Unlock()
	cut := 0
	for _, s := range list {
		if s.verifier.signedByPolicy() != nil {
			s.session.Close(ingest.ReasonDisabled)
			cut++
		}
	}
	g.logger.Info("policy changed", "policy", name, "sessions", len(list), "cut", cut)
}
