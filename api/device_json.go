package api

import (
	"fmt"
	"io"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// deviceJSON is a device on the wire (azure-iot-wire 5.2), in both directions:
// what a client may not set is ignored when it comes in.
type deviceJSON struct {
	DeviceID               string             `json:"deviceId"`
	GenerationID           string             `json:"generationId"`
	ETag                   string             `json:"etag"`
	ConnectionState        string             `json:"connectionState"`
	Status                 string             `json:"status"`
	StatusReason           *string            `json:"statusReason"`
	ConnectionStateUpdated string             `json:"connectionStateUpdatedTime"`
	StatusUpdated          string             `json:"statusUpdatedTime"`
	LastActivity           string             `json:"lastActivityTime"`
	MessageCount           int                `json:"cloudToDeviceMessageCount"`
	Capabilities           capabilitiesJSON   `json:"capabilities"`
	DeviceScope            string             `json:"deviceScope"`
	ParentScopes           []string           `json:"parentScopes"`
	Authentication         authenticationJSON `json:"authentication"`
}

// deviceInput is what is read of a device or module.
type deviceInput struct {
	DeviceID       string              `json:"deviceId"`
	ModuleID       string              `json:"moduleId"`
	ManagedBy      string              `json:"managedBy"`
	Status         string              `json:"status"`
	StatusReason   string              `json:"statusReason"`
	Capabilities   *capabilitiesJSON   `json:"capabilities"`
	DeviceScope    string              `json:"deviceScope"`
	ParentScopes   []string            `json:"parentScopes"`
	Authentication *authenticationJSON `json:"authentication"`
}

type capabilitiesJSON struct {
	IoTEdge bool `json:"iotEdge"`
}

type authenticationJSON struct {
	Type           string         `json:"type"`
	SymmetricKey   keysJSON       `json:"symmetricKey"`
	X509Thumbprint thumbprintJSON `json:"x509Thumbprint"`
}

type keysJSON struct {
	Primary   *string `json:"primaryKey"`
	Secondary *string `json:"secondaryKey"`
}

type thumbprintJSON struct {
	Primary   *string `json:"primaryThumbprint"`
	Secondary *string `json:"secondaryThumbprint"`
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// identityTime is how identities spell times: no zone, "never" is year 1.
func identityTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.9999999") }

// render opens the keys and writes the device or module.
func render(s *credential.Sealer, e device.Entry) ([]byte, error) {
	if e.Identity.ModuleID != "" {
		m, err := moduleOf(s, e)
		if err != nil {
			return nil, err
		}
		return marshal(m), nil
	}
	d, err := deviceOf(s, e)
	if err != nil {
		return nil, err
	}
	return marshal(d), nil
}

func deviceOf(s *credential.Sealer, e device.Entry) (deviceJSON, error) {
	id := &e.Identity
	keys, err := s.OpenDevice(id)
	if err != nil {
		return deviceJSON{}, err
	}
	d := deviceJSON{
		DeviceID: id.DeviceID, GenerationID: id.GenerationID, ETag: id.ETag,
		ConnectionState: e.Presence.State(), Status: id.Status.String(), StatusReason: nullable(id.StatusReason),
		ConnectionStateUpdated: identityTime(e.Presence.Updated),
		StatusUpdated:          identityTime(id.StatusUpdated),
		LastActivity:           identityTime(e.Presence.LastActivity),
		MessageCount:           e.Presence.Queued,
		Capabilities:           capabilitiesJSON{id.IoTEdge},
		DeviceScope:            id.DeviceScope, ParentScopes: id.ParentScopes,
		Authentication: authenticationJSON{
			Type:           id.Auth.Type.String(),
			SymmetricKey:   keysJSON{nullable(keys.Primary.Reveal()), nullable(keys.Secondary.Reveal())},
			X509Thumbprint: thumbprintJSON{nullable(id.Auth.PrimaryThumbprint), nullable(id.Auth.SecondaryThumbprint)},
		},
	}
	if d.ParentScopes == nil {
		d.ParentScopes = []string{}
	}
	return d, nil
}

// change turns a device or module as a client sent it into a change of the
// identity that ref names.
// Keys that are absent or empty are made; on an update the current ones stay.
func (in *deviceInput) change(ref device.Ref, ifMatch string, s *credential.Sealer, random io.Reader, a device.Audit) (device.Change, error) {
	c := device.Change{IfMatch: ifMatch, Audit: a}
	if in.DeviceID != "" && in.DeviceID != ref.Device {
		return c, fmt.Errorf("%w: the body is of device %.140q, the path of %q", device.ErrArgument, in.DeviceID, ref.Device)
	}
	if in.ModuleID != "" && in.ModuleID != ref.Module {
		return c, fmt.Errorf("%w: the body is of module %.140q, the path of %q", device.ErrArgument, in.ModuleID, ref)
	}
	w := &c.Wanted
	w.DeviceID, w.ModuleID = ref.Device, ref.Module
	var err error
	if ref.Module != "" {
		w.ManagedBy = in.ManagedBy
	} else {
		w.StatusReason, w.DeviceScope, w.ParentScopes = in.StatusReason, in.DeviceScope, in.ParentScopes
		w.IoTEdge = in.Capabilities != nil && in.Capabilities.IoTEdge
		if w.Status, err = device.ParseStatus(in.Status); err != nil {
			return c, err
		}
	}
	auth := authenticationJSON{}
	if in.Authentication != nil {
		auth = *in.Authentication
	}
	w.Auth.PrimaryThumbprint = text(auth.X509Thumbprint.Primary)
	w.Auth.SecondaryThumbprint = text(auth.X509Thumbprint.Secondary)
	switch {
	case auth.Type != "":
		if w.Auth.Type, err = device.ParseAuthType(auth.Type); err != nil {
			return c, err
		}
	case w.Auth.PrimaryThumbprint != "" || w.Auth.SecondaryThumbprint != "":
		w.Auth.Type = device.AuthSelfSigned
	}
	if err := w.Validate(); err != nil {
		return c, err
	}
	if w.Auth.Type != device.AuthSAS {
		return c, nil
	}
	var keys credential.Keys
	if keys.Primary, c.KeepPrimary, err = keyOf(auth.SymmetricKey.Primary, random); err != nil {
		return c, err
	}
	if keys.Secondary, c.KeepSecondary, err = keyOf(auth.SymmetricKey.Secondary, random); err != nil {
		return c, err
	}
	return c, s.SealDevice(w, keys)
}

// keyOf reads a key, or makes one if there is none.
func keyOf(given *string, random io.Reader) (k credential.Key, made bool, err error) {
	if text(given) == "" {
		k, err = credential.NewKey(random)
		return k, true, err
	}
	if k, err = credential.ParseKey(*given); err != nil {
		return k, false, fmt.Errorf("%w: %w", device.ErrArgument, err)
	}
	return k, false, nil
}
