package query

import "strings"

// JobRow is a row of devices.jobs. Its paths are read from its JSON text.
type JobRow struct{ Text string }

// Lookup resolves a path. The first name compares without case; createdTimeUtc
// is how documentation spells createdDateTimeUtc.
func (r JobRow) Lookup(p *Path) Value {
	if strings.EqualFold(p.Steps[0].Name, "createdTimeUtc") {
		return walk(r.Text, append([]Step{{Name: "createdDateTimeUtc"}}, p.Steps[1:]...), false)
	}
	v := walk(r.Text, p.Steps[:1], true)
	if len(p.Steps) == 1 || v.kind == Undefined {
		return v
	}
	return walk(v.raw, p.Steps[1:], false)
}
