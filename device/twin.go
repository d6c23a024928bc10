package device

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// Limits of a twin (azure-iot-wire 6). Sizes follow the rule there: UTF-8
// lengths of keys and of strings without control characters, 8 for a number, 4
// for a bool.
const (
	MaxTagsSize     = 8 << 10
	MaxDesiredSize  = 32 << 10
	MaxReportedSize = 32 << 10
	MaxTwinDepth    = 10 // objects and arrays inside a section
	MaxTwinKey      = 1 << 10
	MaxTwinString   = 4 << 10
	// MaxPatchBytes bounds the text of one patch, before it is parsed.
	MaxPatchBytes = 256 << 10
	// MaxModelID is the longest model id in bytes; a longer one is not kept.
	MaxModelID = 2 << 10
	// minHeld is what a section may keep alive beyond its own text.
	minHeld = 4 << 10
	// maxTextFactor bounds a section's stored text as a multiple of its size
	// limit: escapes, control characters and empty values count little or
	// nothing in the size, and must not let a twin grow without end.
	maxTextFactor = 4
)

// Twin is a device's document. The zero value is not a twin; use NewTwin. A copy
// by assignment is a snapshot: later patches of the original don't show in it.
type Twin struct {
	// Version grows by one with every accepted change of any section; a new twin
	// has 2, as Azure's have.
	Version int64
	// Changes counts changes of tags and desired; the etag is made of it.
	Changes int64
	// ModelID is what the device said it is (MQTT user name), "" if nothing.
	ModelID string

	Tags, Desired, Reported Section
}

// Section is one of a twin's documents.
type Section struct {
	// Version starts at 1 and grows by exactly 1 with every accepted patch. Tags
	// don't show theirs.
	Version int64
	root    node
	// held is how many bytes of patches the root's strings may keep alive.
	held int
}

// NewTwin returns the twin of a device that was just made.
func NewTwin() Twin {
	s := Section{Version: 1, root: node{object: true}}
	return Twin{Version: 2, Changes: 1, Tags: s, Desired: s, Reported: s}
}

// ETag is the twin's etag, bare: it changes with tags and desired, not with
// reported.
func (t *Twin) ETag() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(t.Changes))
	return base64.StdEncoding.EncodeToString(b[:])
}

// Match reports whether a change that depends on ifMatch may go on: "" and "*"
// match every twin. The error wraps ErrPrecondition.
func (t *Twin) Match(ifMatch string) error {
	if ifMatch == "" || ifMatch == "*" || ifMatch == t.ETag() {
		return nil
	}
	return fmt.Errorf("%w: the twin has etag %s, not %q", ErrPrecondition, t.ETag(), ifMatch)
}

// MatchReported reports whether a patch of the reported properties that depends on
// their version, in decimal, may go on; none matches every twin. The error wraps
// ErrPrecondition.
func (t *Twin) MatchReported(version []byte) error {
	if len(version) == 0 || string(version) == strconv.FormatInt(t.Reported.Version, 10) {
		return nil
	}
	return fmt.Errorf("%w: the reported properties have version %d, not %.20q", ErrPrecondition, t.Reported.Version, version)
}

// ApplyReported merges a JSON patch into the reported properties and returns
// their new version. The patch is validated whole first: on error (ErrFormat,
// ErrArgument, ErrTooLarge) the twin is as it was. patch is not kept.
func (t *Twin) ApplyReported(patch []byte, at time.Time) (int64, error) {
	version, _, err := t.PatchReported(patch, at)
	return version, err
}

// PatchReported is ApplyReported for callers that tell of the change. The delta
// is valid for as long as patch is not changed.
func (t *Twin) PatchReported(patch []byte, at time.Time) (int64, Delta, error) {
	n, err := parsePatch(patch)
	if err != nil {
		return 0, Delta{}, err
	}
	if err := t.Reported.merge(n, ticks(at), false, MaxReportedSize, "reported properties"); err != nil {
		return 0, Delta{}, err
	}
	t.Version++
	return t.Reported.Version, Delta{Reported: t.Reported.marked(n, ticks(at), false)}, nil
}

// DesiredChange is what a device is told of a change of its desired properties.
type DesiredChange struct {
	Version int64
	// Patch is the change as applied, with null for every removed member, and
	// "$version"; after a replacement it is the whole new document. It is nil
	// when desired was not touched.
	Patch []byte
	// Delta is what an update changed; it is empty after a replacement.
	Delta Delta
}

// ApplyDesired merges a JSON patch into the desired properties; null clears
// them. Errors are those of ApplyReported.
func (t *Twin) ApplyDesired(patch []byte, at time.Time) (DesiredChange, error) {
	return t.applyService(servicePatch{desired: patch, hasDesired: true}, at)
}

// ReplaceDesired makes doc the whole of the desired properties.
func (t *Twin) ReplaceDesired(doc []byte, at time.Time) (DesiredChange, error) {
	n, err := parsePatch(doc)
	if err != nil {
		return DesiredChange{}, err
	}
	if err := t.Desired.replace(n, ticks(at), true, MaxDesiredSize, "desired properties"); err != nil {
		return DesiredChange{}, err
	}
	t.Version++
	t.Changes++
	return t.desiredDocument(), nil
}

// Apply carries out a service's change of tags and desired properties: both or,
// on error, neither. Errors are those of ApplyReported and ErrPrecondition.
func (t *Twin) Apply(c *TwinChange, at time.Time) (DesiredChange, error) {
	if err := t.Match(c.IfMatch); err != nil {
		return DesiredChange{}, fmt.Errorf("device %s: %w", c.DeviceID, err)
	}
	p, err := parseServicePatch(c.Body)
	if err != nil {
		return DesiredChange{}, err
	}
	if c.Replace {
		return t.replaceService(p, at)
	}
	return t.applyService(p, at)
}

func (t *Twin) applyService(p servicePatch, at time.Time) (DesiredChange, error) {
	next := *t
	var out DesiredChange
	touched := false
	if p.hasTags {
		did, n, err := next.Tags.patch(p.tags, ticks(at), false, MaxTagsSize, "tags")
		if err != nil {
			return DesiredChange{}, err
		}
		if did {
			touched = true
			out.Delta.Tags = next.Tags.marked(n, ticks(at), false)
		}
	}
	if p.hasDesired {
		did, n, err := next.Desired.patch(p.desired, ticks(at), true, MaxDesiredSize, "desired properties")
		if err != nil {
			return DesiredChange{}, err
		}
		if did {
			touched = true
			out.Version, out.Patch = next.Desired.Version, appendVersioned(nil, n, next.Desired.Version)
			out.Delta.Desired = next.Desired.marked(n, ticks(at), true)
		}
	}
	if touched {
		next.Version++
		next.Changes++
	}
	*t = next
	return out, nil
}

func (t *Twin) replaceService(p servicePatch, at time.Time) (DesiredChange, error) {
	tags, err := parseSection(p.tags)
	if err != nil {
		return DesiredChange{}, err
	}
	desired, err := parseSection(p.desired)
	if err != nil {
		return DesiredChange{}, err
	}
	next := *t
	if err := next.Tags.replace(tags, ticks(at), false, MaxTagsSize, "tags"); err != nil {
		return DesiredChange{}, err
	}
	if err := next.Desired.replace(desired, ticks(at), true, MaxDesiredSize, "desired properties"); err != nil {
		return DesiredChange{}, err
	}
	next.Version++
	next.Changes++
	*t = next
	return t.desiredDocument(), nil
}

func (t *Twin) desiredDocument() DesiredChange {
	return DesiredChange{Version: t.Desired.Version, Patch: appendVersioned(nil, &t.Desired.root, t.Desired.Version)}
}

// patch merges a document or, for null, clears the section. It reports whether
// anything was asked for, and the patch as it is told to the device.
func (s *Section) patch(text []byte, at int64, versions bool, limit int, what string) (bool, *node, error) {
	n, err := parseSection(text)
	if err != nil {
		return false, nil, err
	}
	if n == nil {
		n = &node{object: true}
		for i := range s.root.kids {
			n.kids = append(n.kids, node{key: s.root.kids[i].key, raw: nullText})
		}
	} else if len(n.kids) == 0 {
		return false, nil, nil
	}
	if err := s.merge(n, at, versions, limit, what); err != nil {
		return false, nil, err
	}
	return true, n, nil
}

func (s *Section) merge(patch *node, at int64, versions bool, limit int, what string) error {
	st := stamp{at: at}
	if versions {
		st.version = s.Version + 1
	}
	return s.set(st.merge(&s.root, patch), int(patch.held), limit, what)
}

func (s *Section) replace(doc *node, at int64, versions bool, limit int, what string) error {
	st := stamp{at: at}
	if versions {
		st.version = s.Version + 1
	}
	if doc == nil {
		doc = &node{object: true}
	}
	s.held = 0
	return s.set(st.merge(&node{object: true}, doc), int(doc.held), limit, what)
}

func (s *Section) set(root node, held, limit int, what string) error {
	if int(root.size) > limit {
		return fmt.Errorf("%w: %s would have %d bytes, %d are allowed", ErrTooLarge, what, root.size, limit)
	}
	if int(root.text) > limit*maxTextFactor {
		return fmt.Errorf("%w: the text of the %s would have %d bytes, %d are allowed", ErrTooLarge, what, root.text, limit*maxTextFactor)
	}
	s.root = root
	s.Version++
	if s.held += held; s.held > 2*int(root.text)+minHeld {
		s.repack()
	}
	return nil
}
