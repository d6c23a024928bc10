package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device/credential"
)

// policies are the hub's shared access policies, opened. They live sealed in
// the settings topic; the first node of a hub makes the built-in ones.
type policies struct {
	mu     sync.RWMutex // guards byName
	byName map[string]credential.Policy
}

func openPolicies(ctx context.Context, node *actors.Node, s *credential.Sealer) (*policies, error) {
	sealed := node.SealedPolicies()
	if sealed == nil {
		made, err := credential.BuiltinPolicies(rand.Reader)
		if err != nil {
			return nil, err
		}
		for _, p := range made {
			b, err := s.SealPolicy(p)
			if err != nil {
				return nil, fmt.Errorf("seal policy %s: %w", p.Name, err)
			}
			sealed = append(sealed, b)
		}
		if err := node.PutSealedPolicies(ctx, sealed); err != nil {
			return nil, err
		}
	}
	ps := &policies{byName: map[string]credential.Policy{}}
	for _, b := range sealed {
		p, err := s.OpenPolicy(b)
		if err != nil {
			return nil, usagef("secrets: the hub key does not open the hub's policies (%v); give every node the same hub.key with secrets.key_file", err)
		}
		ps.byName[p.Name] = p
	}
	return ps, nil
}

// Policy finds a policy by name.
func (p *policies) Policy(name string) (credential.Policy, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	found, ok := p.byName[name]
	return found, ok
}
