package device

import (
	"errors"
	"slices"
	"testing"
)

func TestScopesOfDevices(t *testing.T) {
	const own, other, third = edgeScope + "d1-1", edgeScope + "e-2", edgeScope + "f-3"
	edge := &Identity{DeviceID: "d1", ETag: "x", IoTEdge: true, DeviceScope: own}
	nested := &Identity{DeviceID: "d1", ETag: "x", IoTEdge: true, DeviceScope: own, ParentScopes: []string{other}}
	leaf := &Identity{DeviceID: "d1", ETag: "x", DeviceScope: other, ParentScopes: []string{other}}
	free := &Identity{DeviceID: "d1", ETag: "x"}
	for _, tt := range []struct {
		rule    string
		current *Identity
		edge    bool
		scope   string
		parents []string
		want    string // "": one that is made
		up      []string
		refused bool
	}{
		{"a leaf's scope is its parent", nil, false, other, nil, other, []string{other}, false},
		{"a leaf's scope counts before its parents", leaf, false, third, []string{other}, third, []string{third}, false},
		{"a leaf's parent is its scope", free, false, "", []string{other}, other, []string{other}, false},
		{"a leaf has one parent", free, false, "", []string{other, third}, "", nil, true},
		{"a leaf's scope is taken away", leaf, false, "", nil, "none", nil, false},
		{"a leaf's scope is taken away from its whole object", leaf, false, "", []string{other}, "none", nil, false},
		{"an edge device keeps its scope", edge, true, "", nil, own, nil, false},
		{"an edge device's whole object comes back", nested, true, own, []string{other}, own, []string{other}, false},
		{"an edge device's scope can't be changed", edge, true, other, nil, "", nil, true},
		{"an edge device gets a parent", edge, true, own, []string{other}, own, []string{other}, false},
		{"an edge device gets two parents", edge, true, "", []string{other, third}, own, []string{other, third}, false},
		{"an edge device loses its parent", nested, true, own, []string{}, own, []string{}, false},
		{"an edge device is not its own parent", edge, true, "", []string{own}, "", nil, true},
		{"a leaf becomes an edge device", leaf, true, other, []string{other}, "", []string{other}, false},
		{"an edge device becomes a leaf", edge, false, own, nil, "none", nil, false},
	} {
		id := Identity{DeviceID: "d1", IoTEdge: tt.edge, DeviceScope: tt.scope, ParentScopes: tt.parents, Auth: Auth{Type: AuthNone}}
		c := Change{Wanted: id}
		if tt.current != nil {
			c.IfMatch = "*"
		}
		got, err := c.Apply(tt.current, pos2)
		if tt.refused {
			if !errors.Is(err, ErrArgument) {
				t.Errorf("%s: %v", tt.rule, err)
			}
			continue
		}
		owner, ok := ScopeOwner(got.DeviceScope)
		fits := got.DeviceScope == tt.want || tt.want == "none" && got.DeviceScope == "" || tt.want == "" && ok && owner == "d1" && got.DeviceScope != own
		if err != nil || !fits || !slices.Equal(got.ParentScopes, tt.up) {
			t.Errorf("%s: %q, %q, %v", tt.rule, got.DeviceScope, got.ParentScopes, err)
		}
	}
}

func TestScopeOwner(t *testing.T) {
	for scope, want := range map[string]string{
		edgeScope + "a-1": "a", edgeScope + "a-b-12": "a-b", edgeScope + "-1": "", edgeScope + "a": "", "other://a-1": "", "": "",
	} {
		if got, ok := ScopeOwner(scope); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", scope, got, ok)
		}
	}
}
