package device

import (
	"fmt"
	"slices"
	"strings"
)

// servicePatch is the text of the two sections a service may change.
type servicePatch struct {
	tags, desired       []byte
	hasTags, hasDesired bool
}

// parser reads one JSON text in a single pass and checks the rules of twin
// values on the way. Strings and numbers stay the text they came as.
type parser struct {
	in string
	at int
}

// parsePatch reads a section's document or patch. Members whose name starts with
// $ are ignored at every level. The nodes refer to a copy of b.
func parsePatch(b []byte) (*node, error) {
	if len(b) > MaxPatchBytes {
		return nil, fmt.Errorf("%w: the patch has %d bytes, %d are allowed", ErrTooLarge, len(b), MaxPatchBytes)
	}
	p := parser{in: string(b)}
	p.space()
	if p.peek() != '{' {
		if _, err := p.skip(0); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: a patch is a JSON object", ErrArgument)
	}
	n, err := p.object(0)
	if err != nil {
		return nil, err
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	n.held = int32(len(b))
	return &n, nil
}

// parseSection reads like parsePatch, but null and absent give nil.
func parseSection(b []byte) (*node, error) {
	if len(b) == 0 || strings.TrimSpace(string(b[:min(len(b), 64)])) == nullText {
		return nil, nil
	}
	return parsePatch(b)
}

// parseServicePatch finds tags and properties.desired; other members hold
// whatever the client likes to round-trip, as long as they are JSON.
func parseServicePatch(b []byte) (servicePatch, error) {
	var out servicePatch
	if len(b) > MaxPatchBytes {
		return out, fmt.Errorf("%w: the patch has %d bytes, %d are allowed", ErrTooLarge, len(b), MaxPatchBytes)
	}
	p := parser{in: string(b)}
	p.space()
	if p.peek() != '{' {
		if _, err := p.skip(0); err != nil {
			return out, err
		}
		return out, fmt.Errorf("%w: a twin patch is a JSON object", ErrArgument)
	}
	err := p.members(func(key string) error {
		switch key {
		case "tags":
			text, err := p.skip(1)
			out.tags, out.hasTags = []byte(text), true
			return err
		case "properties":
			if p.peek() != '{' {
				_, err := p.skip(1)
				return err
			}
			return p.members(func(key string) error {
				text, err := p.skip(2)
				if key == "desired" {
					out.desired, out.hasDesired = []byte(text), true
				}
				return err
			})
		}
		_, err := p.skip(1)
		return err
	})
	if err != nil {
		return servicePatch{}, err
	}
	return out, p.end()
}

// members reads an object and calls value at the start of each member's value.
func (p *parser) members(value func(key string) error) error {
	p.at++ // {
	p.space()
	if p.peek() == '}' {
		p.at++
		return nil
	}
	for {
		if p.peek() != '"' {
			return p.malformed("a member name is missing")
		}
		s, err := p.str()
		if err != nil {
			return err
		}
		p.space()
		if p.peek() != ':' {
			return p.malformed("a colon is missing")
		}
		p.at++
		p.space()
		if err := value(s.decoded()); err != nil {
			return err
		}
		p.space()
		switch p.peek() {
		case ',':
			p.at++
			p.space()
		case '}':
			p.at++
			return nil
		default:
			return p.malformed("a comma or the end of the object is missing")
		}
	}
}

// object reads an object at the given depth; the section itself is at 0. Of two
// members with one name the later counts.
func (p *parser) object(depth int) (node, error) {
	if depth > MaxTwinDepth {
		return node{}, fmt.Errorf("%w: the document is nested deeper than %d levels", ErrArgument, MaxTwinDepth)
	}
	out := node{object: true}
	sorted := true
	err := p.members(func(key string) error {
		if strings.HasPrefix(key, "$") {
			_, err := p.skip(depth + 1)
			return err
		}
		if err := validKey(key); err != nil {
			return err
		}
		n, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		n.key = key
		if k := len(out.kids); k > 0 && out.kids[k-1].key >= key {
			sorted = false
		}
		out.kids = append(out.kids, n)
		return nil
	})
	if err != nil {
		return node{}, err
	}
	if !sorted {
		out.sort()
	}
	out.measure()
	return out, nil
}

// sort orders the members and keeps the last of those with one name.
func (n *node) sort() {
	slices.SortStableFunc(n.kids, func(a, b node) int { return strings.Compare(a.key, b.key) })
	kept := n.kids[:0]
	for i := range n.kids {
		if i+1 < len(n.kids) && n.kids[i+1].key == n.kids[i].key {
			continue
		}
		kept = append(kept, n.kids[i])
	}
	n.kids = kept
}

func (p *parser) value(depth int) (node, error) {
	if p.peek() == '{' {
		return p.object(depth)
	}
	start := p.at
	v := leaf{}
	if err := p.leaf(&v, depth); err != nil {
		return node{}, err
	}
	raw := p.in[start:p.at]
	if v.spaced {
		raw = compact(raw)
	}
	return node{raw: raw, size: int32(v.size), text: int32(len(raw))}, nil
}

// leaf is what is learnt of a leaf while it is read.
type leaf struct {
	size   int
	spaced bool // an array with blanks between its tokens
}

// leaf reads a scalar or an array, including the objects in it, and applies the
// rules for values.
func (p *parser) leaf(v *leaf, depth int) error {
	switch c := p.peek(); {
	case c == '"':
		s, err := p.str()
		if err != nil {
			return err
		}
		if s.length > MaxTwinString {
			return fmt.Errorf("%w: a string has %d bytes, %d are allowed", ErrArgument, s.length, MaxTwinString)
		}
		v.size += s.length - s.controls
		return nil
	case c == '-' || '0' <= c && c <= '9':
		v.size += 8
		text, integer, err := p.number()
		if err != nil {
			return err
		}
		return validNumber(text, integer)
	case c == '[':
		return p.array(v, depth)
	case c == '{':
		return p.inner(v, depth)
	}
	for _, w := range [...]string{"true", "false", nullText} {
		if strings.HasPrefix(p.in[p.at:], w) {
			p.at += len(w)
			if w != nullText {
				v.size += 4
			}
			return nil
		}
	}
	return p.malformed("a value is missing")
}

func (p *parser) blank(v *leaf) {
	at := p.at
	p.space()
	v.spaced = v.spaced || p.at != at
}

func (p *parser) array(v *leaf, depth int) error {
	if depth > MaxTwinDepth {
		return fmt.Errorf("%w: the document is nested deeper than %d levels", ErrArgument, MaxTwinDepth)
	}
	p.at++ // [
	p.blank(v)
	if p.peek() == ']' {
		p.at++
		return nil
	}
	for {
		if err := p.leaf(v, depth+1); err != nil {
			return err
		}
		p.blank(v)
		switch p.peek() {
		case ',':
			p.at++
			p.blank(v)
		case ']':
			p.at++
			return nil
		default:
			return p.malformed("a comma or the end of the array is missing")
		}
	}
}

// inner reads an object inside an array.
func (p *parser) inner(v *leaf, depth int) error {
	if depth > MaxTwinDepth {
		return fmt.Errorf("%w: the document is nested deeper than %d levels", ErrArgument, MaxTwinDepth)
	}
	v.spaced = true // members may have blanks around; compacting is cheap enough
	return p.members(func(key string) error {
		if err := validKey(key); err != nil {
			return err
		}
		v.size += len(key)
		return p.leaf(v, depth+1)
	})
}

// validKey applies the rules for member names.
func validKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: a member name is empty", ErrArgument)
	}
	if len(key) > MaxTwinKey {
		return fmt.Errorf("%w: a member name has %d bytes, %d are allowed", ErrArgument, len(key), MaxTwinKey)
	}
	for _, r := range key {
		if control(r) || r == '.' || r == '$' || r == ' ' {
			return fmt.Errorf("%w: the member name %.64q has a character %q; control characters, '.', '$' and blanks are not allowed", ErrArgument, key, r)
		}
	}
	return nil
}
