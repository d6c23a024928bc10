package device

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxNumberText bounds the text of a number, which counts 8 whatever its length.
const maxNumberText = 128

// maxInteger is the largest magnitude of an integer (azure-iot-wire 6).
const maxInteger = "4503599627370496"

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
			r, n := Unescape(p.in[p.at:])
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
		r, n := Unescape(in)
		b.WriteRune(r)
		in = in[n:]
	}
	return b.String()
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
