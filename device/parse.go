package device

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNumberText bounds the text of a number, which counts 8 whatever its length.
const maxNumberText = 128

// maxInteger is the largest magnitude of an integer (azure-iot-wire 6).
const maxInteger = "4503599627370496"

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

func (p *parser) malformed(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrFormat, what, p.at)
}

func (p *parser) peek() byte {
	if p.at < len(p.in) {
		return p.in[p.at]
	}
	return 0
}

func (p *parser) space() {
	for p.at < len(p.in) {
		switch p.in[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *parser) end() error {
	p.space()
	if p.at != len(p.in) {
		return p.malformed("text after the document")
	}
	return nil
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

// maxSkipDepth bounds nesting in members that are ignored.
const maxSkipDepth = 64

// skip reads any JSON value without applying the rules for twin values and
// returns its text.
func (p *parser) skip(depth int) (string, error) {
	start := p.at
	if depth > maxSkipDepth {
		return "", fmt.Errorf("%w: the document is nested deeper than %d levels", ErrArgument, maxSkipDepth)
	}
	var err error
	switch c := p.peek(); {
	case c == '{':
		err = p.members(func(string) error { _, err := p.skip(depth + 1); return err })
	case c == '[':
		err = p.skipArray(depth)
	case c == '"':
		_, err = p.str()
	case c == '-' || '0' <= c && c <= '9':
		_, _, err = p.number()
	default:
		err = p.leaf(&leaf{}, 0)
	}
	return p.in[start:p.at], err
}

func (p *parser) skipArray(depth int) error {
	p.at++ // [
	p.space()
	if p.peek() == ']' {
		p.at++
		return nil
	}
	for {
		if _, err := p.skip(depth + 1); err != nil {
			return err
		}
		p.space()
		switch p.peek() {
		case ',':
			p.at++
			p.space()
		case ']':
			p.at++
			return nil
		default:
			return p.malformed("a comma or the end of the array is missing")
		}
	}
}

// number reads a JSON number; integer says that it has neither fraction nor
// exponent.
func (p *parser) number() (text string, integer bool, err error) {
	start := p.at
	digits := func() bool {
		at := p.at
		for c := p.peek(); '0' <= c && c <= '9'; c = p.peek() {
			p.at++
		}
		return p.at > at
	}
	if p.peek() == '-' {
		p.at++
	}
	zero := p.peek() == '0'
	first := p.at
	if !digits() || zero && p.at > first+1 {
		return "", false, p.malformed("an invalid number")
	}
	integer = true
	if p.peek() == '.' {
		integer = false
		p.at++
		if !digits() {
			return "", false, p.malformed("an invalid number")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		integer = false
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if !digits() {
			return "", false, p.malformed("an invalid number")
		}
	}
	return p.in[start:p.at], integer, nil
}

func validNumber(text string, integer bool) error {
	if len(text) > maxNumberText {
		return fmt.Errorf("%w: a number has %d characters, %d are allowed", ErrArgument, len(text), maxNumberText)
	}
	digits := strings.TrimPrefix(text, "-")
	limit := maxInteger
	if digits == text {
		limit = "4503599627370495"
	}
	if integer && (len(digits) > len(limit) || len(digits) == len(limit) && digits > limit) {
		return fmt.Errorf("%w: the integer %s is outside -4503599627370496 to 4503599627370495", ErrArgument, text)
	}
	return nil
}

// str is a string token: its text between the quotes and what it decodes to.
type str struct {
	raw      string
	escaped  bool
	length   int // bytes of UTF-8 when decoded
	controls int // bytes of those that are control characters
}

// str reads a string token.
func (p *parser) str() (str, error) {
	p.at++ // "
	start := p.at
	var s str
	for p.at < len(p.in) {
		switch c := p.in[p.at]; {
		case c == '"':
			s.raw = p.in[start:p.at]
			p.at++
			return s, nil
		case c < 0x20:
			return s, p.malformed("a control character in a string")
		case c == '\\':
			s.escaped = true
			r, n := unescape(p.in[p.at:])
			if n == 0 {
				return s, p.malformed("an invalid escape")
			}
			p.at += n
			s.count(r)
		case c < utf8.RuneSelf:
			p.at++
			s.length++
			if c == 0x7f {
				s.controls++
			}
		default:
			r, n := utf8.DecodeRuneInString(p.in[p.at:])
			if r == utf8.RuneError && n == 1 {
				return s, p.malformed("invalid UTF-8")
			}
			p.at += n
			s.count(r)
		}
	}
	return s, p.malformed("a string without end")
}

func (s *str) count(r rune) {
	n := utf8.RuneLen(r)
	s.length += n
	if control(r) {
		s.controls += n
	}
}

// control reports C0, DEL and C1 characters.
func control(r rune) bool { return r < 0x20 || 0x7f <= r && r < 0xa0 }

func (s *str) decoded() string {
	if !s.escaped {
		return s.raw
	}
	var b strings.Builder
	for in := s.raw; in != ""; {
		if in[0] != '\\' {
			i := strings.IndexByte(in, '\\')
			if i < 0 {
				i = len(in)
			}
			b.WriteString(in[:i])
			in = in[i:]
			continue
		}
		r, n := unescape(in)
		b.WriteRune(r)
		in = in[n:]
	}
	return b.String()
}

// unescape reads the escape at the start of s; n is 0 when it is invalid. A
// surrogate without its other half stands for U+FFFD.
func unescape(s string) (r rune, n int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch s[1] {
	case '"', '\\', '/':
		return rune(s[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, ok := hex4(s[2:])
		if !ok {
			return 0, 0
		}
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
			if low, ok := hex4(s[8:]); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					return pair, 12
				}
			}
		}
		return utf8.RuneError, 6
	}
	return 0, 0
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for i := range 4 {
		d := hexDigit(s[i])
		if d < 0 {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
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

// compact removes the blanks between the tokens of valid JSON.
func compact(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	quoted := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if quoted {
			b.WriteByte(c)
			if c == '\\' {
				i++
				b.WriteByte(s[i])
			} else if c == '"' {
				quoted = false
			}
			continue
		}
		switch c {
		case ' ', '\t', '\n', '\r':
		default:
			quoted = c == '"'
			b.WriteByte(c)
		}
	}
	return b.String()
}
