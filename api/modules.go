package api

import (
	"context"
	"net/http"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// moduleJSON is a module on the wire (azure-iot-wire 5.2).
type moduleJSON struct {
	ModuleID               string             `json:"moduleId"`
	ManagedBy              *string            `json:"managedBy"`
	DeviceID               string             `json:"deviceId"`
	GenerationID           string             `json:"generationId"`
	ETag                   string             `json:"etag"`
	ConnectionState        string             `json:"connectionState"`
	ConnectionStateUpdated string             `json:"connectionStateUpdatedTime"`
	LastActivity           string             `json:"lastActivityTime"`
	MessageCount           int                `json:"cloudToDeviceMessageCount"`
	Authentication         authenticationJSON `json:"authentication"`
}

func moduleOf(s *credential.Sealer, e device.Entry) (moduleJSON, error) {
	d, err := deviceOf(s, e)
	return moduleJSON{
		ModuleID: e.Identity.ModuleID, ManagedBy: nullable(e.Identity.ManagedBy),
		DeviceID: d.DeviceID, GenerationID: d.GenerationID, ETag: d.ETag,
		ConnectionState: d.ConnectionState, ConnectionStateUpdated: d.ConnectionStateUpdated, LastActivity: d.LastActivity,
		MessageCount: d.MessageCount, Authentication: d.Authentication,
	}, err
}

func modulesOf(s *credential.Sealer, entries []device.Entry) ([]moduleJSON, error) {
	out := make([]moduleJSON, len(entries))
	for i, e := range entries {
		var err error
		if out[i], err = moduleOf(s, e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Service) listModules(ctx context.Context, c *call) error {
	return c.forRef(func(ref device.Ref) error {
		entries, err := s.hub.Modules(ctx, ref.Device)
		if err != nil {
			return err
		}
		out, err := modulesOf(s.sealer, entries)
		if err != nil {
			return err
		}
		return c.reply(http.StatusOK, marshal(out))
	})
}

// putModule creates (201) without If-Match and updates (200) with it.
func (s *Service) putModule(ctx context.Context, c *call) error {
	var in deviceInput
	if err := c.decode(maxDeviceBody, &in); err != nil {
		return err
	}
	ref, err := refIn(c.path)
	if literal, e := refIn(c.literal); e == nil && in.DeviceID == literal.Device && in.ModuleID == literal.Module {
		ref, err = literal, nil // ids that look encoded and are not
	}
	if err != nil {
		return err
	}
	change, err := in.change(ref, ifMatch(c.r.Header), s.sealer, s.random, c.audit)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if change.IfMatch == "" {
		status = http.StatusCreated
	}
	e, err := s.hub.PutIdentity(ctx, change)
	if err != nil {
		return err
	}
	return s.replyDevice(c, status, e)
}

func (a *Admin) listModules(ctx context.Context, c *call) error {
	ref, err := c.adminRef()
	if err != nil {
		return err
	}
	entries, err := a.o.Hub.Modules(ctx, ref.Device)
	if err != nil {
		return err
	}
	out, err := modulesOf(a.o.Sealer, entries)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, marshal(struct {
		Modules []moduleJSON `json:"modules"`
	}{out}))
}
