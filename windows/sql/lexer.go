package sql

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEnd     tokenKind = iota
	tokName              // unquoted, maybe a keyword
	tokBracket           // [quoted name]
	tokString            // 'text'
	tokNumber
	tokSymbol
)

type token struct {
	kind tokenKind
	// text is the name or string without its quotes, the number as written,
	// or the symbol.
	text string
	pos  Pos
}

// upper returns a name in upper case for comparison with keywords, and ""
// for every other token.
func (t *token) upper() string {
	if t.kind != tokName {
		return ""
	}
	return strings.ToUpper(t.text)
}

// describe names the token in an error message.
func (t *token) describe() string {
	switch t.kind {
	case tokEnd:
		return "the end of the text"
	case tokString:
		return "string '" + clip(t.text) + "'"
	case tokBracket:
		return "[" + clip(t.text) + "]"
	case tokNumber:
		return "number " + clip(t.text)
	}
	return "'" + clip(t.text) + "'"
}

func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// keywords can't be names unless in brackets. Words that only mean something
// in one place (TIMESTAMP, EMIT, LIMIT, …) are not among them: devices send
// fields of those names.
var keywords = map[string]bool{
	"SELECT": true, "FROM": true, "WHERE": true, "GROUP": true, "BY": true, "HAVING": true,
	"INTO": true, "AS": true, "AND": true, "OR": true, "NOT": true, "IS": true, "NULL": true,
	"BETWEEN": true, "IN": true, "LIKE": true, "CASE": true, "WHEN": true, "THEN": true,
	"ELSE": true, "END": true, "JOIN": true, "ON": true, "UNION": true, "WITH": true, "OVER": true,
	"CREATE": true,
}

type lexer struct {
	text   string
	at     int
	line   int
	column int
}

func (l *lexer) pos() Pos { return Pos{l.line, l.column} }

// advance moves over n bytes of valid UTF-8.
func (l *lexer) advance(n int) {
	for _, r := range l.text[l.at : l.at+n] {
		if r == '\n' {
			l.line++
			l.column = 1
		} else {
			l.column++
		}
	}
	l.at += n
}

// space skips blanks and comments; block comments nest, as in T-SQL.
func (l *lexer) space() error {
	for l.at < len(l.text) {
		rest := l.text[l.at:]
		switch {
		case strings.HasPrefix(rest, "--"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			l.advance(n)
		case strings.HasPrefix(rest, "/*"):
			begin := l.pos()
			depth, n := 0, 0
			for {
				switch {
				case n >= len(rest):
					return errorAt(begin, "*/", "comment does not end")
				case strings.HasPrefix(rest[n:], "/*"):
					depth++
					n += 2
				case strings.HasPrefix(rest[n:], "*/"):
					depth--
					n += 2
				default:
					n++
				}
				if depth == 0 {
					break
				}
			}
			l.advance(n)
		default:
			r, n := utf8.DecodeRuneInString(rest)
			if !unicode.IsSpace(r) && r != '\ufeff' {
				return nil
			}
			l.advance(n)
		}
	}
	return nil
}

// next returns the next token. The text must be valid UTF-8.
func (l *lexer) next() (token, error) {
	if err := l.space(); err != nil {
		return token{}, err
	}
	t := token{pos: l.pos()}
	rest := l.text[l.at:]
	if rest == "" {
		return t, nil
	}
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case r == '\'':
		return l.quoted(tokString, rest, 1, '\'', "string")
	case (r == 'N' || r == 'n') && len(rest) > 1 && rest[1] == '\'':
		return l.quoted(tokString, rest, 2, '\'', "string")
	case r == '[':
		t, err := l.quoted(tokBracket, rest, 1, ']', "name in brackets")
		if err == nil && t.text == "" {
			return t, errorAt(t.pos, "a name", "empty brackets")
		}
		return t, err
	case r == '"':
		return t, errorAt(t.pos, "'text' or [name]", "double quotes are not used")
	case isDigit(byte(r)) && r < utf8.RuneSelf || r == '.' && len(rest) > 1 && isDigit(rest[1]):
		return l.number(rest)
	case isNameStart(r):
		n := 0
		for i, r := range rest {
			if !isNameStart(r) && !unicode.IsDigit(r) {
				break
			}
			n = i + utf8.RuneLen(r)
		}
		t.kind, t.text = tokName, rest[:n]
		l.advance(n)
		return t, nil
	}
	n := 1
	if len(rest) > 1 {
		switch rest[:2] {
		case "<>", "<=", ">=", "!=":
			n = 2
		}
	}
	if n == 1 && !strings.ContainsRune("()+-*/%&|^~=<>,.;", r) {
		return t, errorAt(t.pos, "", "character %q is not part of the language", r)
	}
	t.kind, t.text = tokSymbol, rest[:n]
	if t.text == "!=" {
		t.text = "<>"
	}
	l.advance(n)
	return t, nil
}

func isNameStart(r rune) bool { return r == '_' || unicode.IsLetter(r) }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// quoted reads up to the closing quote; a doubled one stands for itself.
func (l *lexer) quoted(kind tokenKind, rest string, open int, quote byte, what string) (token, error) {
	t := token{kind: kind, pos: l.pos()}
	var b strings.Builder
	i := open
	for {
		n := strings.IndexByte(rest[i:], quote)
		if n < 0 {
			return t, errorAt(t.pos, "closing "+string(quote), "%s does not end", what)
		}
		b.WriteString(rest[i : i+n])
		i += n + 1
		if i == len(rest) || rest[i] != quote {
			break
		}
		b.WriteByte(quote)
		i++
	}
	t.text = b.String()
	l.advance(i)
	return t, nil
}

func (l *lexer) number(rest string) (token, error) {
	t := token{kind: tokNumber, pos: l.pos()}
	n := 0
	digits := func() {
		for n < len(rest) && isDigit(rest[n]) {
			n++
		}
	}
	digits()
	if n < len(rest) && rest[n] == '.' {
		n++
		digits()
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		m := n
		n++
		if n < len(rest) && (rest[n] == '+' || rest[n] == '-') {
			n++
		}
		if n == len(rest) || !isDigit(rest[n]) {
			n = m
		} else {
			digits()
		}
	}
	if r, _ := utf8.DecodeRuneInString(rest[n:]); isNameStart(r) && n < len(rest) {
		return t, errorAt(t.pos, "a number", "%s runs into a name", clip(rest[:n]))
	}
	t.text = rest[:n]
	l.advance(n)
	return t, nil
}

// tokenize reads the whole text; its last token is tokEnd.
func tokenize(text string) ([]token, error) {
	if len(text) > MaxText {
		return nil, errorAt(Pos{1, 1}, "", "text of %d bytes is longer than the limit of %d", len(text), MaxText)
	}
	l := &lexer{text: text, line: 1, column: 1}
	if !utf8.ValidString(text) {
		for i, r := range text {
			if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD") {
				l.advance(i)
				break
			}
		}
		return nil, errorAt(l.pos(), "", "text is not valid UTF-8")
	}
	var tokens []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		if t.kind == tokEnd {
			return tokens, nil
		}
	}
}
