package sql

import (
	"bytes"

	"github.com/gemello/gemello/windows"
)

// stringKey is the first byte of the key tuple of a string.
var stringKey = windows.AppendTuple(nil, windows.StringOf(""))[0]

// SetResult makes env show one result of the query's window: the tuple of its
// group key, its aggregates in the order of Aggregates, and its edges. Key and
// results must stay as they are until the row is written.
func (e *Env) SetResult(key []byte, results []windows.Value, start, end windows.Tick) error {
	e.Errors = e.Errors[:0]
	e.Start, e.Timestamp = start, end
	e.results = results
	if e.textKeys(key) {
		return nil
	}
	var err error
	e.keys, err = windows.DecodeTuple(key, e.keys)
	if err == nil && len(e.keys) != len(e.query.Keys) {
		err = windows.ErrTuple
	}
	return err
}

// textKeys decodes a tuple of nothing but strings without zero bytes, the
// usual group key, without copying them: each is its own text between a tag
// and a zero byte, which 0xff would make an escape.
func (e *Env) textKeys(key []byte) bool {
	e.keys = e.keys[:0]
	for len(key) > 0 {
		n := bytes.IndexByte(key, 0)
		if key[0] != stringKey || n < 0 || n+1 < len(key) && key[n+1] == 0xff {
			return false
		}
		e.keys = append(e.keys, windows.StringOf(aliasString(key[1:n])))
		key = key[n+1:]
	}
	return len(e.keys) == len(e.query.Keys)
}

// Keep reports whether HAVING is true for the result in env.
func (q *Query) Keep(env *Env) bool {
	return q.Having == nil || q.Having.cond(env) == isTrue
}

// NewEnv makes an environment for results of windows only.
func (q *Query) NewEnv() *Env { return &Env{query: q} }

// AppendRow appends the output row for the record or result in env as a JSON
// object, its members in the order of SELECT. A row with env.Errors after the
// call is no result.
func (q *Query) AppendRow(dst []byte, env *Env) []byte {
	dst = append(dst, '{')
	comma := false
	for i := range q.outputs {
		out := &q.outputs[i]
		if out.star {
			dst, comma = q.appendStar(dst, env, out, comma)
			continue
		}
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		if out.expr.on != onRow {
			dst = env.appendFixed(dst, out, i)
			continue
		}
		dst = append(dst, out.prefix...)
		v := out.expr.eval(env)
		dst = appendJSON(dst, &v)
	}
	return append(dst, '}')
}

// fixed is the text of a column that is the same in all rows of a window.
type fixed struct {
	start, end windows.Tick
	text       []byte
}

func (e *Env) appendFixed(dst []byte, out *output, i int) []byte {
	if e.fixed == nil {
		e.fixed = make([]fixed, len(e.query.outputs))
	}
	f := &e.fixed[i]
	if len(f.text) > 0 && (out.expr.constant() || f.start == e.Start && f.end == e.Timestamp) {
		return append(dst, f.text...)
	}
	failed, counts := len(e.Errors), e.Counts
	v := out.expr.eval(e)
	f.start, f.end = e.Start, e.Timestamp
	f.text = append(f.text[:0], out.prefix...)
	f.text = appendJSON(f.text, &v)
	dst = append(dst, f.text...)
	if len(e.Errors) != failed || failed == MaxRowErrors || e.Counts != counts {
		f.text = f.text[:0] // every row reports it
	}
	return dst
}

// appendStar writes the members of the payload, then of devices the built-in
// columns. A column of the select list, or a built-in one, goes before a
// member of its name.
func (q *Query) appendStar(dst []byte, env *Env, out *output, comma bool) ([]byte, bool) {
	payload := env.column(out.at)
	if payload.Kind() == windows.Record {
		fields := payload.Record().Fields
		for i := range fields {
			if q.hides(fields[i].Name) {
				continue
			}
			if comma {
				dst = append(dst, ',')
			}
			comma = true
			dst = appendQuoted(dst, fields[i].Name)
			dst = append(dst, ':')
			dst = appendJSON(dst, &fields[i].Value)
		}
	}
	for _, h := range out.hidden {
		name := builtinNames[q.fields[h].builtin]
		v := env.column(h)
		if v.IsNull() || q.selects(name) {
			continue
		}
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		dst = appendQuoted(dst, name)
		dst = append(dst, ':')
		dst = appendJSON(dst, &v)
	}
	return dst, comma
}

func (q *Query) hides(name string) bool {
	return q.FromDevices && builtinOf(name, true) != noBuiltin || q.selects(name)
}

func (q *Query) selects(name string) bool {
	for _, c := range q.Columns {
		if c == name {
			return true
		}
	}
	return false
}

// AppendRowKey appends the Kafka key of the output row for the record or
// result in env. Results have their group key: of one expression its text as
// it is (a device id is the bare id, NULL is empty), of several a JSON array.
// Rows of a projection keep the partition key: the device id, else the key of
// the source record.
func (q *Query) AppendRowKey(dst []byte, env *Env) []byte {
	switch {
	case q.Window == nil && q.FromDevices:
		return append(dst, env.envelope.DeviceID...)
	case q.Window == nil:
		return append(dst, env.envelope.Key...)
	case len(env.keys) == 1:
		if env.keys[0].IsNull() {
			return dst
		}
		return appendText(dst, &env.keys[0])
	}
	dst = append(dst, '[')
	for i := range env.keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSON(dst, &env.keys[i])
	}
	return append(dst, ']')
}
