package partition

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gemello/gemello/windows"
)

// Definition is one pipeline as a user gave it: the query and the time policies
// of its input. It is what the settings topic, the journal and the checkpoint
// hold, as JSON; spans are in ticks of 100 ns.
type Definition struct {
	Name         string       `json:"name"`
	Query        string       `json:"query"`
	Late         windows.Tick `json:"late"`
	OutOfOrder   windows.Tick `json:"outOfOrder"`
	Early        windows.Tick `json:"early"`
	OnLate       string       `json:"onLate,omitempty"`       // adjust (default), drop, side_output, accept
	OnOutOfOrder string       `json:"onOutOfOrder,omitempty"` // adjust (default), drop, side_output, accept
	OnEarly      string       `json:"onEarly,omitempty"`      // side_output (default), drop, clamp
	Key          string       `json:"key,omitempty"`          // partition key of a topic's records; default deviceId
	Arrival      string       `json:"arrival,omitempty"`      // record (default), read
	Strict       bool         `json:"strict,omitempty"`
}

// Defaults of the time policies (semantics 19).
const (
	DefaultLate  = 5 * windows.Second
	DefaultEarly = 5 * windows.Minute
	maxLate      = 20*windows.Day + 23*windows.Hour + 59*windows.Minute + 59*windows.Second
)

// EnsureDefaults returns the definition with empty settings spelled out, so that
// one that names a default is the same pipeline as one that leaves it out.
func (d Definition) EnsureDefaults() Definition {
	d.OnLate = cmp.Or(d.OnLate, "adjust")
	d.OnOutOfOrder = cmp.Or(d.OnOutOfOrder, "adjust")
	d.OnEarly = cmp.Or(d.OnEarly, "side_output")
	d.Key = cmp.Or(d.Key, "deviceId")
	d.Arrival = cmp.Or(d.Arrival, "record")
	return d
}

// ErrDefinition is wrapped by the errors of Definition.Validate.
var ErrDefinition = errors.New("invalid pipeline")

// Validate checks everything but the query.
func (d *Definition) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("pipeline %q: %s: %w", d.Name, fmt.Sprintf(format, args...), ErrDefinition)
	}
	switch {
	case d.Name == "" || len(d.Name) > 64 || strings.ContainsFunc(d.Name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}):
		return bad("name must be 1 to 64 letters, digits, '-', '_' or '.'")
	case d.Late < 0 || d.Late > maxLate:
		return bad("late must lie between 0 and 20 days 23:59:59")
	case d.OutOfOrder < 0 || d.OutOfOrder > maxLate:
		return bad("out_of_order must lie between 0 and 20 days 23:59:59")
	case d.Early <= 0 || d.Early > maxLate:
		return bad("early must lie above 0 and at most 20 days 23:59:59")
	}
	for _, a := range []struct {
		name, value string
		allowed     []string
	}{
		{"on_late", d.OnLate, []string{"", "adjust", "drop", "side_output", "accept"}},
		{"on_out_of_order", d.OnOutOfOrder, []string{"", "adjust", "drop", "side_output", "accept"}},
		{"on_early", d.OnEarly, []string{"", "side_output", "drop", "clamp"}},
		{"arrival", d.Arrival, []string{"", "record", "read"}},
	} {
		if !slices.Contains(a.allowed, a.value) {
			return bad("%s is %q, allowed are %s", a.name, a.value, strings.Join(a.allowed[1:], ", "))
		}
	}
	return nil
}

// hash identifies the definition with the normalised plan of its query: equal
// hashes keep their state over a restart, a changed one starts anew.
func (d *Definition) hash(plan string) [32]byte {
	n := d.EnsureDefaults()
	n.Query = plan
	b, err := json.Marshal(&n)
	if err != nil {
		panic(err) // a struct of strings and integers
	}
	return sha256.Sum256(b)
}
