package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gemello/gemello/device"
)

// knownScopes reports whether the parents that an identity names exist. The edge
// devices are in any partition, so the core can't tell: a parent that is deleted
// at this very moment leaves a child with a scope that nobody has, as one that is
// deleted later does. A scope that the device has already is not asked for again:
// or nothing about such a child could be changed.
func (n *Node) knownScopes(ctx context.Context, id *device.Identity) error {
	scopes := id.Scopes()
	if len(scopes) == 0 {
		return nil
	}
	var have []string
	switch current, err := n.Identity(ctx, id.Ref()); {
	case err == nil:
		have = append(current.Identity.Scopes(), current.Identity.DeviceScope)
	case !errors.Is(err, device.ErrNotFound):
		return err
	}
	for _, scope := range scopes {
		if slices.Contains(have, scope) {
			continue
		}
		have = append(have, scope)
		owner, ok := device.ScopeOwner(scope)
		if !ok {
			return fmt.Errorf("%w: %.140q of %s", device.ErrScope, scope, id.DeviceID)
		}
		parent, err := n.Identity(ctx, device.Ref{Device: owner})
		switch {
		case errors.Is(err, device.ErrNotFound), err == nil && (!parent.Identity.IoTEdge || parent.Identity.DeviceScope != scope):
			return fmt.Errorf("%w: no edge device has %.280q, which %s names", device.ErrScope, scope, id.DeviceID)
		case err != nil:
			return err
		}
	}
	return nil
}
