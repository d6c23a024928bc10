package query

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gemello/gemello/device"
)

// MaxText bounds the text of a query or condition, in bytes.
const MaxText = 16 << 10

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenName             // text
	tokenQuoted           // [[text]]
	tokenString           // text, decoded
	tokenNumber           // num
	tokenSymbol           // text
)

type token struct {
	kind tokenKind
	text string
	num  float64
	at   int // where it begins
	end  int // where it ends
}

// is reports whether the token is a symbol or keyword, which has no case.
func (t *token) is(word string) bool {
	switch t.kind {
	case tokenSymbol:
		return t.text == word
	case tokenName:
		return strings.EqualFold(t.text, word)
	}
	return false
}

// String is how errors name the token.
func (t *token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the query"
	case tokenString:
		return "a string"
	case tokenNumber:
		return "a number"
	case tokenQuoted:
		return "[[" + clip(t.text) + "]]"
	}
	return strconv.Quote(clip(t.text))
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// lexer cuts the text into tokens. After a dot that continues a path it reads a
// name even where it begins with a digit. [[ always quotes a name: the language
// has no arrays of arrays.
type lexer struct {
	in   string
	at   int
	prev token
}

func (l *lexer) next() (token, *Error) {
	t, err := l.scan()
	l.prev = t
	return t, err
}

func (l *lexer) scan() (token, *Error) {
	for l.at < len(l.in) {
		r, n := utf8.DecodeRuneInString(l.in[l.at:])
		if r == utf8.RuneError && n == 1 {
			return token{}, errorAt(l.in, l.at, "the text is not valid UTF-8")
		}
		if !unicode.IsSpace(r) {
			break
		}
		l.at += n
	}
	start := l.at
	if start == len(l.in) {
		return token{at: start, end: start}, nil
	}
	symbol := func(n int) (token, *Error) {
		l.at += n
		return token{kind: tokenSymbol, text: l.in[start:l.at], at: start, end: l.at}, nil
	}
	afterPath := l.prev.end == start && (l.prev.kind == tokenName || l.prev.kind == tokenQuoted || l.prev.is("]"))
	c := l.in[start]
	switch {
	case l.prev.is(".") && l.prev.kind == tokenSymbol && nameLen(l.in[start:]) > 0:
		l.at += nameLen(l.in[start:])
		return token{kind: tokenName, text: l.in[start:l.at], at: start, end: l.at}, nil
	case c == '\'' || c == '"':
		return l.str(c)
	case '0' <= c && c <= '9', c == '.' && !afterPath && start+1 < len(l.in) && digit(l.in[start+1]):
		return l.number()
	case strings.HasPrefix(l.in[start:], "[["):
		end := strings.Index(l.in[start:], "]]")
		if end < 0 {
			return token{}, errorAt(l.in, start, "[[ without ]]")
		}
		l.at = start + end + 2
		return token{kind: tokenQuoted, text: l.in[start+2 : start+end], at: start, end: l.at}, nil
	case nameLen(l.in[start:]) > 0:
		l.at += nameLen(l.in[start:])
		return token{kind: tokenName, text: l.in[start:l.at], at: start, end: l.at}, nil
	case strings.HasPrefix(l.in[start:], "<>"), strings.HasPrefix(l.in[start:], "<="),
		strings.HasPrefix(l.in[start:], ">="), strings.HasPrefix(l.in[start:], "!="):
		return symbol(2)
	case strings.IndexByte("()[],.*/%+-=<>", c) >= 0:
		return symbol(1)
	}
	_, n := utf8.DecodeRuneInString(l.in[start:])
	return token{}, errorAt(l.in, start, "the character %q has no meaning here", l.in[start:start+n])
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// nameLen is the length of the name at the start of s: letters, digits, _ and $.
func nameLen(s string) int {
	n := 0
	for n < len(s) {
		r, size := utf8.DecodeRuneInString(s[n:])
		if r == utf8.RuneError && size == 1 || r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			break
		}
		n += size
	}
	return n
}

func (l *lexer) number() (token, *Error) {
	start := l.at
	bad := func() (token, *Error) { return token{}, errorAt(l.in, start, "a malformed number") }
	if strings.HasPrefix(l.in[start:], "0x") || strings.HasPrefix(l.in[start:], "0X") {
		l.at += 2
		v, n := 0.0, 0
		for ; l.at < len(l.in) && device.HexDigit(l.in[l.at]) >= 0; l.at++ {
			v = v*16 + float64(device.HexDigit(l.in[l.at]))
			n++
		}
		if n == 0 || nameLen(l.in[l.at:]) > 0 || math.IsInf(v, 0) {
			return bad()
		}
		return token{kind: tokenNumber, num: v, at: start, end: l.at}, nil
	}
	digits := func() {
		for l.at < len(l.in) && digit(l.in[l.at]) {
			l.at++
		}
	}
	digits()
	if l.at < len(l.in) && l.in[l.at] == '.' {
		l.at++
		digits()
	}
	if l.at < len(l.in) && (l.in[l.at] == 'e' || l.in[l.at] == 'E') {
		l.at++
		if l.at < len(l.in) && (l.in[l.at] == '+' || l.in[l.at] == '-') {
			l.at++
		}
		digits()
	}
	v, err := strconv.ParseFloat(l.in[start:l.at], 64)
	if err != nil || nameLen(l.in[l.at:]) > 0 {
		return bad()
	}
	return token{kind: tokenNumber, num: v, at: start, end: l.at}, nil
}

func (l *lexer) str(quote byte) (token, *Error) {
	start := l.at
	var b strings.Builder
	for i := start + 1; i < len(l.in); {
		switch c := l.in[i]; c {
		case quote:
			l.at = i + 1
			return token{kind: tokenString, text: b.String(), at: start, end: l.at}, nil
		case '\\':
			r, n := unescape(l.in[i:])
			if n == 0 {
				return token{}, errorAt(l.in, i, `an unknown escape; allowed are \' \" \\ \/ \b \f \n \r \t \uXXXX`)
			}
			b.WriteRune(r)
			i += n
		default:
			r, n := utf8.DecodeRuneInString(l.in[i:])
			if r == utf8.RuneError && n == 1 {
				return token{}, errorAt(l.in, i, "the text is not valid UTF-8")
			}
			b.WriteString(l.in[i : i+n])
			i += n
		}
	}
	return token{}, errorAt(l.in, start, "a string without end")
}
