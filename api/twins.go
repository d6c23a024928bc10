package api

import (
	"context"
	"net/http"

	"github.com/gemello/gemello/device"
)

func (s *Service) getTwin(ctx context.Context, c *call) error {
	return c.forRef(func(ref device.Ref) error {
		d, err := s.hub.Twin(ctx, ref)
		if err != nil {
			return err
		}
		return c.replyTwin(d)
	})
}

// patchTwin merges (PATCH) or replaces (PUT) tags and desired properties.
func (s *Service) patchTwin(ctx context.Context, c *call) error {
	body, err := c.body(device.MaxPatchBytes)
	if err != nil {
		return err
	}
	return c.forRef(func(ref device.Ref) error {
		d, err := s.hub.PatchTwin(ctx, device.TwinChange{
			DeviceID: ref.Device, ModuleID: ref.Module, Body: body, Replace: c.r.Method == http.MethodPut,
			IfMatch: ifMatch(c.r.Header), Audit: c.audit,
		})
		if err != nil {
			return err
		}
		return c.replyTwin(d)
	})
}

func (c *call) replyTwin(d device.Document) error {
	setETag(c.w.Header(), d.Twin.ETag())
	return c.reply(http.StatusOK, d.AppendServiceView(nil))
}
