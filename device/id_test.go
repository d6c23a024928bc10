package device

import (
	"errors"
	"strings"
	"testing"
)

func TestValidID(t *testing.T) {
	for id, ok := range map[string]bool{
		"d":                      true,
		"Az09-:.+%_#*?!(),=@;$'": true,
		strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false,
		"":                       false,
		"a/b":                    false,
		"a b":                    false,
		"a\x00":                  false,
		"ä":                      false,
		"a&b":                    false,
		"a\"b":                   false,
	} {
		if err := ValidID(id); (err == nil) != ok || err != nil && !errors.Is(err, ErrArgument) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
