package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// fakePolicyStore keeps policies by credential's rules.
type fakePolicyStore struct {
	set    []credential.Policy
	audits []device.Audit
}

func (f *fakePolicyStore) List() []credential.Policy { return f.set }

func (f *fakePolicyStore) Put(_ context.Context, c PolicyChange, a device.Audit) (credential.Policy, bool, error) {
	f.audits = append(f.audits, a)
	p := credential.Policy{Name: c.Name, Permissions: c.Permissions, Keys: c.Keys}
	var err error
	if p.Keys.Primary.IsZero() {
		if p.Keys, err = credential.NewKeys(&counter{n: 7}); err != nil {
			return p, false, err
		}
	}
	set, err := credential.WithPolicy(f.set, p)
	if err != nil {
		return p, false, fmt.Errorf("%w: %w", device.ErrArgument, err)
	}
	created := len(set) > len(f.set)
	if c.Create && !created {
		return p, false, ErrConflict
	}
	f.set = set
	return p, created, nil
}

func (f *fakePolicyStore) Rotate(_ context.Context, name, slot string, a device.Audit) (credential.Policy, error) {
	f.audits = append(f.audits, a)
	for i := range f.set {
		if f.set[i].Name == name {
			f.set[i].Keys.Secondary = credential.Key{}
			return f.set[i], nil
		}
	}
	return credential.Policy{}, ErrNoObject
}

func (f *fakePolicyStore) Delete(_ context.Context, name string, a device.Audit) error {
	f.audits = append(f.audits, a)
	set, found, err := credential.WithoutPolicy(f.set, name)
	switch {
	case !found:
		return ErrNoObject
	case err != nil:
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	f.set = set
	return nil
}

func TestPoliciesAreManaged(t *testing.T) {
	list, err := credential.BuiltinPolicies(new(counter))
	if err != nil {
		t.Fatal(err)
	}
	store := &fakePolicyStore{set: list}
	b := newAdminBench(t, func(o *AdminOptions) { o.PolicyStore = store })
	key := list[0].Keys.Primary.Reveal()
	for _, tt := range []struct {
		method, path, body string
		header             []string
		status             int
		code               string
	}{
		{"GET", "/policies", "", nil, 200, ""},
		{"GET", "/policies/service", "", nil, 200, ""},
		{"GET", "/policies/nobody", "", nil, 404, "NotFound"},
		{"PUT", "/policies/backend", `{"permissions":["RegistryRead","serviceconnect"]}`, []string{"If-None-Match", "*"}, 201, ""},
		{"PUT", "/policies/backend", `{"permissions":["RegistryRead"]}`, []string{"If-None-Match", "*"}, 409, "Conflict"},
		{"PUT", "/policies/backend", `{"permissions":["RegistryRead"],"primaryKey":"` + key + `","secondaryKey":"` + key + `"}`, nil, 200, ""},
		{"PUT", "/policies/backend", `{"permissions":["Everything"]}`, nil, 400, "ArgumentInvalid"},
		{"PUT", "/policies/backend", `{"permissions":"RegistryRead"}`, nil, 400, "ArgumentInvalid"},
		{"PUT", "/policies/backend", `{"permissions":["RegistryRead"],"primaryKey":"c2hvcnQ="}`, nil, 400, "ArgumentInvalid"},
		{"PUT", "/policies/a%3Bb", `{"permissions":["RegistryRead"]}`, nil, 400, "ArgumentInvalid"},
		{"POST", "/policies/backend/regenerate", `{"key":"Secondary"}`, nil, 200, ""},
		{"POST", "/policies/backend/regenerate", `{"key":"both"}`, nil, 400, "ArgumentInvalid"},
		{"POST", "/policies/nobody/regenerate", `{"key":"primary"}`, nil, 404, "NotFound"},
		{"DELETE", "/policies/nobody", "", nil, 404, "NotFound"},
		{"DELETE", "/policies/iothubowner", "", nil, 409, "Conflict"},
		{"DELETE", "/policies/registryRead", "", nil, 204, ""},
		{"PATCH", "/policies/backend", `{}`, nil, 405, "MethodNotAllowed"},
	} {
		w := b.call(tt.method, "/api/v1"+tt.path, tt.body, tt.header...)
		if w.Code != tt.status || tt.code != "" && !strings.Contains(w.Body.String(), `"code":"`+tt.code+`"`) {
			t.Errorf("%s %s %s: %d %s, want %d %s", tt.method, tt.path, tt.body, w.Code, w.Body, tt.status, tt.code)
		}
		if strings.Contains(w.Body.String(), key) {
			t.Errorf("%s %s: the answer holds a key", tt.method, tt.path)
		}
	}
	for _, a := range store.audits {
		if a.Actor != "admin" || a.Credential == "" || a.Address == "" || a.RequestID == "" {
			t.Errorf("a change without its author: %+v", a)
		}
	}
	if len(store.audits) == 0 {
		t.Error("no change has come through")
	}
}

func TestConnectionStringOfTheSecondaryKey(t *testing.T) {
	b := newAdminBench(t)
	want := b.policies["service"].Keys.Secondary.Reveal()
	w := b.call("GET", "/api/v1/connection-string?policy=service&key=secondary", "")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "SharedAccessKey="+want) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := b.call("GET", "/api/v1/connection-string?policy=service&key=third", ""); w.Code != http.StatusBadRequest {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
