package device

import (
	"strconv"
	"time"
)

// AppendDeviceView appends what a device reads of its twin (azure-iot-wire 2.4):
// {"desired":{…,"$version":n},"reported":{…,"$version":m}}.
func (t *Twin) AppendDeviceView(dst []byte) []byte {
	dst = append(dst, `{"desired":`...)
	dst = appendVersioned(dst, &t.Desired.root, t.Desired.Version)
	dst = append(dst, `,"reported":`...)
	dst = appendVersioned(dst, &t.Reported.root, t.Reported.Version)
	return append(dst, '}')
}

// AppendServiceView appends the twin as services read it (azure-iot-wire 5.3),
// with the parts of the identity that it shows. It holds no key.
func (d *Document) AppendServiceView(dst []byte) []byte {
	id, t := &d.Identity, &d.Twin
	dst = append(dst, `{"deviceId":`...)
	dst = appendString(dst, id.DeviceID)
	if id.ModuleID != "" {
		dst = append(dst, `,"moduleId":`...)
		dst = appendString(dst, id.ModuleID)
	}
	dst = append(dst, `,"etag":`...)
	dst = appendString(dst, t.ETag())
	dst = append(dst, `,"deviceEtag":`...)
	dst = appendString(dst, id.ETag)
	dst = append(dst, `,"status":`...)
	dst = appendString(dst, id.Status.String())
	if id.StatusReason != "" {
		dst = append(dst, `,"statusReason":`...)
		dst = appendString(dst, id.StatusReason)
	}
	dst = append(dst, `,"statusUpdateTime":`...)
	dst = appendTime(dst, id.StatusUpdated)
	dst = append(dst, `,"connectionState":`...)
	dst = appendString(dst, d.Presence.State())
	dst = append(dst, `,"lastActivityTime":`...)
	dst = appendTime(dst, d.Presence.LastActivity)
	dst = append(dst, `,"cloudToDeviceMessageCount":`...)
	dst = strconv.AppendInt(dst, int64(d.Presence.Queued), 10)
	dst = append(dst, `,"authenticationType":`...)
	dst = appendString(dst, id.Auth.Type.String())
	dst = append(dst, `,"x509Thumbprint":`...)
	dst = id.AppendThumbprints(dst)
	dst = append(dst, `,"modelId":`...)
	dst = appendString(dst, t.ModelID)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendInt(dst, t.Version, 10)
	dst = append(dst, `,"tags":`...)
	dst = t.Tags.root.appendMembers(dst, "")
	dst = append(dst, `,"properties":{"desired":`...)
	dst = t.Desired.AppendJSON(dst)
	dst = append(dst, `,"reported":`...)
	dst = t.Reported.AppendJSON(dst)
	if id.ModuleID != "" {
		return append(dst, `}}`...)
	}
	dst = append(dst, `},"capabilities":{"iotEdge":`...)
	dst = strconv.AppendBool(dst, id.IoTEdge)
	dst = append(dst, `},"deviceScope":`...)
	dst = appendString(dst, id.DeviceScope)
	dst = append(dst, `,"parentScopes":`...)
	dst = id.AppendScopes(dst)
	if d.Configurations != "" {
		dst = append(append(dst, `,"configurations":`...), d.Configurations...)
	}
	return append(dst, '}')
}

// AppendThumbprints appends the member x509Thumbprint of a twin.
func (id *Identity) AppendThumbprints(dst []byte) []byte {
	dst = append(dst, `{"primaryThumbprint":`...)
	dst = appendNullable(dst, id.Auth.PrimaryThumbprint)
	dst = append(dst, `,"secondaryThumbprint":`...)
	dst = appendNullable(dst, id.Auth.SecondaryThumbprint)
	return append(dst, '}')
}

// AppendScopes appends the member parentScopes of a twin.
func (id *Identity) AppendScopes(dst []byte) []byte {
	dst = append(dst, '[')
	for i, s := range id.ParentScopes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

// State is the connection state as the wire spells it.
func (p *Presence) State() string {
	if p.Connected {
		return "Connected"
	}
	return "Disconnected"
}

// AppendJSON appends the section with $metadata and $version.
func (s *Section) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	dst = s.root.appendKids(dst)
	if len(s.root.kids) > 0 {
		dst = append(dst, ',')
	}
	dst = append(dst, `"$metadata":`...)
	dst = s.root.appendMetadata(dst)
	dst = append(dst, `,"$version":`...)
	dst = strconv.AppendInt(dst, s.Version, 10)
	return append(dst, '}')
}

// AppendDocument appends the section's members alone.
func (s *Section) AppendDocument(dst []byte) []byte { return s.root.appendMembers(dst, "") }

func appendVersioned(dst []byte, n *node, version int64) []byte {
	return n.appendMembers(dst, `"$version":`+strconv.FormatInt(version, 10))
}

// appendMembers appends an object; extra is one more member, or "".
func (n *node) appendMembers(dst []byte, extra string) []byte {
	dst = append(dst, '{')
	dst = n.appendKids(dst)
	if extra != "" && len(n.kids) > 0 {
		dst = append(dst, ',')
	}
	dst = append(dst, extra...)
	return append(dst, '}')
}

func (n *node) appendKids(dst []byte) []byte {
	for i := range n.kids {
		if i > 0 {
			dst = append(dst, ',')
		}
		k := &n.kids[i]
		dst = appendString(dst, k.key)
		dst = append(dst, ':')
		if k.object {
			dst = k.appendMembers(dst, "")
		} else {
			dst = append(dst, k.raw...)
		}
	}
	return dst
}

func (n *node) appendMetadata(dst []byte) []byte {
	dst = append(dst, `{"$lastUpdated":`...)
	dst = appendTime(dst, ticksTime(n.at))
	if n.ver > 0 {
		dst = append(dst, `,"$lastUpdatedVersion":`...)
		dst = strconv.AppendInt(dst, n.ver, 10)
	}
	for i := range n.kids {
		dst = append(dst, ',')
		dst = appendString(dst, n.kids[i].key)
		dst = append(dst, ':')
		dst = n.kids[i].appendMetadata(dst)
	}
	return append(dst, '}')
}

// FormatTime is a time as twins show it; the zero time is year 1.
func FormatTime(t time.Time) string {
	b := appendTime(nil, t)
	return string(b[1 : len(b)-1])
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, nullText...)
	}
	return appendString(dst, s)
}

const hexDigits = "0123456789abcdef"

// appendString appends s quoted, with no more escapes than JSON asks for.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		if c < 0x20 {
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = append(dst, '\\', c)
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
