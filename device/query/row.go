package query

// Row appends the row of a query without aggregates: the columns that are
// defined. Of SELECT * the source's owner renders the row.
func (q *Query) Row(dst []byte, s Source) []byte {
	dst = append(dst, '{')
	empty := true
	for i := range q.Items {
		v := s.Lookup(q.Items[i].Path)
		dst, empty = appendColumn(dst, q.Items[i].Name, &v, empty)
	}
	return append(dst, '}')
}

func appendColumn(dst []byte, name string, v *Value, empty bool) ([]byte, bool) {
	if v.kind == Undefined {
		return dst, empty
	}
	if !empty {
		dst = append(dst, ',')
	}
	dst = appendQuoted(dst, name, '"')
	dst = append(dst, ':')
	return v.AppendJSON(dst), false
}
