package query

// JSON is a row that is a JSON text: a job's, or a message body. The names of
// its top level are found without regard to case, as those of twins are.
type JSON string

// Lookup resolves a path.
func (j JSON) Lookup(p *Path) Value {
	text := string(j)
	top, ok := member(text[blank(text, 0):], p.Steps[0].Name, true)
	if !ok {
		return Value{}
	}
	return walk(top, p.Steps[1:], false)
}
