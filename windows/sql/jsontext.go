package sql

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/gemello/gemello/windows"
)

// MaxDepth is the deepest nesting of objects and arrays in a payload.
const MaxDepth = 64

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// jsonText reads one JSON text. Its methods take the place to read at and return
// the place after what they read, or -1 with the fault noted.
type jsonText struct {
	data  []byte
	fault DataError
	// arena holds the strings that had escapes.
	arena []byte
	// bigints counts integers outside bigint that became floats, overflows
	// numbers outside float that became NULL (semantics 6.2, 6.6).
	bigints, overflows int
}

func (t *jsonText) fail(at int, reason string) int {
	t.fault = DataError{Reason: reason, Offset: min(at, len(t.data))}
	return -1
}

func (t *jsonText) unexpected(at int, expected string) int {
	if at >= len(t.data) {
		return t.fail(at, "ends early, expected "+expected)
	}
	return t.fail(at, "unexpected character, expected "+expected)
}

func (t *jsonText) space(i int) int {
	for i < len(t.data) {
		switch t.data[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// stringEnd returns the place of the quote that ends the string whose content
// begins at i, and whether it has escapes.
func (t *jsonText) stringEnd(i int) (end int, escaped bool) {
	data := t.data
	begin := i
	wide := false
	for {
		if i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			q := w ^ '"'*ones
			b := w ^ '\\'*ones
			m := ((q-ones)&^q | (b-ones)&^b | (w-' '*ones)&^w | w) & highs
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
		} else if i >= len(data) {
			return t.fail(i, "ends inside a string"), false
		}
		switch c := data[i]; {
		case c == '"':
			if wide && !utf8.Valid(data[begin:i]) {
				return t.fail(begin, "string is not valid UTF-8"), false
			}
			return i, escaped
		case c < ' ':
			return t.fail(i, "control character in a string"), false
		case c == '\\':
			escaped = true
			if i = t.escape(i); i < 0 {
				return i, false
			}
		default:
			wide = wide || c >= utf8.RuneSelf
			i++
		}
	}
}

// escape checks the escape at i and returns the place after it.
func (t *jsonText) escape(i int) int {
	if i+1 >= len(t.data) {
		return t.fail(i, "ends inside a string")
	}
	switch t.data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(t.data) || hex4(t.data[i+2:i+6]) < 0 {
			return t.fail(i, "escape without four hexadecimal digits")
		}
		return i + 6
	}
	return t.fail(i, "unknown escape")
}

func hex4(b []byte) rune {
	r := rune(0)
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// content returns the string between two quotes; without escapes it aliases
// the text, with escapes the arena.
func (t *jsonText) content(begin, end int, escaped bool) string {
	if begin == end {
		return ""
	}
	if !escaped {
		return unsafe.String(&t.data[begin], end-begin)
	}
	from := len(t.arena)
	t.arena = appendUnescaped(t.arena, t.data[begin:end])
	if len(t.arena) == from {
		return ""
	}
	return unsafe.String(&t.arena[from], len(t.arena)-from)
}

// appendUnescaped resolves checked escapes. Half a surrogate pair becomes
// U+FFFD.
func appendUnescaped(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			dst = append(dst, b[i])
			continue
		}
		i++
		switch b[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(b[i+1 : i+5])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if i+6 < len(b) && b[i+1] == '\\' && b[i+2] == 'u' {
					pair = utf16.DecodeRune(r, hex4(b[i+3:i+7]))
				}
				if r = pair; r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, b[i])
		}
	}
	return dst
}

// word checks that the text has the literal at i.
func (t *jsonText) word(i int, w string) int {
	if len(t.data)-i < len(w) || string(t.data[i:i+len(w)]) != w {
		return t.unexpected(i, "a value")
	}
	return i + len(w)
}

// skip checks the value at i; depth is the number of objects and arrays
// around it.
func (t *jsonText) skip(i, depth int) int {
	if i >= len(t.data) {
		return t.unexpected(i, "a value")
	}
	switch c := t.data[i]; {
	case c == '"':
		end, _ := t.stringEnd(i + 1)
		if end < 0 {
			return end
		}
		return end + 1
	case c == '-' || c-'0' <= 9:
		return t.skipNumber(i)
	case c == '{':
		return t.skipObject(i, depth+1)
	case c == '[':
		return t.skipArray(i, depth+1)
	case c == 't':
		return t.word(i, "true")
	case c == 'f':
		return t.word(i, "false")
	case c == 'n':
		return t.word(i, "null")
	}
	return t.unexpected(i, "a value")
}

func (t *jsonText) tooDeep(i, depth int) bool {
	if depth <= MaxDepth {
		return false
	}
	t.fail(i, "nested more than "+strconv.Itoa(MaxDepth)+" deep")
	return true
}

// colon reads the colon after a name.
func (t *jsonText) colon(i int) int {
	i = t.space(i)
	if i >= len(t.data) || t.data[i] != ':' {
		return t.unexpected(i, "':'")
	}
	return i + 1
}

// next reads what follows a member or element: a comma (more is true) or the
// closing bracket.
func (t *jsonText) next(i int, closing byte) (at int, more bool) {
	i = t.space(i)
	if i < len(t.data) {
		switch t.data[i] {
		case ',':
			return t.space(i + 1), true
		case closing:
			return i + 1, false
		}
	}
	return t.unexpected(i, "',' or the closing bracket"), false
}

func (t *jsonText) skipObject(i, depth int) int {
	if t.tooDeep(i, depth) {
		return -1
	}
	i = t.space(i + 1)
	if i < len(t.data) && t.data[i] == '}' {
		return i + 1
	}
	for more := true; more; {
		if i >= len(t.data) || t.data[i] != '"' {
			return t.unexpected(i, "a name in quotes")
		}
		end, _ := t.stringEnd(i + 1)
		if end < 0 {
			return end
		}
		if i = t.colon(end + 1); i < 0 {
			return i
		}
		if i = t.skip(t.space(i), depth); i < 0 {
			return i
		}
		if i, more = t.next(i, '}'); i < 0 {
			return i
		}
	}
	return i
}

func (t *jsonText) skipArray(i, depth int) int {
	if t.tooDeep(i, depth) {
		return -1
	}
	i = t.space(i + 1)
	if i < len(t.data) && t.data[i] == ']' {
		return i + 1
	}
	for more := true; more; {
		if i = t.skip(i, depth); i < 0 {
			return i
		}
		if i, more = t.next(i, ']'); i < 0 {
			return i
		}
	}
	return i
}

// value reads the value at i whole.
func (t *jsonText) value(i, depth int, v *windows.Value) int {
	if i >= len(t.data) {
		return t.unexpected(i, "a value")
	}
	switch c := t.data[i]; {
	case c == '"':
		end, escaped := t.stringEnd(i + 1)
		if end < 0 {
			return end
		}
		*v = windows.StringOf(t.content(i+1, end, escaped))
		return end + 1
	case c == '-' || c-'0' <= 9:
		return t.number(i, v)
	case c == '{':
		return t.record(i, depth+1, v)
	case c == '[':
		return t.array(i, depth+1, v)
	case c == 't':
		*v = windows.BitOf(true)
		return t.word(i, "true")
	case c == 'f':
		*v = windows.BitOf(false)
		return t.word(i, "false")
	case c == 'n':
		*v = windows.Value{}
		return t.word(i, "null")
	}
	return t.unexpected(i, "a value")
}

// record reads an object; of members of one name the last wins.
func (t *jsonText) record(i, depth int, v *windows.Value) int {
	if t.tooDeep(i, depth) {
		return -1
	}
	o := &windows.Object{}
	*v = windows.RecordOf(o)
	i = t.space(i + 1)
	if i < len(t.data) && t.data[i] == '}' {
		return i + 1
	}
	var places map[string]int // of names, once there are many
	for more := true; more; {
		if i >= len(t.data) || t.data[i] != '"' {
			return t.unexpected(i, "a name in quotes")
		}
		end, escaped := t.stringEnd(i + 1)
		if end < 0 {
			return end
		}
		name := t.content(i+1, end, escaped)
		if i = t.colon(end + 1); i < 0 {
			return i
		}
		var member windows.Value
		if i = t.value(t.space(i), depth, &member); i < 0 {
			return i
		}
		at := -1
		if places != nil {
			if p, ok := places[name]; ok {
				at = p
			}
		} else {
			for k := range o.Fields {
				if o.Fields[k].Name == name {
					at = k
				}
			}
		}
		if at >= 0 {
			o.Fields[at].Value = member
		} else {
			o.Fields = append(o.Fields, windows.Field{Name: name, Value: member})
			const many = 16
			if places != nil {
				places[name] = len(o.Fields) - 1
			} else if len(o.Fields) == many {
				places = make(map[string]int, 4*many)
				for k := range o.Fields {
					places[o.Fields[k].Name] = k
				}
			}
		}
		if i, more = t.next(i, '}'); i < 0 {
			return i
		}
	}
	return i
}

func (t *jsonText) array(i, depth int, v *windows.Value) int {
	if t.tooDeep(i, depth) {
		return -1
	}
	elements := []windows.Value{}
	i = t.space(i + 1)
	if i < len(t.data) && t.data[i] == ']' {
		*v = windows.ArrayOf(elements)
		return i + 1
	}
	for more := true; more; {
		var e windows.Value
		if i = t.value(i, depth, &e); i < 0 {
			return i
		}
		elements = append(elements, e)
		if i, more = t.next(i, ']'); i < 0 {
			return i
		}
	}
	*v = windows.ArrayOf(elements)
	return i
}

// aliasString makes a string of bytes that nobody changes.
func aliasString(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}
