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

// JobID returns the job that all rows of a query over devices.jobs are of, ""
// when its condition names none.
func (q *Query) JobID() string { return jobID(q.Where) }

func jobID(e Expr) string {
	b, ok := e.(*Binary)
	if !ok {
		return ""
	}
	switch b.Op {
	case And:
		if id := jobID(b.X); id != "" {
			return id
		}
		return jobID(b.Y)
	case Equal:
		path, value := b.X, b.Y
		if _, swapped := path.(*Const); swapped {
			path, value = value, path
		}
		p, isPath := path.(*Path)
		c, isConst := value.(*Const)
		if !isPath || !isConst || len(p.Steps) != 1 || !strings.EqualFold(p.Steps[0].Name, "jobId") {
			return ""
		}
		id, _ := c.Value.Text()
		return id
	}
	return ""
}
