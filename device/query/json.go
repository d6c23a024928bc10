package query

import (
	"strings"

	"github.com/gemello/gemello/device"
)

// unquote decodes a JSON string with its quotes; without escapes it is a part
// of the input.
func unquote(text string) (string, bool) {
	if len(text) < 2 || text[len(text)-1] != '"' {
		return "", false
	}
	in := text[1 : len(text)-1]
	if strings.IndexByte(in, '\\') < 0 {
		return in, strings.IndexByte(in, '"') < 0
	}
	var b strings.Builder
	for in != "" {
		i := strings.IndexByte(in, '\\')
		if i < 0 {
			i = len(in)
		}
		b.WriteString(in[:i])
		if in = in[i:]; in == "" {
			break
		}
		r, n := unescape(in)
		if n == 0 {
			return "", false
		}
		b.WriteRune(r)
		in = in[n:]
	}
	return b.String(), true
}

// unescape is device.Unescape with the quote that only this language escapes.
func unescape(s string) (r rune, n int) {
	if strings.HasPrefix(s, `\'`) {
		return '\'', 2
	}
	return device.Unescape(s)
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s in the given quotes with the escapes that it needs.
func appendQuoted(dst []byte, s string, quote byte) []byte {
	dst = append(dst, quote)
	for i := range len(s) {
		switch c := s[i]; {
		case c == quote || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, quote)
}

// walk follows steps into a JSON text; what leads nowhere, or through text that
// is not JSON, is undefined.
func walk(text string, steps []Step, fold bool) Value {
	for i := range steps {
		var ok bool
		text = text[blank(text, 0):]
		if steps[i].IsIndex {
			text, ok = element(text, steps[i].Index)
		} else {
			text, ok = member(text, steps[i].Name, fold)
		}
		if !ok {
			return Value{}
		}
	}
	text = text[blank(text, 0):]
	end := skip(text, 0)
	if end < 0 {
		return Value{}
	}
	return OfJSON(text[:end])
}

func blank(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

// skip returns the place after the value at i, -1 where there is none. It needs
// no more nesting than a count, so depth costs no stack.
func skip(s string, i int) int {
	depth := 0
	for i < len(s) {
		switch c := s[i]; {
		case c == '"':
			if i = skipString(s, i); i < 0 {
				return -1
			}
		case c == '{' || c == '[':
			depth++
			i++
		case c == '}' || c == ']':
			if depth == 0 {
				return -1
			}
			depth--
			i++
		case depth > 0 && (c == ',' || c == ':' || c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			i++
			continue
		default:
			start := i
			for i < len(s) && !strings.ContainsRune(",:{}[]\" \t\n\r", rune(s[i])) {
				i++
			}
			if i == start {
				return -1
			}
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

func skipString(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// member finds an object's member; of two with one name the later counts, as
// encoding/json has it. An exact name goes before one that fits without case.
func member(s, key string, fold bool) (found string, ok bool) {
	if s == "" || s[0] != '{' {
		return "", false
	}
	exact := false
	for i := blank(s, 1); i < len(s) && s[i] == '"'; {
		end := skipString(s, i)
		if end < 0 {
			return "", false
		}
		name, valid := unquote(s[i:end])
		i = blank(s, end)
		if !valid || i >= len(s) || s[i] != ':' {
			return "", false
		}
		i = blank(s, i+1)
		if end = skip(s, i); end < 0 {
			return "", false
		}
		switch {
		case name == key:
			found, ok, exact = s[i:end], true, true
		case fold && !exact && !ok && strings.EqualFold(name, key):
			found, ok = s[i:end], true
		}
		if i = blank(s, end); i < len(s) && s[i] == ',' {
			i = blank(s, i+1)
		}
	}
	return found, ok
}

func element(s string, index int) (string, bool) {
	if s == "" || s[0] != '[' {
		return "", false
	}
	i := blank(s, 1)
	for n := 0; i < len(s) && s[i] != ']'; n++ {
		end := skip(s, i)
		if end < 0 {
			return "", false
		}
		if n == index {
			return s[i:end], true
		}
		if i = blank(s, end); i < len(s) && s[i] == ',' {
			i = blank(s, i+1)
		}
	}
	return "", false
}
