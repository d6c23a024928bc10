package query

import "github.com/gemello/gemello/device"

// Stored is a row of devices or devices.modules in its stored form: what a
// condition asks of tags and properties is read in place, so that a row that
// does not match is never decoded. What can't be read so is looked up in the
// decoded document.
type Stored struct {
	Ref      device.Ref
	Twin     device.Stored
	Presence device.Presence // without Queued
	// Decoded returns the whole row, or nil when its bytes are bad; whoever set it
	// knows then why, and drops the row.
	Decoded func() *device.Document
}

// Lookup resolves a path.
func (s *Stored) Lookup(p *Path) Value {
	if v, ok := s.inPlace(p); ok {
		return v
	}
	if doc := s.Decoded(); doc != nil {
		return (&Twin{Document: doc, ModuleID: s.Ref.Module}).Lookup(p)
	}
	return Value{}
}

func (s *Stored) inPlace(p *Path) (Value, bool) {
	rest := p.Steps[1:]
	section := device.SectionTags
	switch p.field {
	case FieldTags:
	case FieldProperties:
		if len(rest) == 0 {
			return Value{}, false
		}
		switch {
		case rest[0].IsIndex:
			return Value{}, true
		case rest[0].Name == "reported":
			section = device.SectionReported
		case rest[0].Name == "desired":
			section = device.SectionDesired
		default:
			return Value{}, true
		}
		rest = rest[1:]
	case FieldDeviceID, FieldModuleID, FieldConnectionState, FieldLastActivity:
		if len(rest) > 0 {
			return Value{}, true
		}
		return s.scalar(p.field), true
	case FieldNone:
		return Value{}, true
	default:
		return Value{}, false
	}
	v, ok := s.Twin.Section(section)
	for i := range rest {
		if !ok || !v.Exists() {
			return Value{}, ok
		}
		if !v.Object() {
			return walk(string(v.Text()), rest[i:], false), true
		}
		if rest[i].IsIndex {
			return Value{}, true
		}
		if name := rest[i].Name; name != "" && name[0] == '$' {
			return Value{}, false // metadata and versions
		}
		v, ok = v.Member(rest[i].Name)
	}
	switch {
	case !ok || v.Object():
		return Value{}, false
	case !v.Exists():
		return Value{}, true
	}
	text := v.Text()
	return OfJSON(string(text)), text != nil
}

func (s *Stored) scalar(f Field) Value {
	switch f {
	case FieldDeviceID:
		return OfString(s.Ref.Device)
	case FieldModuleID:
		if s.Ref.Module == "" {
			return Value{}
		}
		return OfString(s.Ref.Module)
	case FieldConnectionState:
		return OfString(s.Presence.State())
	}
	return OfString(device.FormatTime(s.Presence.LastActivity))
}
