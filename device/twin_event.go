package device

import "strconv"

// Delta holds the parts of a twin that a change touched, each with metadata;
// members that were removed are null. Sections that were not touched are nil.
type Delta struct {
	Tags, Desired, Reported *Section
}

// mark returns a copy of a patch with the change's metadata on every member.
func (s stamp) mark(patch *node) node {
	out := *patch
	out.at, out.ver = s.at, s.version
	if patch.object {
		out.kids = make([]node, len(patch.kids))
		for i := range patch.kids {
			out.kids[i] = s.mark(&patch.kids[i])
		}
	}
	return out
}

// marked is what a patch changed of a section that now has the given version.
func (s *Section) marked(patch *node, at int64, versions bool) *Section {
	st := stamp{at: at}
	if versions {
		st.version = s.Version
	}
	return &Section{Version: s.Version, root: st.mark(patch)}
}

// AppendDelta appends the body of a twin change event for an update
// (azure-iot-wire 9.5): the twin's version and the parts that changed.
func (t *Twin) AppendDelta(dst []byte, d *Delta) []byte {
	dst = append(dst, `{"version":`...)
	dst = strconv.AppendInt(dst, t.Version, 10)
	if d.Tags != nil {
		dst = append(dst, `,"tags":`...)
		dst = d.Tags.AppendDocument(dst)
	}
	if d.Desired != nil || d.Reported != nil {
		dst = append(dst, `,"properties":{`...)
		if d.Desired != nil {
			dst = append(dst, `"desired":`...)
			dst = d.Desired.AppendJSON(dst)
		}
		if d.Reported != nil {
			if d.Desired != nil {
				dst = append(dst, ',')
			}
			dst = append(dst, `"reported":`...)
			dst = d.Reported.AppendJSON(dst)
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// AppendEventView appends the twin as events of a replaced twin and of a made or
// deleted identity have it (azure-iot-wire 9.5): ids, etag, version, tags and
// properties with metadata. It holds no key.
func (d *Document) AppendEventView(dst []byte) []byte {
	t := &d.Twin
	dst = append(dst, `{"deviceId":`...)
	dst = appendString(dst, d.Identity.DeviceID)
	if d.Identity.ModuleID != "" {
		dst = append(dst, `,"moduleId":`...)
		dst = appendString(dst, d.Identity.ModuleID)
	}
	dst = append(dst, `,"etag":`...)
	dst = appendString(dst, t.ETag())
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendInt(dst, t.Version, 10)
	dst = append(dst, `,"tags":`...)
	dst = t.Tags.AppendDocument(dst)
	dst = append(dst, `,"properties":{"desired":`...)
	dst = t.Desired.AppendJSON(dst)
	dst = append(dst, `,"reported":`...)
	dst = t.Reported.AppendJSON(dst)
	return append(dst, `}}`...)
}
