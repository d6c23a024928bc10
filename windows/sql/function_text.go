package sql

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/gemello/gemello/windows"
)

// Lengths and places count characters (code points), from 1.
var textFunctions = []function{
	{name: "LEN", min: 1, max: 1, eval: text1(func(_ *Env, s string) windows.Value {
		return windows.BigintOf(int64(utf8.RuneCountInString(s)))
	})},
	{name: "UPPER", min: 1, max: 1, eval: mapText(strings.ToUpper)},
	{name: "LOWER", min: 1, max: 1, eval: mapText(strings.ToLower)},
	{name: "TRIM", min: 1, max: 1, eval: mapText(func(s string) string { return strings.Trim(s, " ") })},
	{name: "LTRIM", min: 1, max: 1, eval: mapText(func(s string) string { return strings.TrimLeft(s, " ") })},
	{name: "RTRIM", min: 1, max: 1, eval: mapText(func(s string) string { return strings.TrimRight(s, " ") })},
	{name: "REVERSE", min: 1, max: 1, eval: mapText(reverse)},
	{name: "UNICODE", min: 1, max: 1, eval: text1(func(_ *Env, s string) windows.Value {
		if s == "" {
			return windows.Value{}
		}
		r, _ := utf8.DecodeRuneInString(s)
		return windows.BigintOf(int64(r))
	})},
	{name: "NCHAR", min: 1, max: 1, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		n, ok := e.whole(expr, &a[0])
		if !ok || n < 0 || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
			return windows.Value{}
		}
		return windows.StringOf(string(rune(n)))
	}},
	{name: "CONCAT", min: 2, max: -1, nulls: true, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		return e.concat(expr, "", a)
	}},
	{name: "CONCAT_WS", min: 3, max: -1, nulls: true, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		separator := ""
		if !a[0].IsNull() {
			var ok bool
			if separator, ok = e.text(expr, &a[0]); !ok {
				return windows.Value{}
			}
		}
		return e.concat(expr, separator, a[1:])
	}},
	{name: "LEFT", min: 2, max: 2, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		s, n, ok := e.textAndCount(expr, a)
		if !ok {
			return windows.Value{}
		}
		return windows.StringOf(s[:runeIndex(s, n)])
	}},
	{name: "RIGHT", min: 2, max: 2, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		s, n, ok := e.textAndCount(expr, a)
		if !ok {
			return windows.Value{}
		}
		if n >= int64(len(s)) {
			return windows.StringOf(s)
		}
		return windows.StringOf(s[max(lastRunes(s, int(n)), 0):])
	}},
	{name: "SUBSTRING", min: 3, max: 3, eval: substring},
	{name: "REPLACE", min: 3, max: 3, eval: replace},
	{name: "REPLICATE", min: 2, max: 2, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		s, n, ok := e.textAndCount(expr, a)
		if !ok {
			return windows.Value{}
		}
		return e.repeat(s, n)
	}},
	{name: "SPACE", min: 1, max: 1, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		n, ok := e.whole(expr, &a[0])
		if !ok || n < 0 {
			return windows.Value{}
		}
		return e.repeat(" ", n)
	}},
	{name: "CHARINDEX", min: 2, max: 3, eval: charindex},
}

func text1(f func(e *Env, s string) windows.Value) func(*Env, expr, []windows.Value) windows.Value {
	return func(e *Env, expr expr, a []windows.Value) windows.Value {
		s, ok := e.text(expr, &a[0])
		if !ok {
			return windows.Value{}
		}
		return f(e, s)
	}
}

func mapText(f func(string) string) func(*Env, expr, []windows.Value) windows.Value {
	return text1(func(e *Env, s string) windows.Value { return e.bounded(f(s)) })
}

// bounded gives a string, or a counted NULL if it is too long.
func (e *Env) bounded(s string) windows.Value {
	if len(s) > maxString {
		return e.overflow()
	}
	return windows.StringOf(s)
}

func reverse(s string) string {
	b := make([]byte, 0, len(s))
	for len(s) > 0 {
		_, n := utf8.DecodeLastRuneInString(s)
		b = append(b, s[len(s)-n:]...)
		s = s[:len(s)-n]
	}
	return string(b)
}

// concat joins the arguments that are not NULL.
func (e *Env) concat(expr expr, separator string, a []windows.Value) windows.Value {
	var b []byte
	first := true
	for i := range a {
		switch a[i].Kind() {
		case windows.Null:
			continue
		case windows.Record, windows.Array:
			return e.fail(expr, a[i], "expected nvarchar, got "+a[i].Kind().String())
		}
		if !first {
			b = append(b, separator...)
		}
		first = false
		if b = appendText(b, &a[i]); len(b) > maxString {
			return e.overflow()
		}
	}
	return windows.StringOf(string(b))
}

func (e *Env) textAndCount(expr expr, a []windows.Value) (string, int64, bool) {
	s, ok := e.text(expr, &a[0])
	if !ok {
		return "", 0, false
	}
	n, ok := e.whole(expr, &a[1])
	if ok && n < 0 {
		e.fail(expr, a[1], "expected a number that is not negative")
		ok = false
	}
	return s, n, ok
}

// runeIndex returns the byte at which the n-th character, from 0, begins.
func runeIndex(s string, n int64) int {
	if n >= int64(len(s)) {
		return len(s)
	}
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

// substring counts places before the first character, too: SUBSTRING('abc',
// 0, 2) is 'a'.
func substring(e *Env, expr expr, a []windows.Value) windows.Value {
	s, ok := e.text(expr, &a[0])
	if !ok {
		return windows.Value{}
	}
	start, ok := e.whole(expr, &a[1])
	if !ok {
		return windows.Value{}
	}
	n, ok := e.whole(expr, &a[2])
	if !ok {
		return windows.Value{}
	}
	if n < 0 {
		return e.fail(expr, a[2], "expected a length that is not negative")
	}
	from := 0
	if start > 0 {
		from = runeIndex(s, start-1)
	} else if n += max(start, -math.MaxInt64) - 1; n < 0 {
		n = 0
	}
	return windows.StringOf(s[from : from+runeIndex(s[from:], n)])
}

func replace(e *Env, expr expr, a []windows.Value) windows.Value {
	var parts [3]string
	for i := range a {
		var ok bool
		if parts[i], ok = e.text(expr, &a[i]); !ok {
			return windows.Value{}
		}
	}
	s, old, to := parts[0], parts[1], parts[2]
	if old == "" {
		return windows.StringOf(s)
	}
	if grown := len(to) - len(old); grown > 0 && len(s)+strings.Count(s, old)*grown > maxString {
		return e.overflow()
	}
	return windows.StringOf(strings.ReplaceAll(s, old, to))
}

func (e *Env) repeat(s string, n int64) windows.Value {
	if s == "" || n == 0 {
		return windows.StringOf("")
	}
	if n > int64(maxString/len(s)) {
		return e.overflow()
	}
	return windows.StringOf(strings.Repeat(s, int(n)))
}

func charindex(e *Env, expr expr, a []windows.Value) windows.Value {
	what, ok := e.text(expr, &a[0])
	if !ok {
		return windows.Value{}
	}
	s, ok := e.text(expr, &a[1])
	if !ok {
		return windows.Value{}
	}
	from := 0
	if len(a) > 2 {
		start, ok := e.whole(expr, &a[2])
		if !ok {
			return windows.Value{}
		}
		from = runeIndex(s, max(start-1, 0))
	}
	at := strings.Index(s[from:], what)
	if at < 0 || what == "" {
		return windows.BigintOf(0)
	}
	return windows.BigintOf(int64(utf8.RuneCountInString(s[:from+at])) + 1)
}
