package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a span in configuration: Go's text form plus whole days, "7d".
type Duration time.Duration

func (d Duration) String() string {
	v := time.Duration(d)
	if v != 0 && v%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(v/(24*time.Hour)), 10) + "d"
	}
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText writes the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "1h30m", "250ms" or "7d".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := parseDuration(string(b))
	*d = Duration(v)
	return err
}

var errNotDuration = errors.New("a duration such as 500ms, 5s, 2m or 7d")

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/int64(24*time.Hour) {
			return 0, errNotDuration
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return 0, errNotDuration
	}
	return v, nil
}

// Size is a number of bytes in configuration: "64MiB", "10GiB", "1000".
type Size int64

// sizeUnits go from the largest to the smallest; String takes the first that
// divides.
var sizeUnits = [...]struct {
	suffix string
	bytes  int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 && u.bytes > 1 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText writes the form that UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a whole number with an optional binary unit.
func (s *Size) UnmarshalText(b []byte) error {
	text, unit := string(b), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			text, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return errors.New("a size such as 64MiB, 10GiB or a number of bytes")
	}
	*s = Size(n * unit)
	return nil
}

// configError is a bad setting: the one line says where it was set, the key,
// the value, what is allowed and what to do.
type configError struct {
	Origin  string // file:line, flag or variable; empty for a default
	Key     string
	Value   string
	Allowed string
	Remedy  string // empty: set it right where it was set
}

func (e *configError) Error() string {
	var b strings.Builder
	if e.Origin != "" {
		fmt.Fprintf(&b, "%s: ", e.Origin)
	}
	fmt.Fprintf(&b, "%s: %s is not allowed; allowed: %s", e.Key, quoteValue(e.Value), e.Allowed)
	if e.Remedy != "" {
		fmt.Fprintf(&b, "; %s", e.Remedy)
	}
	return oneLine(b.String())
}

// As makes a configError count as a usage error.
func (e *configError) As(target any) bool {
	u, ok := target.(**usageError)
	if ok {
		*u = &usageError{text: e.Error()}
	}
	return ok
}

// quoteValue shows a value on one line, cut when long: a query may be pages.
func quoteValue(s string) string {
	if r := []rune(s); len(r) > 80 {
		s = string(r[:77]) + "..."
	}
	return strconv.Quote(s)
}
