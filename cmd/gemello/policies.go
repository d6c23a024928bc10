package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// policies are the hub's shared access policies, opened. They live sealed in
// the settings topic; the first node of a hub makes the built-in ones.
type policies struct {
	node   *actors.Node
	sealer *credential.Sealer
	logger *slog.Logger
	random io.Reader

	mu     sync.RWMutex // guards the following
	set    []credential.Policy
	stored []byte // what set was read from
	moved  []func(name string)
}

var (
	_ api.Policies    = (*policies)(nil)
	_ api.PolicyStore = (*policies)(nil)
)

// openPolicies reads the policies, and makes them in a new hub.
func openPolicies(ctx context.Context, node *actors.Node, s *credential.Sealer, logger *slog.Logger) (*policies, error) {
	p := &policies{node: node, sealer: s, logger: logger, random: rand.Reader}
	if node.Setting(actors.SettingPolicies) == nil {
		made, err := credential.BuiltinPolicies(p.random)
		if err != nil {
			return nil, err
		}
		c := actors.SettingChange{
			Setting: actors.SettingPolicies, Action: "create", Object: "policies",
			Audit: device.Audit{Actor: "node", Credential: "hub key", Address: "local", RequestID: "first start"},
		}
		err = node.ChangeSetting(ctx, c, func([]byte) ([]byte, error) { return p.seal(made) })
		if err != nil {
			return nil, err
		}
	}
	if err := p.reload(); err != nil {
		return nil, usagef("secrets: the hub key does not open the hub's policies (%v); give every node the same hub.key with secrets.key_file", err)
	}
	return p, nil
}

func (p *policies) seal(set []credential.Policy) ([]byte, error) {
	sealed := make([][]byte, len(set))
	for i := range set {
		var err error
		if sealed[i], err = p.sealer.SealPolicy(set[i]); err != nil {
			return nil, fmt.Errorf("seal policy %s: %w", set[i].Name, err)
		}
	}
	return json.Marshal(sealed)
}

func (p *policies) open(stored []byte) ([]credential.Policy, error) {
	var sealed [][]byte
	if err := json.Unmarshal(stored, &sealed); err != nil {
		return nil, fmt.Errorf("read the policies of the settings: %w", err)
	}
	set := make([]credential.Policy, len(sealed))
	for i := range sealed {
		var err error
		if set[i], err = p.sealer.OpenPolicy(sealed[i]); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// reload takes over what the settings hold and tells of each policy that is
// another than before.
func (p *policies) reload() error {
	stored := p.node.Setting(actors.SettingPolicies)
	p.mu.Lock()
	if bytes.Equal(stored, p.stored) {
		p.mu.Unlock()
		return nil
	}
	set, err := p.open(stored)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	var changed []string
	for _, old := range p.set {
		if now, ok := find(set, old.Name); !ok || now.Permissions != old.Permissions ||
			now.Keys.Primary.Reveal() != old.Keys.Primary.Reveal() || now.Keys.Secondary.Reveal() != old.Keys.Secondary.Reveal() {
			changed = append(changed, old.Name)
		}
	}
	p.set, p.stored = set, stored
	moved := p.moved
	p.mu.Unlock()
	for _, name := range changed {
		for _, f := range moved {
			f(name)
		}
	}
	return nil
}

// onChange has f called after a policy was changed or deleted.
func (p *policies) onChange(f func(name string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved = append(p.moved, f)
}

// follow takes over changes of this and other nodes until ctx ends.
func (p *policies) follow(ctx context.Context) {
	for {
		moved := p.node.SettingsMoved()
		if err := p.reload(); err != nil {
			p.logger.Error("the hub's policies stay as they were", "err", err)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

func find(set []credential.Policy, name string) (credential.Policy, bool) {
	i := slices.IndexFunc(set, func(p credential.Policy) bool { return p.Name == name })
	if i < 0 {
		return credential.Policy{}, false
	}
	return set[i], true
}

// Policy finds a policy by name.
func (p *policies) Policy(name string) (credential.Policy, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return find(p.set, name)
}

// List returns all policies.
func (p *policies) List() []credential.Policy {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Clone(p.set)
}

// Put creates or changes a policy.
func (p *policies) Put(ctx context.Context, c api.PolicyChange, a device.Audit) (out credential.Policy, created bool, err error) {
	err = p.change(ctx, "put", c.Name, a, func(set []credential.Policy) ([]credential.Policy, error) {
		old, found := find(set, c.Name)
		if found && c.Create {
			return nil, fmt.Errorf("%w: policy %s is there", api.ErrConflict, c.Name)
		}
		created, out = !found, old
		out.Name = c.Name
		if c.Permissions != 0 {
			out.Permissions = c.Permissions
		}
		for _, k := range [...]struct {
			given credential.Key
			to    *credential.Key
		}{{c.Keys.Primary, &out.Keys.Primary}, {c.Keys.Secondary, &out.Keys.Secondary}} {
			if !k.given.IsZero() {
				*k.to = k.given
			} else if k.to.IsZero() {
				if *k.to, err = credential.NewKey(p.random); err != nil {
					return nil, err
				}
			}
		}
		return credential.WithPolicy(set, out)
	})
	return out, created, err
}

// Rotate makes a new key: credential.Primary or credential.Secondary.
func (p *policies) Rotate(ctx context.Context, name, slot string, a device.Audit) (out credential.Policy, err error) {
	err = p.change(ctx, "rotate "+slot, name, a, func(set []credential.Policy) ([]credential.Policy, error) {
		var found bool
		if out, found = find(set, name); !found {
			return nil, fmt.Errorf("%w: policy %.70q", api.ErrNoObject, name)
		}
		k, err := credential.NewKey(p.random)
		if err != nil {
			return nil, err
		}
		if slot == credential.Secondary {
			out.Keys.Secondary = k
		} else {
			out.Keys.Primary = k
		}
		return credential.WithPolicy(set, out)
	})
	return out, err
}

// Delete removes a policy.
func (p *policies) Delete(ctx context.Context, name string, a device.Audit) error {
	return p.change(ctx, "delete", name, a, func(set []credential.Policy) ([]credential.Policy, error) {
		out, found, err := credential.WithoutPolicy(set, name)
		if !found {
			return nil, fmt.Errorf("%w: policy %.70q", api.ErrNoObject, name)
		}
		return out, err
	})
}

func (p *policies) change(ctx context.Context, action, name string, a device.Audit, change func([]credential.Policy) ([]credential.Policy, error)) error {
	c := actors.SettingChange{Setting: actors.SettingPolicies, Action: action, Object: "policies/" + name, Audit: a}
	err := p.node.ChangeSetting(ctx, c, func(stored []byte) ([]byte, error) {
		set, err := p.open(stored)
		if err != nil {
			return nil, err
		}
		if set, err = change(set); err != nil {
			return nil, err
		}
		return p.seal(set)
	})
	switch {
	case errors.Is(err, credential.ErrLastOwner):
		return fmt.Errorf("%w: %w", api.ErrConflict, err)
	case errors.Is(err, credential.ErrPolicy):
		return fmt.Errorf("%w: %w", device.ErrArgument, err)
	case err != nil:
		return apiError(err)
	}
	return p.reload()
}
