package device

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Versions of the stored forms (docs/format/device-state.md). A number is never
// used again for another layout.
const (
	identityFormat = 2
	changeFormat   = 1
	twinFormat     = 1
)

// decoder reads stored bytes; the first fault sticks. Strings refer to one copy
// of the input.
type decoder struct {
	in  string
	bad bool
}

func (d *decoder) fail() { d.bad, d.in = true, "" }

func (d *decoder) byte() byte {
	if len(d.in) == 0 {
		d.fail()
		return 0
	}
	b := d.in[0]
	d.in = d.in[1:]
	return b
}

func (d *decoder) uint() uint64 {
	var v uint64
	for i := 0; i < len(d.in) && i < binary.MaxVarintLen64; i++ {
		b := d.in[i]
		if i == binary.MaxVarintLen64-1 && b > 1 || i > 0 && b == 0 {
			break // over 64 bits, or not the shortest form
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			d.in = d.in[i+1:]
			return v
		}
	}
	d.fail()
	return 0
}

// positive reads a count that must fit a non-negative int64.
func (d *decoder) positive() int64 {
	v := int64(d.uint())
	if v < 0 {
		d.fail()
		return 0
	}
	return v
}

func (d *decoder) int() int64 {
	u := d.uint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) string() string {
	n := d.uint()
	if n > uint64(len(d.in)) {
		d.fail()
		return ""
	}
	s := d.in[:n]
	d.in = d.in[n:]
	return s
}

func (d *decoder) bytes() []byte {
	if s := d.string(); s != "" {
		return []byte(s)
	}
	return nil
}

func (d *decoder) time() time.Time {
	n := d.positive()
	if n == 0 {
		return time.Time{}
	}
	return ticksTime(n)
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// AppendBinary appends the stored form of the identity; keys stay sealed.
func (id *Identity) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, identityFormat)
	dst = appendText(dst, id.DeviceID)
	dst = appendText(dst, id.ModuleID)
	dst = appendText(dst, id.ManagedBy)
	dst = appendText(dst, id.GenerationID)
	dst = appendText(dst, id.ETag)
	dst = append(dst, byte(id.Status))
	dst = appendText(dst, id.StatusReason)
	dst = binary.AppendUvarint(dst, uint64(ticks(id.StatusUpdated)))
	dst = append(dst, byte(id.Auth.Type))
	dst = appendBytes(dst, id.Auth.Primary)
	dst = appendBytes(dst, id.Auth.Secondary)
	dst = appendText(dst, id.Auth.PrimaryThumbprint)
	dst = appendText(dst, id.Auth.SecondaryThumbprint)
	var flags byte
	if id.IoTEdge {
		flags |= 1
	}
	dst = append(dst, flags)
	dst = appendText(dst, id.DeviceScope)
	dst = binary.AppendUvarint(dst, uint64(len(id.ParentScopes)))
	for _, s := range id.ParentScopes {
		dst = appendText(dst, s)
	}
	return dst, nil
}

// UnmarshalBinary reads what AppendBinary wrote. The error wraps ErrCorrupt.
func (id *Identity) UnmarshalBinary(b []byte) error {
	d := decoder{in: string(b)}
	got := d.identity()
	if d.bad || d.in != "" {
		return fmt.Errorf("identity of %d bytes: %w", len(b), ErrCorrupt)
	}
	*id = got
	return nil
}

func (d *decoder) identity() Identity {
	var id Identity
	if v := d.byte(); v != identityFormat {
		d.fail()
	}
	id.DeviceID = d.string()
	id.ModuleID = d.string()
	id.ManagedBy = d.string()
	id.GenerationID = d.string()
	id.ETag = d.string()
	id.Status = Status(d.byte())
	id.StatusReason = d.string()
	id.StatusUpdated = d.time()
	id.Auth.Type = AuthType(d.byte())
	id.Auth.Primary = d.bytes()
	id.Auth.Secondary = d.bytes()
	id.Auth.PrimaryThumbprint = d.string()
	id.Auth.SecondaryThumbprint = d.string()
	flags := d.byte()
	id.IoTEdge = flags&1 != 0
	id.DeviceScope = d.string()
	n := d.uint()
	if n > MaxParentScopes || flags > 1 || id.Status > Disabled || id.Auth.Type > AuthNone {
		d.fail()
		return Identity{}
	}
	for range n {
		id.ParentScopes = append(id.ParentScopes, d.string())
	}
	return id
}

// AppendBinary appends the body of the change's device-log record; Audit travels
// in its headers.
func (c *Change) AppendBinary(dst []byte) ([]byte, error) {
	var flags byte
	if c.KeepPrimary {
		flags |= 1
	}
	if c.KeepSecondary {
		flags |= 2
	}
	if c.KeepScope {
		flags |= 4
	}
	dst = append(dst, changeFormat, flags)
	dst = appendText(dst, c.IfMatch)
	return c.Wanted.AppendBinary(dst)
}

// UnmarshalBinary reads what AppendBinary wrote; Audit stays as it is. The error
// wraps ErrCorrupt.
func (c *Change) UnmarshalBinary(b []byte) error {
	d := decoder{in: string(b)}
	version, flags := d.byte(), d.byte()
	match, wanted := d.string(), d.identity()
	if d.bad || d.in != "" || version != changeFormat || flags > 7 {
		return fmt.Errorf("identity change of %d bytes: %w", len(b), ErrCorrupt)
	}
	c.Wanted, c.IfMatch = wanted, match
	c.KeepPrimary, c.KeepSecondary, c.KeepScope = flags&1 != 0, flags&2 != 0, flags&4 != 0
	return nil
}

// AppendBinary appends the stored form of the twin.
func (t *Twin) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, twinFormat)
	dst = binary.AppendUvarint(dst, uint64(t.Version))
	dst = binary.AppendUvarint(dst, uint64(t.Changes))
	dst = appendText(dst, t.ModelID)
	for _, s := range [...]*Section{&t.Tags, &t.Desired, &t.Reported} {
		dst = binary.AppendUvarint(dst, uint64(s.Version))
		dst = s.root.append(dst, 0, 0)
	}
	return dst, nil
}

// UnmarshalBinary reads what AppendBinary wrote. The error wraps ErrCorrupt.
func (t *Twin) UnmarshalBinary(b []byte) error {
	d := decoder{in: string(b)}
	var got Twin
	if v := d.byte(); v != twinFormat {
		d.fail()
	}
	got.Version = d.positive()
	got.Changes = d.positive()
	got.ModelID = d.string()
	for _, s := range [...]*Section{&got.Tags, &got.Desired, &got.Reported} {
		s.Version = d.positive()
		before := len(d.in)
		s.root = d.node(0, 0, 0)
		s.held = before - len(d.in)
		if !s.root.object {
			d.fail()
		}
	}
	if d.bad || d.in != "" {
		return fmt.Errorf("twin of %d bytes: %w", len(b), ErrCorrupt)
	}
	*t = got
	return nil
}

// repack moves the section's strings into one text of their own, so that a twin
// of a few bytes does not keep the patches alive that once made it.
func (s *Section) repack() {
	b := s.root.append(make([]byte, 0, int(s.root.text)*2+64), 0, 0)
	d := decoder{in: string(b)}
	root := d.node(0, 0, 0)
	if d.bad { // what append wrote is always readable
		return
	}
	s.root, s.held = root, len(b)
}

// Kinds of nodes.
const (
	nodeObject = 0
	nodeLeaf   = 1
)

// append writes a node; times and versions are differences from the parent's,
// which changes with every member.
func (n *node) append(dst []byte, at, ver int64) []byte {
	kind := byte(nodeLeaf)
	if n.object {
		kind = nodeObject
	}
	dst = append(dst, kind)
	dst = binary.AppendVarint(dst, n.at-at)
	dst = binary.AppendVarint(dst, n.ver-ver)
	if !n.object {
		dst = binary.AppendUvarint(dst, uint64(n.size))
		return appendText(dst, n.raw)
	}
	dst = binary.AppendUvarint(dst, uint64(len(n.kids)))
	for i := range n.kids {
		dst = appendText(dst, n.kids[i].key)
		dst = n.kids[i].append(dst, n.at, n.ver)
	}
	return dst
}

// minMember is the fewest bytes that a member takes.
const minMember = 6

func (d *decoder) node(at, ver int64, depth int) node {
	kind := d.byte()
	n := node{object: kind == nodeObject, at: at + d.int(), ver: ver + d.int()}
	if kind > nodeLeaf || depth > MaxTwinDepth+1 || n.at < 0 || n.ver < 0 {
		d.fail()
		return node{}
	}
	if !n.object {
		size := d.uint()
		n.raw = d.string()
		if size > MaxPatchBytes || len(n.raw) == 0 || len(n.raw) > MaxPatchBytes {
			d.fail()
			return node{}
		}
		n.size, n.text = int32(size), int32(len(n.raw))
		return n
	}
	count := d.uint()
	if count > uint64(len(d.in)/minMember) {
		d.fail()
		return node{}
	}
	n.kids = make([]node, 0, count)
	for range count {
		key := d.string()
		if k := len(n.kids); k > 0 && n.kids[k-1].key >= key {
			d.fail()
		}
		kid := d.node(n.at, n.ver, depth+1)
		if d.bad {
			return node{}
		}
		kid.key = key
		n.kids = append(n.kids, kid)
	}
	n.measure()
	return n
}
