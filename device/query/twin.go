package query

import (
	"strings"

	"github.com/gemello/gemello/device"
)

// Twin is a device or module as rows of devices and devices.modules see it. Its
// paths are read from the twin's own tree.
type Twin struct {
	*device.Document
	ModuleID string
}

// Lookup resolves a path.
func (t *Twin) Lookup(p *Path) Value {
	rest := p.Steps[1:]
	switch p.field {
	case FieldTags:
		return t.section(t.Document.Twin.Tags.Members(), rest, false)
	case FieldProperties:
		return t.properties(rest, false)
	}
	return t.member(p.field, rest, false)
}

func (t *Twin) properties(steps []Step, fold bool) Value {
	if len(steps) == 0 {
		b := t.Document.Twin.Desired.AppendJSON([]byte(`{"desired":`))
		b = t.Document.Twin.Reported.AppendJSON(append(b, `,"reported":`...))
		return Value{kind: Object, raw: string(append(b, '}'))}
	}
	switch name := steps[0].Name; {
	case steps[0].IsIndex:
	case name == "reported" || fold && strings.EqualFold(name, "reported"):
		return t.section(t.Document.Twin.Reported.View(), steps[1:], fold)
	case name == "desired" || fold && strings.EqualFold(name, "desired"):
		return t.section(t.Document.Twin.Desired.View(), steps[1:], fold)
	}
	return Value{}
}

func (t *Twin) section(v device.View, steps []Step, fold bool) Value {
	for i := range steps {
		if steps[i].IsIndex || !v.Object() {
			if !v.Exists() || v.Object() {
				return Value{}
			}
			return walk(v.Text(), steps[i:], fold)
		}
		member, text := v.Member(steps[i].Name, fold)
		if text != "" {
			return walk(text, steps[i+1:], fold)
		}
		v = member
	}
	return OfView(v)
}

// member resolves the paths of the identity and of the twin's head.
func (t *Twin) member(f Field, rest []Step, fold bool) Value {
	if v, ok := t.scalar(f); ok {
		if len(rest) > 0 {
			return Value{}
		}
		return v
	}
	id := &t.Identity
	switch f {
	case FieldThumbprint:
		return walk(string(id.AppendThumbprints(nil)), rest, fold)
	case FieldCapabilities:
		if len(rest) == 1 && rest[0].Name == "iotEdge" {
			return OfBool(id.IoTEdge)
		}
		if id.IoTEdge {
			return walk(`{"iotEdge":true}`, rest, fold)
		}
		return walk(`{"iotEdge":false}`, rest, fold)
	case FieldParentScopes:
		return walk(string(id.AppendScopes(nil)), rest, fold)
	case FieldConfigurations:
		if text := t.Document.Configurations; text != "" {
			return walk(text, rest, fold)
		}
	}
	return Value{}
}

func (t *Twin) scalar(f Field) (Value, bool) {
	id := &t.Identity
	switch f {
	case FieldDeviceID:
		return OfString(id.DeviceID), true
	case FieldModuleID:
		if t.ModuleID == "" {
			return Value{}, true
		}
		return OfString(t.ModuleID), true
	case FieldETag:
		return OfString(t.Document.Twin.ETag()), true
	case FieldDeviceETag:
		return OfString(id.ETag), true
	case FieldStatus:
		return OfString(id.Status.String()), true
	case FieldStatusReason:
		if id.StatusReason == "" {
			return Value{}, true
		}
		return OfString(id.StatusReason), true
	case FieldStatusUpdated:
		return OfString(device.FormatTime(id.StatusUpdated)), true
	case FieldConnectionState:
		return OfString(t.Presence.State()), true
	case FieldLastActivity:
		return OfString(device.FormatTime(t.Presence.LastActivity)), true
	case FieldQueued:
		return OfInt(int64(t.Presence.Queued)), true
	case FieldAuthType:
		return OfString(id.Auth.Type.String()), true
	case FieldModelID:
		return OfString(t.Document.Twin.ModelID), true
	case FieldVersion:
		return OfInt(t.Document.Twin.Version), true
	case FieldDeviceScope:
		return OfString(id.DeviceScope), true
	}
	return Value{}, false
}
