package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/gemello/gemello/device"
)

const (
	// maxDeviceBody holds a device with every field at its limit, indented.
	maxDeviceBody = 64 << 10
	// maxTop is the most devices that a list holds, and what it holds by default.
	maxTop = 1000
)

func (s *Service) getDevice(ctx context.Context, c *call) error {
	return c.forRef(func(ref device.Ref) error {
		e, err := s.hub.Identity(ctx, ref)
		if err != nil {
			return err
		}
		return s.replyDevice(c, http.StatusOK, e)
	})
}

func (s *Service) replyDevice(c *call, status int, e device.Entry) error {
	body, err := render(s.sealer, e)
	if err != nil {
		return err
	}
	setETag(c.w.Header(), e.Identity.ETag)
	return c.reply(status, body)
}

// putDevice creates without If-Match and updates with it.
func (s *Service) putDevice(ctx context.Context, c *call) error {
	var in deviceInput
	if err := c.decode(maxDeviceBody, &in); err != nil {
		return err
	}
	id := c.path[1]
	if in.DeviceID == c.literal[1] { // an id that looks encoded and is not
		id = in.DeviceID
	}
	change, err := in.change(device.Ref{Device: id}, ifMatch(c.r.Header), s.sealer, s.random, c.audit)
	if err != nil {
		return err
	}
	e, err := s.hub.PutIdentity(ctx, change)
	if err != nil {
		return err
	}
	return s.replyDevice(c, http.StatusOK, e)
}

func (s *Service) deleteDevice(ctx context.Context, c *call) error {
	return c.forRef(func(ref device.Ref) error {
		if err := s.hub.DeleteIdentity(ctx, ref, ifMatch(c.r.Header), c.audit); err != nil {
			return err
		}
		return c.empty(http.StatusNoContent)
	})
}

func (s *Service) listDevices(ctx context.Context, c *call) error {
	top, err := strconv.Atoi(c.r.URL.Query().Get("top"))
	if err != nil || top < 1 || top > maxTop {
		top = maxTop
	}
	entries, err := s.hub.Identities(ctx, "", top)
	if err != nil {
		return err
	}
	out := make([]deviceJSON, len(entries))
	for i, e := range entries {
		if out[i], err = deviceOf(s.sealer, e); err != nil {
			return err
		}
	}
	return c.reply(http.StatusOK, marshal(out))
}

func (s *Service) deviceStatistics(ctx context.Context, c *call) error {
	n, err := s.hub.Statistics(ctx)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, marshal(struct {
		Total    int64 `json:"totalDeviceCount"`
		Enabled  int64 `json:"enabledDeviceCount"`
		Java     int64 `json:"enableDeviceCount"` // the name that Java's client reads
		Disabled int64 `json:"disabledDeviceCount"`
	}{n.Total, n.Enabled, n.Enabled, n.Disabled}))
}

func (s *Service) serviceStatistics(ctx context.Context, c *call) error {
	n, err := s.hub.Statistics(ctx)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, marshal(struct {
		Connected int64 `json:"connectedDeviceCount"`
	}{n.Connected}))
}
