package sql

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPatternsTakeNoExponentialTime(t *testing.T) {
	p := likePattern(strings.Repeat("%a", 200) + "b")
	if p.matches(strings.Repeat("a", 20000)) {
		t.Error("matched")
	}
	if n := likePattern("%" + strings.Repeat("a", 100) + "b%").find(strings.Repeat("a", 20000)); n != 0 {
		t.Errorf("found at %d", n)
	}
}

func TestPatternsOfRecordsAreBounded(t *testing.T) {
	if got, _ := evaluate(t, "s LIKE p", `{"s":"abc","p":"a%"}`); got != "true" {
		t.Errorf("short pattern: %s", got)
	}
	if got, _ := evaluate(t, "PATINDEX(p, s)", `{"s":"abc","p":"%b%"}`); got != "2" {
		t.Errorf("short pattern: %s", got)
	}
	if got, _ := evaluate(t, "s LIKE p", `{"s":"abc","p":"`+strings.Repeat("%a", 200)+`"}`); got != "!pattern of more than 256 bytes null" {
		t.Errorf("long pattern: %s", got)
	}
}

// referencePattern translates a pattern without sets to a regular expression.
func referencePattern(p string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for _, r := range p {
		switch r {
		case '%':
			b.WriteString(".*")
		case '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

func FuzzPatternsAgainstRegularExpressions(f *testing.F) {
	f.Add("%a_%b", "xxaabb")
	f.Add("a%", "abc")
	f.Add("%%_", "é")
	f.Add("%ab%ba%", "abba")
	f.Fuzz(func(t *testing.T, p, s string) {
		if strings.Contains(p, "[") || !utf8.ValidString(p) || !utf8.ValidString(s) || len(p) > 30 {
			return
		}
		want := referencePattern(p).MatchString(s)
		like := likePattern(p)
		if got := like.matches(s); got != want {
			t.Fatalf("%q LIKE %q is %v", s, p, got)
		}
		// PATINDEX is the first place where the rest of the text fits what
		// follows the leading %.
		rest, open := strings.CutPrefix(p, "%")
		first := int64(0)
		if !open || strings.Trim(p, "%") == "" {
			if want {
				first = 1
			}
		} else {
			re := referencePattern(strings.TrimLeft(rest, "%"))
			n := int64(0)
			for i := range s {
				n++
				if re.MatchString(s[i:]) {
					first = n
					break
				}
			}
		}
		if got := like.find(s); got != first {
			t.Fatalf("PATINDEX(%q, %q) is %d, want %d", p, s, got, first)
		}
	})
}
