package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// adminRef is the device, or module, in the path of the admin API, where ids are
// always percent-encoded.
func (c *call) adminRef() (device.Ref, error) { return refIn(c.path[2:]) }

// adminDevice is adminRef for what only devices have.
func (c *call) adminDevice() (string, error) {
	ref, err := c.adminRef()
	if err == nil && ref.Module != "" {
		err = ErrNotYet
	}
	return ref.Device, err
}

func (a *Admin) listDevices(ctx context.Context, c *call) error {
	q := c.r.URL.Query()
	limit := 100
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxTop {
			return fmt.Errorf("%w: limit %.20q, allowed is 1 to %d", device.ErrArgument, v, maxTop)
		}
		limit = n
	}
	entries, err := a.o.Hub.Identities(ctx, q.Get("after"), limit)
	if err != nil {
		return err
	}
	out := struct {
		Devices []deviceJSON `json:"devices"`
		Next    string       `json:"next,omitempty"`
	}{Devices: make([]deviceJSON, len(entries))}
	for i, e := range entries {
		if out.Devices[i], err = deviceOf(a.o.Sealer, e); err != nil {
			return err
		}
	}
	if len(entries) == limit {
		out.Next = entries[limit-1].Identity.DeviceID
	}
	return c.reply(http.StatusOK, marshal(out))
}

func (a *Admin) getDevice(ctx context.Context, c *call) error {
	ref, err := c.adminRef()
	if err != nil {
		return err
	}
	e, err := a.o.Hub.Identity(ctx, ref)
	if err != nil {
		return err
	}
	return a.replyDevice(c, http.StatusOK, e)
}

func (a *Admin) replyDevice(c *call, status int, e device.Entry) error {
	body, err := render(a.o.Sealer, e)
	if err != nil {
		return err
	}
	setETag(c.w.Header(), e.Identity.ETag)
	return c.reply(status, body)
}

// putDevice creates with If-None-Match: *, updates with If-Match, and does what
// fits without either.
func (a *Admin) putDevice(ctx context.Context, c *call) error {
	ref, err := c.adminRef()
	if err != nil {
		return err
	}
	var in deviceInput
	if err := c.decode(maxDeviceBody, &in); err != nil {
		return err
	}
	match := ifMatch(c.r.Header)
	create := bareETag(c.r.Header.Get("If-None-Match")) == "*"
	if create && match != "" {
		return fmt.Errorf("%w: If-Match and If-None-Match exclude each other", device.ErrArgument)
	}
	change, err := in.change(ref, match, a.o.Sealer, a.random, c.audit)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if match == "" {
		status = http.StatusCreated
	}
	e, err := a.o.Hub.PutIdentity(ctx, change)
	if match == "" && !create && (errors.Is(err, device.ErrExists) || errors.Is(err, device.ErrModuleExists)) {
		status = http.StatusOK
		change.IfMatch = "*"
		e, err = a.o.Hub.PutIdentity(ctx, change)
	}
	if err != nil {
		return err
	}
	return a.replyDevice(c, status, e)
}

func (a *Admin) deleteDevice(ctx context.Context, c *call) error {
	ref, err := c.adminRef()
	if err != nil {
		return err
	}
	if err := a.o.Hub.DeleteIdentity(ctx, ref, ifMatch(c.r.Header), c.audit); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (a *Admin) getTwin(ctx context.Context, c *call) error {
	ref, err := c.adminRef()
	if err != nil {
		return err
	}
	if q := c.r.URL.Query(); q.Has("at") || q.Has("version") {
		return a.pastTwin(c, ref)
	}
	d, err := a.o.Hub.Twin(ctx, ref)
	if err != nil {
		return err
	}
	return c.replyTwin(d)
}

func (a *Admin) patchTwin(ctx context.Context, c *call) error {
	ref, err := c.adminRef()
	if err != nil {
		return err
	}
	body, err := c.body(device.MaxPatchBytes)
	if err != nil {
		return err
	}
	d, err := a.o.Hub.PatchTwin(ctx, device.TwinChange{
		DeviceID: ref.Device, ModuleID: ref.Module, Body: body, Replace: c.r.Method == http.MethodPut,
		IfMatch: ifMatch(c.r.Header), Audit: c.audit,
	})
	if err != nil {
		return err
	}
	return c.replyTwin(d)
}

// connectionString answers with the connection string of a policy, device or
// module. It is a view of a key, so it is logged with its name.
func (a *Admin) connectionString(ctx context.Context, c *call) error {
	q := c.r.URL.Query()
	if len(a.o.Hostnames) == 0 {
		return fmt.Errorf("%w: this node has no host name", ErrNoObject)
	}
	cs := credential.ConnectionString{HostName: a.o.Hostnames[0]}
	if h := q.Get("hostname"); h != "" {
		cs.HostName = h
	}
	name, id, module := q.Get("policy"), q.Get("device"), q.Get("module")
	slot := q.Get("key")
	if slot == "" {
		slot = credential.Primary
	}
	pick := func(k credential.Keys) credential.Key {
		if slot == credential.Secondary {
			return k.Secondary
		}
		return k.Primary
	}
	switch {
	case slot != credential.Primary && slot != credential.Secondary:
		return fmt.Errorf("%w: key %.20q, allowed are %s and %s", device.ErrArgument, slot, credential.Primary, credential.Secondary)
	case (name == "") == (id == ""):
		return fmt.Errorf("%w: one of policy and device is needed", device.ErrArgument)
	case id == "" && module != "":
		return fmt.Errorf("%w: module needs device", device.ErrArgument)
	case name != "":
		p, ok := a.o.Policies.Policy(name)
		if !ok {
			return fmt.Errorf("%w: policy %.70q", ErrNoObject, name)
		}
		cs.KeyName, cs.Key = p.Name, pick(p.Keys)
	default:
		ref := device.Ref{Device: id, Module: module}
		if err := ref.Valid(); err != nil {
			return err
		}
		e, err := a.o.Hub.Identity(ctx, ref)
		if err != nil {
			return err
		}
		keys, err := a.o.Sealer.OpenDevice(&e.Identity)
		if err != nil {
			return err
		}
		cs.DeviceID, cs.ModuleID, cs.Key = id, module, pick(keys)
		cs.X509 = e.Identity.Auth.Type != device.AuthSAS
	}
	a.log.Info("connection string shown", "policy", name, "device", id, "module", module, "address", c.r.RemoteAddr, "request", c.requestID)
	return c.reply(http.StatusOK, marshal(struct {
		ConnectionString string `json:"connectionString"`
	}{cs.Reveal()}))
}
