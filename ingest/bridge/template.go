package bridge

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gemello/gemello/ingest"
)

// deviceIDName is the placeholder that every template has.
const deviceIDName = "deviceId"

// Template says which topics are telemetry and where a topic names the device.
// Its levels are those of an MQTT topic filter, with the wildcards + and # as
// MQTT 5.0 section 4.7 has them, and placeholders {name}, each of which stands
// for one level that is not empty. {deviceId} is a must; the others become
// properties of the message. The zero Template matches nothing.
type Template struct {
	levels []level
	rest   bool // ends in #
}

type level struct {
	kind levelKind
	text string // of a literal, or the name of a placeholder
}

type levelKind uint8

const (
	literal levelKind = iota
	wildcard
	placeholder
)

// ParseTemplate reads a template; the error says what to write instead.
func ParseTemplate(s string) (Template, error) {
	var t Template
	var names []string
	if len(s) > 65535 {
		return Template{}, fmt.Errorf("topic template has %d bytes; MQTT allows 65535", len(s))
	}
	if strings.HasPrefix(s, "$share/") {
		return Template{}, fmt.Errorf("topic template %q: give the group on its own, without $share/", s)
	}
	if strings.ContainsRune(s, 0) {
		return Template{}, fmt.Errorf("topic template %q has a NUL character", s)
	}
	levels := strings.Split(s, "/")
	for i, text := range levels {
		switch {
		case text == "#":
			if i != len(levels)-1 {
				return Template{}, fmt.Errorf("topic template %q: # is allowed as the last level only", s)
			}
			t.rest = true
		case text == "+":
			t.levels = append(t.levels, level{kind: wildcard})
		case len(text) > 1 && text[0] == '{' && text[len(text)-1] == '}':
			name := text[1 : len(text)-1]
			if !validName(name) {
				return Template{}, fmt.Errorf("topic template %q: placeholder %s is not a name; use letters, digits, - and _, a letter first", s, text)
			}
			if slices.Contains(names, name) {
				return Template{}, fmt.Errorf("topic template %q has %s twice; use + for the other", s, text)
			}
			names = append(names, name)
			t.levels = append(t.levels, level{placeholder, name})
		case strings.ContainsAny(text, "+#{}"):
			return Template{}, fmt.Errorf("topic template %q: level %q mixes text with + # { or }, which stand for a whole level", s, text)
		default:
			t.levels = append(t.levels, level{literal, text})
		}
	}
	if !slices.Contains(names, deviceIDName) {
		return Template{}, fmt.Errorf("topic template %q does not say where the device id is; write {deviceId} for that level", s)
	}
	return t, nil
}

func validName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '-' || c == '_'):
		default:
			return false
		}
	}
	return s != ""
}

// Filter is the topic filter that admits all topics of the template.
func (t Template) Filter() string {
	parts := make([]string, 0, len(t.levels)+1)
	for _, l := range t.levels {
		if l.kind == literal {
			parts = append(parts, l.text)
		} else {
			parts = append(parts, "+")
		}
	}
	if t.rest {
		parts = append(parts, "#")
	}
	return strings.Join(parts, "/")
}

// Match takes a topic apart. The device id is whatever stands in its place, valid
// or not; props are the other placeholders in the order of the template.
func (t Template) Match(topic string) (deviceID string, props []ingest.Property, ok bool) {
	if len(t.levels) == 0 {
		return "", nil, false
	}
	if topic != "" && topic[0] == '$' && t.levels[0].kind != literal {
		return "", nil, false // MQTT-4.7.2-1: a wildcard doesn't match topics such as $SYS
	}
	more := true
	for _, l := range t.levels {
		if !more {
			return "", nil, false
		}
		var text string
		text, topic, more = strings.Cut(topic, "/")
		switch l.kind {
		case literal:
			if text != l.text {
				return "", nil, false
			}
		case placeholder:
			if text == "" {
				return "", nil, false
			}
			if l.text == deviceIDName {
				deviceID = text
			} else {
				props = append(props, ingest.Property{Key: l.text, Value: text})
			}
		}
	}
	if more && !t.rest {
		return "", nil, false
	}
	return deviceID, props, true
}

// checkFilter verifies a topic filter as MQTT 5.0 section 4.7 has it.
func checkFilter(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > 65535:
		return errors.New("has more than 65535 bytes")
	case strings.ContainsRune(s, 0):
		return errors.New("has a NUL character")
	case strings.HasPrefix(s, "$share/"):
		return errors.New("begins with $share/; give the group on its own")
	}
	levels := strings.Split(s, "/")
	for i, l := range levels {
		if strings.ContainsAny(l, "+#") && len(l) > 1 {
			return fmt.Errorf("mixes text with a wildcard in the level %q", l)
		}
		if l == "#" && i != len(levels)-1 {
			return errors.New("has # before its last level")
		}
	}
	return nil
}
