package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// PolicyStore manages the shared access policies. Errors wrap ErrNoObject,
// ErrConflict (the last policy with all rights, a name that is taken) or
// device.ErrArgument (a limit of azure-iot-wire 1.3). When a call returns, the
// change is in force on this node.
type PolicyStore interface {
	List() []credential.Policy
	Put(ctx context.Context, c PolicyChange, a device.Audit) (p credential.Policy, created bool, err error)
	// Rotate makes a new key in slot credential.Primary or credential.Secondary.
	Rotate(ctx context.Context, name, slot string, a device.Audit) (credential.Policy, error)
	Delete(ctx context.Context, name string, a device.Audit) error
}

// PolicyChange asks for a policy. A key that is zero is made for a new policy
// and stays for one that exists; so do permissions of 0 of one that exists.
type PolicyChange struct {
	Name        string
	Permissions credential.Permission
	Keys        credential.Keys
	Create      bool // the name must be free
}

// maxPolicyBody holds a policy with two keys, indented.
const maxPolicyBody = 4 << 10

// policyJSON is a policy without its keys: those are for connection strings.
type policyJSON struct {
	Name        string   `json:"name"`
	Permissions []string `json:"permissions"`
}

func policyOf(p credential.Policy) policyJSON {
	return policyJSON{p.Name, strings.Split(p.Permissions.String(), ", ")}
}

func (a *Admin) policyRoutes(c *call) map[string]adminOperation {
	none := a.o.PolicyStore == nil
	switch n := len(c.path); {
	case n == 3:
		return map[string]adminOperation{"GET": {"list_policies", none, a.listPolicies}}
	case n == 4:
		return map[string]adminOperation{
			"GET":    {"get_policy", none, a.getPolicy},
			"PUT":    {"put_policy", none, a.putPolicy},
			"DELETE": {"delete_policy", none, a.deletePolicy},
		}
	case n == 5 && c.word(4, "regenerate"):
		return map[string]adminOperation{"POST": {"rotate_policy", none, a.rotatePolicy}}
	}
	return nil
}

func (a *Admin) listPolicies(_ context.Context, c *call) error {
	list := a.o.PolicyStore.List()
	out := make([]policyJSON, len(list))
	for i := range list {
		out[i] = policyOf(list[i])
	}
	return c.reply(http.StatusOK, marshal(struct {
		Policies []policyJSON `json:"policies"`
	}{out}))
}

func (a *Admin) getPolicy(_ context.Context, c *call) error {
	for _, p := range a.o.PolicyStore.List() {
		if p.Name == c.path[3] {
			return c.reply(http.StatusOK, marshal(policyOf(p)))
		}
	}
	return fmt.Errorf("%w: policy %.70q", ErrNoObject, c.path[3])
}

// putPolicy creates or changes; with If-None-Match: * it only creates.
func (a *Admin) putPolicy(ctx context.Context, c *call) error {
	var in struct {
		Permissions  []string
		PrimaryKey   string
		SecondaryKey string
	}
	if err := c.decode(maxPolicyBody, &in); err != nil {
		return err
	}
	change := PolicyChange{Name: c.path[3], Create: bareETag(c.r.Header.Get("If-None-Match")) == "*"}
	var err error
	if len(in.Permissions) > 0 {
		if change.Permissions, err = credential.ParsePermission(strings.Join(in.Permissions, ",")); err != nil {
			return fmt.Errorf("%w: %w", device.ErrArgument, err)
		}
	}
	for _, k := range [...]struct {
		text string
		to   *credential.Key
	}{{in.PrimaryKey, &change.Keys.Primary}, {in.SecondaryKey, &change.Keys.Secondary}} {
		if k.text == "" {
			continue
		}
		if *k.to, err = credential.ParseKey(k.text); err != nil {
			return fmt.Errorf("%w: %w", device.ErrArgument, err)
		}
	}
	p, created, err := a.o.PolicyStore.Put(ctx, change, c.audit)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.reply(status, marshal(policyOf(p)))
}

func (a *Admin) rotatePolicy(ctx context.Context, c *call) error {
	var in struct{ Key string }
	if err := c.decode(maxPolicyBody, &in); err != nil {
		return err
	}
	slot := strings.ToLower(in.Key)
	if slot != credential.Primary && slot != credential.Secondary {
		return fmt.Errorf("%w: key %.20q, allowed are %s and %s", device.ErrArgument, in.Key, credential.Primary, credential.Secondary)
	}
	p, err := a.o.PolicyStore.Rotate(ctx, c.path[3], slot, c.audit)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, marshal(policyOf(p)))
}

func (a *Admin) deletePolicy(ctx context.Context, c *call) error {
	if err := a.o.PolicyStore.Delete(ctx, c.path[3], c.audit); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
