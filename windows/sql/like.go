package sql

import (
	"unicode/utf8"
)

// pattern is a LIKE pattern split at its %: segments of single-character
// matchers. Matching takes each segment at its first place and never goes
// back further than one segment, so its cost is bounded by text × pattern.
type pattern struct {
	segments  [][]charMatch
	openStart bool // begins with %
	openEnd   bool // ends with %
}

// charMatch matches one character: any, a literal, or a set.
type charMatch struct {
	any    bool
	not    bool
	ranges []rune // pairs lo, hi
}

func (c *charMatch) matches(r rune) bool {
	if c.any {
		return true
	}
	for i := 0; i < len(c.ranges); i += 2 {
		if c.ranges[i] <= r && r <= c.ranges[i+1] {
			return !c.not
		}
	}
	return c.not
}

// likePattern reads T-SQL's patterns: % any text, _ any character, [a-f] and
// [^a-f] sets, [%] a literal. An opening bracket without its closing one is
// literal.
func likePattern(s string) *pattern {
	p := &pattern{}
	runes := []rune(s)
	var segment []charMatch
	seen := false // whether anything stood before
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		if r == '%' {
			if !seen && len(segment) == 0 {
				p.openStart = true
			}
			if len(segment) > 0 {
				p.segments = append(p.segments, segment)
				segment = nil
			}
			seen, p.openEnd = true, true
			continue
		}
		p.openEnd = false
		switch r {
		case '_':
			segment = append(segment, charMatch{any: true})
		case '[':
			if m, n := charSet(runes[i:]); n > 0 {
				segment = append(segment, m)
				i += n - 1
				continue
			}
			fallthrough
		default:
			segment = append(segment, charMatch{ranges: []rune{r, r}})
		}
	}
	if len(segment) > 0 {
		p.segments = append(p.segments, segment)
	}
	return p
}

// charSet reads [...] at the start of runes and returns its length, 0 if it
// does not close.
func charSet(runes []rune) (charMatch, int) {
	m := charMatch{}
	i := 1
	if i < len(runes) && runes[i] == '^' {
		m.not = true
		i++
	}
	for first := i; i < len(runes); i++ {
		if runes[i] == ']' && i > first {
			return m, i + 1
		}
		lo, hi := runes[i], runes[i]
		if i+2 < len(runes) && runes[i+1] == '-' && runes[i+2] != ']' {
			hi = runes[i+2]
			i += 2
		}
		m.ranges = append(m.ranges, lo, hi)
	}
	return m, 0
}

// prefix matches a segment at the start of s and returns the bytes it took,
// or -1.
func prefix(segment []charMatch, s string) int {
	at := 0
	for i := range segment {
		if at >= len(s) {
			return -1
		}
		r, n := rune(s[at]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[at:])
		}
		if !segment[i].matches(r) {
			return -1
		}
		at += n
	}
	return at
}

// search finds the first place at or after from where the segment matches.
func search(segment []charMatch, s string, from int) (begin, end int) {
	for at := from; at <= len(s); {
		if n := prefix(segment, s[at:]); n >= 0 {
			return at, at + n
		}
		if at == len(s) {
			break
		}
		_, n := utf8.DecodeRuneInString(s[at:])
		at += n
	}
	return -1, -1
}

// matches reports whether the whole of s fits the pattern.
func (p *pattern) matches(s string) bool {
	if len(p.segments) == 0 {
		return p.openEnd || s == ""
	}
	at := 0
	segments := p.segments
	if !p.openStart {
		n := prefix(segments[0], s)
		if n < 0 {
			return false
		}
		at = n
		segments = segments[1:]
		if len(segments) == 0 {
			return p.openEnd || at == len(s)
		}
	}
	last := len(segments) - 1
	for i, segment := range segments {
		if i == last && !p.openEnd {
			tail := lastRunes(s[at:], len(segment))
			return tail >= 0 && prefix(segment, s[at+tail:]) >= 0
		}
		_, end := search(segment, s, at)
		if end < 0 {
			return false
		}
		at = end
	}
	return true
}

// lastRunes returns where the last n characters of s begin, or -1.
func lastRunes(s string, n int) int {
	at := len(s)
	for ; n > 0; n-- {
		if at == 0 {
			return -1
		}
		_, size := utf8.DecodeLastRuneInString(s[:at])
		at -= size
	}
	return at
}

// find returns the character, counted from 1, at which the first match of the
// pattern begins, or 0 (PATINDEX). Without a leading % a match begins at 1.
func (p *pattern) find(s string) int64 {
	if !p.openStart || len(p.segments) == 0 {
		if p.matches(s) {
			return 1
		}
		return 0
	}
	if !p.matches(s) {
		return 0
	}
	begin := 0
	if len(p.segments) == 1 && !p.openEnd {
		begin = lastRunes(s, len(p.segments[0]))
	} else {
		begin, _ = search(p.segments[0], s, 0)
	}
	return int64(utf8.RuneCountInString(s[:begin])) + 1
}
