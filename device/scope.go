package device

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// edgeScope is what the scope of an edge device begins with (azure-iot-wire 5.2).
const edgeScope = "ms-azure-iot-edge://"

// ScopeOwner returns the id of the edge device that a scope was made for.
func ScopeOwner(scope string) (deviceID string, ok bool) {
	rest, ok := strings.CutPrefix(scope, edgeScope)
	at := strings.LastIndexByte(rest, '-')
	if !ok || at < 1 {
		return "", false
	}
	return rest[:at], true
}

// Scopes returns the scopes of other devices that an identity names: those of its
// parents.
func (id *Identity) Scopes() []string {
	if id.IoTEdge || id.DeviceScope == "" {
		return id.ParentScopes
	}
	return append([]string{id.DeviceScope}, id.ParentScopes...)
}

// scope puts the scopes of a device in order; keep says that the one that an edge
// device brings is its own.
func (id *Identity) scope(current *Identity, p Position, keep bool) error {
	if id.IoTEdge {
		return id.edgeScope(current, p, keep)
	}
	if current != nil && current.IoTEdge && id.DeviceScope == current.DeviceScope {
		id.DeviceScope = "" // it comes back with a device that is no edge device any more
	}
	switch {
	case id.DeviceScope != "":
		id.ParentScopes = []string{id.DeviceScope}
	case len(id.ParentScopes) > 1:
		return fmt.Errorf("%w: %s has %d parents; only edge devices may have more than one", ErrArgument, id.DeviceID, len(id.ParentScopes))
	case current != nil && current.DeviceScope != "" && !current.IoTEdge && slices.Equal(id.ParentScopes, current.ParentScopes):
		id.ParentScopes = nil // the scope was taken away, its copy came back
	case len(id.ParentScopes) == 1:
		id.DeviceScope = id.ParentScopes[0]
	}
	return nil
}

// edgeScope gives an edge device a scope of its own, which never changes
// afterwards.
func (id *Identity) edgeScope(current *Identity, p Position, keep bool) error {
	switch {
	case current != nil && current.IoTEdge:
		if id.DeviceScope != "" && id.DeviceScope != current.DeviceScope {
			return fmt.Errorf("%w: the scope of edge device %s can't be changed", ErrArgument, id.DeviceID)
		}
		id.DeviceScope = current.DeviceScope
	case keep && strings.HasPrefix(id.DeviceScope, edgeScope):
	default:
		id.DeviceScope = edgeScope + id.DeviceID + "-" + strconv.FormatInt(ticks(p.Time), 10)
	}
	if slices.Contains(id.ParentScopes, id.DeviceScope) {
		return fmt.Errorf("%w: edge device %s can't be its own parent", ErrArgument, id.DeviceID)
	}
	return nil
}
